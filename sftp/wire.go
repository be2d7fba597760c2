package sftp

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// protocolVersion is how a client must begin (RFC 4253, section 4.2). The library
// would wait for it behind any number of other lines, and SSH 1 for ever.
const protocolVersion = "SSH-2.0-"

// errNotSSH is a peer that speaks something else.
var errNotSSH = errors.New("peer does not speak SSH 2.0")

// wire is the connection under SSH. It remembers when the peer was last heard
// and whether the network ended it. RemoteAddr stays a *net.TCPAddr, which the
// library asks for where an address restricts a key.
type wire struct {
	net.Conn
	heard atomic.Int64 // when bytes last came, in Unix nanoseconds; 0 before the first
	lost  atomic.Bool  // reading or writing failed, or the peer hung up

	greeted int // bytes of protocolVersion that have come; for Read only
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(time.Now().UnixNano())
	}
	if err != nil {
		w.lost.Store(true)
	}
	if w.greeted < len(protocolVersion) && !w.greet(p[:n]) {
		return 0, errNotSSH
	}
	return n, err
}

// greet compares what came with how a client must begin.
func (w *wire) greet(p []byte) bool {
	want := protocolVersion[w.greeted:]
	p = p[:min(len(p), len(want))]
	w.greeted += len(p)
	return string(p) == want[:len(p)]
}

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil {
		w.lost.Store(true)
	}
	return n, err
}

// lastHeard is when bytes last came; the zero time before the first.
func (w *wire) lastHeard() time.Time {
	if heard := w.heard.Load(); heard != 0 {
		return time.Unix(0, heard)
	}
	return time.Time{}
}
