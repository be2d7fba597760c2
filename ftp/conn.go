package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"gateway/internal/lineio"
	"gateway/internal/listener"
	"gateway/session"
	"gateway/transfer"
)

const (
	// maxQueued is how many commands wait while a transfer runs. Then the client is
	// not read from until the transfer ends.
	maxQueued = 64
	// maxUnknown is how many unknown commands a peer may send before it logs in.
	maxUnknown = 10
	// writeTimeout is how long a peer may take to accept a reply.
	writeTimeout = 10 * time.Second
	// handshakeTimeout bounds the TLS handshake of the control connection.
	handshakeTimeout = 15 * time.Second
	// lingerTimeout is how long, after the last reply, the peer is waited for to
	// close first. Closing with input unread would reset the connection, and the peer
	// could lose the reply.
	lingerTimeout = 300 * time.Millisecond
	// pulse is how often a transfer's control connection is looked after.
	pulse = 500 * time.Millisecond
	// maxLinger is how many bytes are thrown away meanwhile.
	maxLinger = 64 << 10
)

// state is how far the login has come.
type state uint8

const (
	fresh   state = 1 << iota // nobody named
	named                     // 331 was said
	refused                   // a name was refused because of the channel
	ready                     // logged in

	beforeLogin = fresh | named | refused
	always      = beforeLogin | ready
)

// conn is one control connection. serve runs in the goroutine that owns every
// field; only while a transfer or a digest runs there is one more.
type conn struct {
	srv     *Server
	cfg     *Config
	log     *slog.Logger
	accept  *listener.Conn
	attempt *session.Attempt
	peer    session.Peer
	table   map[string]command

	ctl   net.Conn // the accepted connection, or TLS over it
	tls   *tls.Conn
	clear bool      // CCC: commands come in clear again, though there is a TLS session
	bound *boundTLS // nil until TLS begins
	in    *lineio.Reader
	out   *lineio.Writer
	bell  bell

	deaf chan struct{} // closed when there will be no more lines
	gone chan struct{} // closed when the peer is lost, other than after QUIT

	state state
	user  string
	sess  *session.Session
	// unwatch ends the bell of the session.
	unwatch func() bool
	files   *transfer.Files
	// certified says that the session was granted by the client's certificate alone.
	certified bool
	unknown   int
	// closed is set once the last reply was given: nothing may be executed any more,
	// whatever is still buffered. cause is why.
	closed bool
	cause  error

	cwd        string
	ascii      bool
	rest       int64
	until      int64 // where the range of RANG ends; 0 for none
	hash       int   // algorithm of HASH
	idle       time.Duration
	renameFrom string
	facts      factSet
	pbsz       bool
	private    bool // PROT P
	epsvAll    bool
	port       dataPort // nil until PASV, EPSV, PORT or EPRT

	transfer *running
	queue    []line
	// lingering is the data connection of the last download, until its peer closes it;
	// of the goroutine of a transfer, while there is one.
	lingering *net.TCPConn

	began        time.Time // of the wait for a login
	lastCommand  time.Time
	lastTransfer time.Time
}

// line is one command line, or why there will be no more.
type line struct {
	text string
	err  error
	// pipelined says that bytes followed the line at once.
	pipelined bool
	// misplaced is AUTH or CCC in the middle of a transfer: it is refused in its turn.
	misplaced bool
}

func newConn(s *Server, lc *listener.Conn, a *session.Attempt) *conn {
	now := time.Now()
	c := &conn{
		srv: s, cfg: &s.cfg, accept: lc, attempt: a, peer: a.Peer(), table: s.table, ctl: lc,
		log:  s.cfg.Log.With("conn", a.Peer().Conn, "proto", session.FTP, "remote", a.Peer().Remote),
		bell: bell{conn: lc}, deaf: make(chan struct{}), gone: make(chan struct{}),
		state: fresh, began: now, lastCommand: now, lastTransfer: now,
	}
	c.speak(lc)
	c.reset()
	return c
}

// speak goes on with the dialogue over ctl. What was read before from elsewhere
// and not yet executed is forgotten.
func (c *conn) speak(ctl net.Conn) {
	c.ctl, c.in, c.out = ctl, lineio.NewReader(ctl, c.cfg.MaxLine), lineio.NewWriter(ctl)
}

// reset forgets what a user set. The protection of data connections is not the
// user's: PHP sets it before USER.
func (c *conn) reset() {
	c.cwd, c.ascii, c.rest, c.until, c.renameFrom, c.facts, c.epsvAll = "/", true, 0, 0, "", allFacts, false
	c.hash, c.idle = 0, c.cfg.IdleTimeout
	c.dropPort()
}

// serve speaks with one peer until the connection is over, and says why it is. It
// waits for the next line and for nothing else: whatever else happens rings the
// bell, which ends the wait.
func (c *conn) serve(ctx context.Context) error {
	if c.cfg.Implicit {
		if err := c.handshake(ctx); err != nil {
			return err
		}
		c.private = true // nobody who chose implicit TLS expects clear data
	}
	defer context.AfterFunc(ctx, c.bell.ring)()
	defer c.accept.AfterDraining(c.bell.ring)()
	c.say(c.greeting())
	for !c.closed {
		if c.attend(ctx); c.closed {
			break
		}
		if c.isDeaf() || len(c.queue) >= maxQueued {
			c.await(ctx)
			continue
		}
		at, _ := c.deadline()
		c.bell.arm(at)
		text, err := c.in.ReadLine()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded): // attend finds out why
		case text == "" && err == nil: // old clients end lines with an empty one
		default:
			if err != nil {
				close(c.deaf)
			}
			c.receive(ctx, line{text: text, err: err, pipelined: c.in.Buffered() > 0})
		}
	}
	return c.cause
}

func (c *conn) isDeaf() bool {
	select {
	case <-c.deaf:
		return true
	default:
		return false
	}
}

// attend sees to what happened besides commands.
func (c *conn) attend(ctx context.Context) {
	c.checkRate() // here, so that a peer that never lets a deadline pass does not escape it
	select {
	case r := <-c.transfer.over():
		c.finishTransfer(ctx, r)
	case <-c.revoked():
		c.hangUp(c.sess.Cause())
	case <-c.drained():
		c.hangUp(session.ErrShutdown)
	case <-ctx.Done():
		c.hangUp(session.ErrShutdown)
	default:
		if at, cause := c.deadline(); c.transfer == nil && !time.Now().Before(at) {
			c.hangUp(cause)
		}
	}
}

// await waits for the transfer under way where no line may be read meanwhile. A
// connection that Shutdown closed shows by its deadline, which cannot be set.
func (c *conn) await(ctx context.Context) {
	late := time.NewTimer(pulse)
	defer late.Stop()
	select {
	case r := <-c.transfer.over():
		c.finishTransfer(ctx, r)
	case <-c.revoked():
	case <-ctx.Done():
	case <-late.C:
		if !c.isDeaf() && c.accept.SetReadDeadline(time.Time{}) != nil {
			c.hangUp(session.ErrShutdown)
		}
	}
}

func (c *conn) greeting() reply {
	switch {
	case c.cfg.Banner != "":
		return reply{220, strings.ReplaceAll(strings.TrimRight(c.cfg.Banner, "\r\n"), "\r", "")}
	case c.cfg.Hostname != "":
		return reply{220, oneLine(c.cfg.Hostname) + " FTP ready."}
	default:
		return reply{220, "FTP ready."}
	}
}

// checkRate ends a transfer that moves too little.
func (c *conn) checkRate() {
	if t := c.transfer; t != nil && t.tooSlow(time.Now(), windows*c.cfg.TransferStall, c.cfg.LeastRate) {
		t.cancel(errSlow)
	}
}

// deadline is when the connection ends if nothing happens before, and for what
// cause. A transfer has its own time limits.
func (c *conn) deadline() (time.Time, error) {
	if c.transfer != nil {
		return time.Now().Add(pulse), nil
	}
	idle := c.lastCommand.Add(c.idle)
	if c.sess == nil {
		if grace := c.began.Add(c.cfg.LoginGrace); grace.Before(idle) {
			return grace, session.ErrGrace
		}
		return idle, session.ErrIdle
	}
	if useless := c.lastTransfer.Add(idleFactor * c.cfg.IdleTimeout); useless.Before(idle) {
		return useless, session.ErrIdle
	}
	return idle, session.ErrIdle
}

// revoked is closed when somebody else ended the session.
func (c *conn) revoked() <-chan struct{} {
	if c.sess == nil {
		return nil
	}
	return c.sess.Done()
}

// drained is closed when the server stops and nothing is under way here.
func (c *conn) drained() <-chan struct{} {
	if c.transfer != nil {
		return nil
	}
	return c.accept.Draining()
}

// hangUp ends the connection from our side: a transfer is cut, its reply is
// given, and then goodbye is said.
func (c *conn) hangUp(cause error) {
	if cause == nil {
		cause = session.ErrShutdown
	}
	if t := c.transfer; t != nil {
		t.cancel(cause)
		r := <-t.done
		c.transfer = nil
		c.say(r.reply)
	}
	c.sayLast(goodbye(cause), cause)
}

// receive takes one line: during a transfer most wait in the queue.
func (c *conn) receive(ctx context.Context, l line) {
	if l.err == nil {
		c.lastCommand = time.Now()
	}
	if c.transfer == nil {
		c.execute(ctx, l)
		return
	}
	verb, arg := parse(l.text)
	switch {
	case l.err != nil && !(errors.Is(l.err, io.EOF) && c.leaving()):
		close(c.gone)
		c.transfer.cancel(errGone)
		c.queue = append(c.queue[:0], l)
	case l.err == nil && verb == "ABOR":
		c.transfer.aborted++
		c.transfer.cancel(errAborted)
	case l.err == nil && verb == "NOOP" && len(c.queue) == 0:
		c.say(replyOK)
	case l.err == nil && verb == "STAT" && arg == "" && len(c.queue) == 0:
		c.say(c.status())
	default:
		// What is queued behind it was read from the channel that it would change.
		l.misplaced = l.err == nil && (verb == "AUTH" || verb == "CCC")
		c.queue = append(c.queue, l)
	}
}

// leaving reports whether the peer said QUIT and may close the connection.
func (c *conn) leaving() bool {
	for _, l := range c.queue {
		if verb, _ := parse(l.text); verb == "QUIT" {
			return true
		}
	}
	return false
}

// finishTransfer gives a transfer's last reply, and then those of what waited
// for it.
func (c *conn) finishTransfer(ctx context.Context, r result) {
	t := c.transfer
	c.transfer = nil
	c.lastCommand = time.Now()
	switch {
	case r.refused:
	case t.began.IsZero():
		c.lastTransfer, c.port = c.lastCommand, nil
	default: // only the time that it took: a digest now and then keeps nobody connected
		c.lastTransfer = c.lastTransfer.Add(c.lastCommand.Sub(t.began))
	}
	c.say(r.reply)
	for range t.aborted {
		c.say(reply{226, "ABOR command successful."})
	}
	if r.panicked {
		c.sayLast(goodbye(session.ErrPanic), session.ErrPanic)
	}
	for len(c.queue) > 0 && c.transfer == nil && !c.closed {
		l := c.queue[0]
		c.queue = c.queue[1:]
		c.execute(ctx, l)
	}
	if len(c.queue) == 0 {
		c.queue = nil
	}
}

// execute runs one command, or ends the connection that has no more.
func (c *conn) execute(ctx context.Context, l line) {
	switch {
	case c.closed:
		return
	case errors.Is(l.err, lineio.ErrTooLong):
		c.sayLast(reply{500, "Line too long."}, fmt.Errorf("%w: %w", session.ErrProtocol, l.err))
		return
	case errors.Is(l.err, io.EOF):
		c.close(nil)
		return
	case l.err != nil:
		c.close(fmt.Errorf("read control connection: %w", l.err))
		return
	case l.misplaced:
		c.say(replySequence)
		return
	}
	verb, arg := parse(l.text)
	r := c.dispatch(ctx, verb, arg, l.pipelined)
	if r != none {
		c.say(r)
	}
	switch {
	case c.closed:
	case r.code == 221:
		c.close(nil)
	case r.code == 421:
		c.close(c.cause)
	case verb == "AUTH" && r.code == 234:
		c.secure(ctx)
	case verb == "CCC" && r.code == 200:
		c.unsecure()
	}
}

// say writes a reply. A peer that does not take it in time is given up.
func (c *conn) say(r reply) {
	if c.closed {
		return
	}
	if err := c.write(r); err != nil {
		c.close(fmt.Errorf("write reply: %w", err))
	}
}

// write may be called from the goroutine of a transfer too.
func (c *conn) write(r reply) error {
	_ = c.accept.SetWriteDeadline(time.Now().Add(writeTimeout))
	return c.out.Reply(r.code, r.text)
}

// sayLast writes the last reply and ends the connection because of cause.
func (c *conn) sayLast(r reply, cause error) {
	c.say(r)
	c.close(cause)
}

// close makes the loop end. The first cause stays.
func (c *conn) close(cause error) {
	if !c.closed {
		c.closed, c.cause = true, cause
	}
}

// end gives everything back. It is called however serve ended, also by panic. The
// peer is waited for a little to close first: closing with something unread would
// reset the connection, and it could lose the last reply.
func (c *conn) end() {
	if t := c.transfer; t != nil {
		t.cancel(session.ErrShutdown)
		<-t.done
	}
	c.dropPort()
	if c.sess != nil {
		c.unwatch()
	}
	if c.files != nil {
		_ = c.files.Close()
	}
	_ = c.accept.SetDeadline(time.Now().Add(lingerTimeout))
	if c.secured() {
		_ = c.tls.CloseWrite()
		_ = c.accept.SetDeadline(time.Now().Add(lingerTimeout)) // crypto/tls has let it pass
	}
	if half, ok := c.accept.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, c.accept, maxLinger)
}

// parse divides a line into its verb, in capitals, and its argument. One space
// divides them; what follows belongs to the argument, since names may begin and
// end with spaces.
func parse(text string) (verb, arg string) {
	verb, arg, _ = strings.Cut(text, " ")
	verb = strings.ToUpper(verb)
	if verb == "P@SW" { // what an old router makes of PASV
		verb = "PASV"
	}
	return verb, arg
}
