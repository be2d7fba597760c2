package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"gateway/internal/listener"
	"gateway/session"
)

// conn is one connection, through STARTTLS if it comes to that. Its fields are
// for the goroutine that serves the commands, except where told.
type conn struct {
	cfg        *Config
	ctx        context.Context
	attempt    *session.Attempt
	sess       *session.Session // nil until AUTH succeeded
	tls        *tls.Conn        // nil in clear
	started    time.Time        // of the login grace
	commands   map[verb]command
	rewordings []rewording

	wire     *wire
	state    state
	helo     string // cleaned; the peer's name for itself
	extended bool   // said EHLO
	errors   int
	idle     int
	surplus  int // recipients refused because there were too many
	quit     bool
	unwatch  func() bool // the session; set when somebody logged in
	said     parameters  // of the MAIL or RCPT that go-smtp is about to call
	tx       envelope
	why      error // why a 421 that is about to be sent is

	mu    sync.Mutex
	cause error // why it ended; the first stays
}

// handle serves one connection; see listener.Server.Handle.
func (s *Server) handle(ctx context.Context, nc *listener.Conn, attempt *session.Attempt) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &conn{
		cfg: &s.cfg, ctx: ctx, attempt: attempt, started: time.Now(),
		commands: s.commands, rewordings: s.rewordings,
	}
	defer c.bye()
	if s.cfg.Implicit {
		if err := c.handshake(nc); err != nil {
			return err
		}
	}
	for upgraded := false; ; upgraded = true {
		w := newWire(c, nc)
		if c.tls != nil {
			w = newWire(c, c.tls)
		}
		if !upgraded { // after STARTTLS the peer has been greeted
			w.put(greeting(s.cfg.Hostname).String())
		}
		c.serve(w, nc)
		if !errors.Is(w.err, errStartTLS) {
			return c.ended()
		}
		if err := c.handshake(nc); err != nil {
			return err
		}
	}
}

// handshake protects the connection. Whatever was learnt before is forgotten
// (RFC 3207, section 4.2).
func (c *conn) handshake(nc net.Conn) error {
	if c.sess != nil {
		c.started, c.sess = time.Now(), nil // to log in again
	}
	ctx, cancel := context.WithDeadline(c.ctx, c.graceEnds())
	defer cancel()
	_ = nc.SetDeadline(time.Time{})
	t := tls.Server(&offering{Conn: nc}, c.tlsConfig())
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", session.ErrHandshake, err)
	}
	if p := t.ConnectionState().NegotiatedProtocol; p != "" && p != alpn {
		return fmt.Errorf("%w: the peer speaks %q", session.ErrHandshake, printable(p, len(p)))
	}
	c.tls = t
	c.attempt.Upgraded(session.TLSChannel(t.ConnectionState()))
	return nil
}

// serve answers the commands that come over w until the connection is over, or goes on
// above TLS. Waiting for them is all that an idle connection does: it has one goroutine
// for that, and no go-smtp.
func (c *conn) serve(w *wire, nc *listener.Conn) {
	c.wire, c.state, c.helo, c.tx = w, fresh, "", envelope{}
	// Called back rather than waited for, which would take a goroutine each.
	defer nc.AfterDraining(w.drain)()
	defer context.AfterFunc(c.ctx, func() { w.interrupt(session.ErrShutdown) })()
	defer func() {
		if c.unwatch != nil {
			c.unwatch()
		}
	}()
	for w.err == nil {
		if command, err := w.next(); err == nil {
			c.turn(command)
		}
	}
}

// loggedIn lets go of the login grace and hangs up when the session is over.
func (c *conn) loggedIn(sess *session.Session) {
	w := c.wire
	c.sess = sess
	c.unwatch = sess.AfterDone(func() {
		if cause := sess.Cause(); cause != nil {
			w.interrupt(cause)
		}
	})
}

// bye closes TLS properly; the connection itself is closed by the listener.
func (c *conn) bye() {
	if c.tls != nil {
		_ = c.tls.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
		_ = c.tls.CloseWrite()
	}
}

// begun reports whether a transaction is under way.
func (c *conn) begun() bool { return c.state&(begun|addressed) != 0 }

// graceEnds is when the peer must have logged in; zero once it has.
func (c *conn) graceEnds() time.Time {
	if c.sess != nil {
		return time.Time{}
	}
	return c.started.Add(c.cfg.LoginGrace)
}

// end notes why the connection is over.
func (c *conn) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = cause
	}
}

// ended is why, for the record; nil after QUIT.
func (c *conn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil && !c.quit {
		return errHungUp
	}
	return c.cause
}

func (c *conn) causeOr(other error) error {
	if c.why != nil {
		return c.why
	}
	return other
}

// panicked is told of a fault of ours while the connection is served.
func (c *conn) panicked(v any, stack string) {
	c.end(session.ErrPanic)
	c.why = session.ErrPanic
	peer := c.attempt.Peer()
	c.cfg.Log.Error("panic while serving a connection", "conn", peer.Conn, "proto", peer.Protocol,
		"remote", peer.Remote, "panic", v, "stack", stack)
}
