// Package listener accepts connections, takes each through session.Gate, serves
// it, and ends all of them when the gateway stops. Every front-end uses it, so
// that no connection is accepted without a record and none is left behind. Behind a
// load balancer it takes the client's address from the balancer (proxy.go).
package listener

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"gateway/session"
)

// Server serves the connections of any number of listeners of one front-end.
// Its fields are set before Serve and not changed.
type Server struct {
	Gate     *session.Gate
	Name     string // the listener's name in the configuration
	Protocol session.Protocol
	// Proxies are the networks of load balancers: each connection from there must
	// begin with a PROXY header, which says who the client is. Whatever comes from
	// elsewhere is the client itself, and nothing that it sends is taken for a header.
	Proxies []netip.Prefix
	// Refuse says to the peer why it is not served (session.ErrTooMany, ErrBanned,
	// ErrDenied, ErrUnavailable, ErrShutdown). A short write deadline is set; the
	// connection is closed afterwards. Nil closes without a word.
	Refuse func(c net.Conn, cause error)
	// Handle serves one connection and returns why it ended; nil if the peer said
	// goodbye. It closes nothing: the connection and the attempt are ended for it.
	// It should return soon after Conn.Draining is closed and nothing is under way,
	// and at once when ctx is done or the connection fails.
	Handle func(ctx context.Context, c *Conn, a *session.Attempt) error
	// Log may be nil for slog.Default.
	Log *slog.Logger

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{}
	awaited   map[*Conn]struct{} // those whose PROXY header is being read
	wg        sync.WaitGroup
	drain     context.Context // made with stop when it is asked for
	stop      context.CancelFunc
	closed    bool
}

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("listener: server closed")

const (
	refuseTimeout = 2 * time.Second
	// acceptPause is the wait after an accept that failed for want of descriptors or
	// memory.
	acceptPause = 50 * time.Millisecond
)

// Serve accepts on ln until Shutdown, ctx is done, or ln fails for good. It
// closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer ln.Close()
	if !s.track(ln) {
		return ErrServerClosed
	}
	defer s.untrack(ln)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			s.start(ctx, nc)
		case s.draining():
			return ErrServerClosed
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", s.Name, err)
		default:
			s.log().Warn("accept", "listener", s.Name, "err", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		}
	}
}

// start serves nc in a goroutine that Shutdown waits for.
func (s *Server) start(ctx context.Context, nc net.Conn) {
	c := &Conn{Conn: nc, draining: s.drained()}
	s.mu.Lock()
	if s.conns == nil {
		s.conns = make(map[*Conn]struct{})
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		defer func() {
			_ = nc.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
		s.serve(ctx, c)
	}()
}

// serve serves a connection that is let in.
func (s *Server) serve(ctx context.Context, c *Conn) {
	attempt := s.admit(ctx, c)
	if attempt == nil {
		return
	}
	cause := session.ErrPanic
	defer func() {
		if v := recover(); v != nil {
			s.panicked(attempt.Peer(), v)
		}
		attempt.Count(c.in.Load(), c.out.Load())
		attempt.Close(cause)
	}()
	if s.draining() {
		s.refuse(c, session.ErrShutdown)
		cause = session.ErrShutdown
		return
	}
	cause = s.Handle(ctx, c, attempt)
}

// admit takes a connection through the Gate; nil if it does not come in. It is apart
// from serve because what it needs of the stack would be held by each idle connection.
func (s *Server) admit(ctx context.Context, c *Conn) *session.Attempt {
	peer := session.Peer{
		Conn: session.NewID(), Listener: s.Name, Protocol: s.Protocol,
		Remote: addrPort(c.RemoteAddr()), Local: addrPort(c.LocalAddr()),
	}
	began := time.Now()
	if err := s.readHeader(c, &peer); err != nil {
		s.Gate.Drop(peer, began, err)
		return nil
	}
	attempt, err := s.Gate.Connect(ctx, peer)
	if err != nil {
		if !errors.Is(err, session.ErrDropped) {
			s.refuse(c, err)
		}
		return nil
	}
	attempt.OnDrop(func() { _ = c.Conn.Close() })
	return attempt
}

// panicked logs a fault of ours, with the stack of whoever recovered from it.
func (s *Server) panicked(peer session.Peer, v any) {
	s.log().Error("panic while serving a connection", "conn", peer.Conn, "proto", peer.Protocol,
		"remote", peer.Remote, "panic", v, "stack", string(debug.Stack()))
}

func (s *Server) refuse(c net.Conn, cause error) {
	if s.Refuse == nil {
		return
	}
	_ = c.SetDeadline(time.Now().Add(refuseTimeout))
	s.Refuse(c, cause)
}

// Shutdown stops accepting, tells the connections by Conn.Draining, and waits
// until they are over. When ctx is done first it cuts those that are left, waits
// for their handlers, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.drainLocked()
		s.stop()
	}
	for ln := range s.listeners {
		_ = ln.Close()
	}
	for c := range s.awaited { // nobody is there yet to say goodbye to
		_ = c.Conn.Close()
	}
	s.mu.Unlock()

	over := make(chan struct{})
	go func() { s.wg.Wait(); close(over) }()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Conn.Close()
	}
	s.mu.Unlock()
	<-over
	return ctx.Err()
}

func (s *Server) track(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.listeners == nil {
		s.listeners = make(map[net.Listener]struct{})
	}
	s.listeners[ln] = struct{}{}
	s.wg.Add(1) // held while ln may still hand out a connection
	return true
}

func (s *Server) untrack(ln net.Listener) {
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	s.wg.Done()
}

func (s *Server) draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// drained is done when the server stops.
func (s *Server) drained() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drainLocked()
}

func (s *Server) drainLocked() context.Context {
	if s.drain == nil {
		s.drain, s.stop = context.WithCancel(context.Background())
	}
	return s.drain
}

func (s *Server) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.Default()
}

// addrPort is the address of a TCP connection; loopback for a connection
// without one (net.Pipe in tests).
func addrPort(addr net.Addr) netip.AddrPort {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
}
