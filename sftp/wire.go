package sftp

import (
	"net"
	"sync/atomic"
	"time"
)

// wire is the connection under SSH. It remembers when the peer was last heard
// and whether the network ended it. RemoteAddr stays a *net.TCPAddr, which the
// library asks for where an address restricts a key.
type wire struct {
	net.Conn
	heard atomic.Int64 // when bytes last came, in Unix nanoseconds; 0 before the first
	lost  atomic.Bool  // reading or writing failed, or the peer hung up
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(time.Now().UnixNano())
	}
	if err != nil {
		w.lost.Store(true)
	}
	return n, err
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
