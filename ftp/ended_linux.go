package ftp

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// tcpEstablished is the state of a connection that nobody has closed.
const tcpEstablished = 1

// ended reports whether the system knows that the peer has closed the connection,
// or lost it, whatever is still to be read from it.
func ended(c net.Conn) bool {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	over := true // as for one that we have closed
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		over = err == nil && info.State != tcpEstablished
	})
	return over
}
