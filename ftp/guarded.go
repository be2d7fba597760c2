package ftp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// guarded is a data connection with a limit on silence. Under TLS it also sees
// what crypto/tls does not tell: whether the peer closed the TCP connection
// without having closed TLS before, in which case the end may be an attacker's.
type guarded struct {
	net.Conn
	stall time.Duration
	eof   atomic.Bool
	// progress counts what moved; nil counts nothing.
	progress *atomic.Int64
	// held gathers the records of one piece of a file while holding is set, so that
	// they leave in one write.
	held    []byte
	holding bool
	// ahead is read into where there is one, and unread is what is still in it:
	// crypto/tls by itself asks for two records at a time.
	ahead, unread []byte
}

// readAhead makes further reads go through buf, which is on loan until the last.
func (g *guarded) readAhead(buf []byte) { g.ahead = buf }

func (g *guarded) Read(p []byte) (int, error) {
	if len(g.unread) == 0 {
		if len(p) >= len(g.ahead) {
			return g.read(p)
		}
		n, err := g.read(g.ahead)
		if g.unread = g.ahead[:n]; n == 0 {
			return 0, err
		}
	}
	n := copy(p, g.unread)
	g.unread = g.unread[n:]
	return n, nil
}

func (g *guarded) read(p []byte) (int, error) {
	_ = g.SetReadDeadline(time.Now().Add(g.stall))
	n, err := g.Conn.Read(p)
	g.moved(n)
	if err == io.EOF {
		g.eof.Store(true)
	}
	return n, err
}

func (g *guarded) Write(p []byte) (int, error) {
	if g.holding {
		g.held = append(g.held, p...)
		return len(p), nil
	}
	return g.write(p)
}

// write goes on as long as something moves within the stall time.
func (g *guarded) write(p []byte) (written int, err error) {
	for written < len(p) {
		_ = g.SetWriteDeadline(time.Now().Add(g.stall))
		n, err := g.Conn.Write(p[written:])
		g.moved(n)
		written += n
		if err != nil && !(n > 0 && errors.Is(err, os.ErrDeadlineExceeded)) {
			return written, err
		}
	}
	return written, nil
}

func (g *guarded) moved(n int) {
	if g.progress != nil {
		g.progress.Add(int64(n))
	}
}

// recordOverhead is more than what TLS adds to each record of 16 KiB.
const (
	recordSize     = 16 << 10
	recordOverhead = 64
)

// gather holds back what is written until writeThrough: the records of n bytes, if
// there is room for them. A piece that fits into one record is not worth it.
func (g *guarded) gather(n int) {
	g.holding = n > recordSize && n+(n/recordSize+1)*recordOverhead <= cap(g.held)
}

// writeThrough writes what was held back, if anything was.
func (g *guarded) writeThrough() error {
	g.holding = false
	_, err := g.write(g.held)
	g.held = g.held[:0]
	return err
}
