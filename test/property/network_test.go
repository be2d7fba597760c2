package property

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
)

// A network is a listener in memory. Whoever dials says where they are.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newNetwork() *network {
	return &network{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// dial connects from an address.
func (n *network) dial(from netip.Addr) net.Conn {
	client, server := net.Pipe()
	n.conns <- &placed{Conn: server, remote: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 40000))}
	b := &buffered{Conn: client}
	b.changed.L = &b.mu
	go b.pump()
	return b
}

// Accept implements net.Listener.
func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *network) Close() error { n.once.Do(func() { close(n.closed) }); return nil }

// Addr implements net.Listener.
func (n *network) Addr() net.Addr { return &net.TCPAddr{} }

// placed is a connection whose peer is where it says.
type placed struct {
	net.Conn
	remote net.Addr
}

func (p *placed) RemoteAddr() net.Addr { return p.remote }
func (p *placed) LocalAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 21}
}

// buffered is an end of a pipe that can be written to before the other end reads:
// under TLS and SSH both sides may write first.
type buffered struct {
	net.Conn
	mu      sync.Mutex
	changed sync.Cond
	out     bytes.Buffer
	closed  bool
}

// Write takes all of p.
func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, net.ErrClosed
	}
	b.changed.Signal()
	return b.out.Write(p)
}

// pump sends what was written until the connection is over.
func (b *buffered) pump() {
	for {
		b.mu.Lock()
		for b.out.Len() == 0 && !b.closed {
			b.changed.Wait()
		}
		piece := bytes.Clone(b.out.Bytes())
		b.out.Reset()
		over := b.closed
		b.mu.Unlock()
		if _, err := b.Conn.Write(piece); err != nil || over {
			_ = b.Conn.Close()
			return
		}
	}
}

// Close sends what is left, and then closes.
func (b *buffered) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.changed.Signal()
	return nil
}
