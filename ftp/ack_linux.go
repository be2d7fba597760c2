package ftp

import (
	"net"

	"golang.org/x/sys/unix"
)

// acknowledgeAtOnce makes the system answer the next segments without the usual
// wait for something to send along. A client that sends the end of its TLS
// handshake in two writes (GnuTLS: wget) would wait for that between them, 40 ms a
// file. It is an optimisation, so an error is none.
func acknowledgeAtOnce(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
}
