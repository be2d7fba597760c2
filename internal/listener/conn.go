package listener

import (
	"context"
	"net"
	"sync/atomic"
)

// Conn is an accepted connection that counts its bytes. LocalAddr and RemoteAddr
// are the socket's own: behind a proxy, the node's address towards the proxy, and
// the proxy's. Where the client is, and where it connected to, says session.Peer.
type Conn struct {
	net.Conn
	in, out  atomic.Int64
	draining context.Context
	proxied  bool
}

// Proxied reports whether the connection came through one of Server.Proxies.
func (c *Conn) Proxied() bool { return c.proxied }

// Read reads and counts.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Add(int64(n))
	return n, err
}

// Write writes and counts.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.Add(int64(n))
	return n, err
}

// Draining is closed when the server stops: the connection should say goodbye
// as soon as nothing is under way on it.
func (c *Conn) Draining() <-chan struct{} { return c.draining.Done() }

// AfterDraining calls f in a goroutine of its own once Draining is closed, unless
// stop is called before. It is for whoever cannot wait on a channel.
func (c *Conn) AfterDraining(f func()) (stop func() bool) { return context.AfterFunc(c.draining, f) }
