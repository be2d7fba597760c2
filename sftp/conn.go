package sftp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/transfer"
)

const (
	// drainPause is how long a connection must have been quiet before it is closed
	// when the server stops: the answer to the last request is still on its way.
	drainPause = 200 * time.Millisecond
	// keepaliveRequest is what OpenSSH asks, too, and answered by everybody, if only
	// by a refusal (RFC 4254, section 4).
	keepaliveRequest = "keepalive@openssh.com"
)

// conn is a connection on which somebody logged in.
type conn struct {
	server  *Server
	wire    *wire
	t       transport
	session *session.Session
	log     *slog.Logger
	busy    activity
	offered []session.Key // before the login, and not the account's

	pace context.Context // ends when nothing comes or goes any more
	over chan struct{}   // closed when the connection has ended

	settling chan chan struct{} // see settle
	deaf     chan struct{}      // closed when no more global requests come

	wg sync.WaitGroup // all goroutines of the connection but that of serve

	mu       sync.Mutex
	cause    error // why we ended it
	sessions int   // session channels that are open
	files    *transfer.Files
}

func newConn(s *Server, w *wire, t transport, sess *session.Session) *conn {
	p := sess.Peer()
	return &conn{
		server: s, wire: w, t: t, session: sess,
		log:  s.cfg.Log.With("conn", p.Conn, "proto", p.Protocol, "remote", p.Remote),
		busy: activity{last: time.Now()},
		over: make(chan struct{}), settling: make(chan chan struct{}), deaf: make(chan struct{}),
	}
}

// serve runs the connection until it ends and returns why; nil if the peer left.
// Nothing of it is left running.
func (c *conn) serve(ctx context.Context, draining <-chan struct{}) error {
	pace, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c.pace = pace
	c.start(func() { c.watch(ctx, draining) })
	c.start(c.globalRequests)
	c.start(c.announceHostKeys)
	if enrol := c.server.cfg.EnrolOffered; enrol != nil && len(c.offered) > 0 && c.session.MayEnrolOffered() {
		c.start(func() {
			if err := enrol(ctx, c.session, c.offered); err != nil {
				c.log.Warn("offered keys are not enrolled", "user", c.session.Identity().User, "err", err)
			}
		})
	}
	for nc := range c.t.channels {
		c.accept(ctx, nc)
	}
	stop(session.ErrClosed)
	_ = c.t.Wait()
	close(c.over)
	c.wg.Wait()
	if c.files != nil {
		if err := c.files.Close(); err != nil {
			c.log.Warn("close tree", "err", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil && c.wire.stalled.Load() {
		return fmt.Errorf("peer does not read: %w", session.ErrIdle)
	}
	return c.cause
}

// start runs f in a goroutine of the connection. A panic in it ends the
// connection.
func (c *conn) start(f func()) {
	c.wg.Go(func() {
		defer c.recover()
		f()
	})
}

// recover is deferred where code runs in a goroutine of its own.
func (c *conn) recover() {
	if v := recover(); v != nil {
		c.panicked(v)
	}
}

func (c *conn) panicked(v any) {
	c.log.Error("panic while serving a connection", "panic", v, "stack", string(debug.Stack()))
	c.cut(session.ErrPanic)
}

// cut ends the connection; the first cause stays. The library cannot say why in
// an SSH_MSG_DISCONNECT.
func (c *conn) cut(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	_ = c.wire.Close()
}

// watch ends the connection when it is time to.
func (c *conn) watch(ctx context.Context, draining <-chan struct{}) {
	began := time.Now()
	stopping := false
	asked := make(chan struct{}, 1) // holds one while a keepalive is unanswered
	for {
		now := time.Now()
		idle, free := c.busy.quiet(now)
		wait := c.server.cfg.IdleTimeout - idle
		if wait <= 0 {
			c.cut(session.ErrIdle)
			return
		}
		if stopping {
			if free && idle >= drainPause {
				c.cut(session.ErrShutdown)
				return
			}
			wait = min(wait, drainPause/4)
		}
		heard := c.wire.lastHeard()
		if heard.Before(began) {
			heard = began
		}
		every := c.server.cfg.Keepalive
		silent := now.Sub(heard)
		switch {
		case silent >= time.Duration(c.server.cfg.KeepaliveCount)*every:
			c.cut(session.ErrIdle)
			return
		case silent >= every:
			c.keepalive(asked)
			wait = min(wait, every-silent%every)
		default:
			wait = min(wait, every-silent)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-draining:
			draining, stopping = nil, true
			c.busy.stop()
		case <-c.session.Done():
			c.cut(ended(c.session))
			return
		case <-ctx.Done():
			c.cut(session.ErrShutdown)
			return
		case <-c.over:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// ended is why a session that is over is over.
func ended(s *session.Session) error {
	if cause := s.Cause(); cause != nil {
		return cause
	}
	return session.ErrClosed
}

// keepalive asks the peer whether it is there, unless an answer is outstanding.
// The question waits without limit in the library, until the connection ends.
func (c *conn) keepalive(asked chan struct{}) {
	select {
	case asked <- struct{}{}:
	default:
		return
	}
	c.start(func() {
		_, _, _ = c.t.SendRequest(keepaliveRequest, true, nil)
		<-asked
	})
}

// globalRequests answers what is asked of the connection: no forwarding, nothing
// but keepalives and proofs of host keys.
func (c *conn) globalRequests() {
	defer close(c.deaf)
	proofs := 0
	answer := func(r *ssh.Request) {
		switch r.Type {
		case keepaliveRequest:
			_ = r.Reply(true, nil)
		case hostKeysProve:
			if proofs++; proofs > maxProofs {
				_ = r.Reply(false, nil)
				return
			}
			signatures, err := c.proveHostKeys(r.Payload)
			if err != nil {
				c.log.Debug("proof of host keys", "err", err)
			}
			_ = r.Reply(err == nil, signatures)
		default:
			_ = r.Reply(false, nil)
		}
	}
	for {
		select {
		case r, open := <-c.t.requests:
			if !open {
				return
			}
			answer(r)
		case settled := <-c.settling:
			for len(c.t.requests) > 0 { // nobody else takes them
				answer(<-c.t.requests)
			}
			close(settled)
		}
	}
}

// settle waits until what was asked of the connection before now is answered. A
// client that runs a short batch leaves when its channel is closed, and would else
// never come to know the host keys that it asked about.
func (c *conn) settle() {
	settled := make(chan struct{})
	select {
	case c.settling <- settled:
	case <-c.deaf:
		return
	}
	select {
	case <-settled:
	case <-c.deaf:
	}
}

// accept takes a session channel, if there is room for it; no other type.
func (c *conn) accept(ctx context.Context, nc ssh.NewChannel) {
	switch nc.ChannelType() {
	case "session":
	case "direct-tcpip", "direct-streamlocal@openssh.com", "x11", "forwarded-tcpip", "tun@openssh.com":
		_ = nc.Reject(ssh.Prohibited, "forwarding is not allowed")
		return
	default:
		_ = nc.Reject(ssh.UnknownChannelType, "unknown channel type")
		return
	}
	if !c.enter() {
		_ = nc.Reject(ssh.ResourceShortage, "too many sessions")
		return
	}
	ch, requests, err := nc.Accept()
	if err != nil {
		c.leave()
		return
	}
	c.start(func() {
		defer c.leave()
		defer ch.Close()
		c.channel(ctx, ch, requests)
	})
}

func (c *conn) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions >= c.server.cfg.MaxSessions {
		return false
	}
	c.sessions++
	return true
}

func (c *conn) leave() {
	c.mu.Lock()
	c.sessions--
	c.mu.Unlock()
}

// tree opens the session's files with the first subsystem; all subsystems of the
// connection share them and their limits.
func (c *conn) tree(ctx context.Context) (*transfer.Files, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil {
		files, err := c.server.cfg.Files(ctx, c.session)
		if err != nil {
			return nil, err
		}
		if files == nil {
			return nil, errors.New("no files")
		}
		c.files = files
	}
	return c.files, nil
}
