package ftp

import (
	"bufio"
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"gateway/internal/lineio"
	"gateway/session"
)

// running is a transfer under way. The loop owns it; its goroutine ends by
// sending on done.
type running struct {
	verb    string
	cancel  context.CancelCauseFunc
	done    chan result
	moved   atomic.Int64
	aborted int // how many ABOR wait for their reply
	// began is set for what needs no data connection.
	began time.Time

	// copying is set while content moves, and progress is how much of it did, on the
	// wire and in smaller pieces than moved. mark and markAt are the loop's: how much
	// it was at the last look.
	copying  atomic.Bool
	progress atomic.Int64
	mark     int64
	markAt   time.Time
}

// result is how a transfer ended.
type result struct {
	reply    reply
	panicked bool
	// refused says that it ended before its data connection was asked for: the port
	// is as good as before, and nothing was transferred.
	refused bool
}

// over is where the result of t comes; never, for no transfer.
func (t *running) over() <-chan result {
	if t == nil {
		return nil
	}
	return t.done
}

// job is what a transfer moves.
type job struct {
	verb    string
	opening string // text of the 150
	sends   bool   // from us to the peer
	// prepare, if set, does what comes before the data connection and may take long.
	// If it fails nothing else of the job is called.
	prepare func(ctx context.Context) error
	// move moves the content. It is not called if there is no data connection.
	move func(ctx context.Context, d *dataConn) error
	// carried is told how the data connection is protected, once that is known.
	carried func(session.Channel)
	// end is called once, with nil if everything was moved. It returns how it ended.
	end func(ctx context.Context, err error) error
}

// mayTransfer says why no transfer can begin now, before a file is looked at.
func (c *conn) mayTransfer() (reply, bool) {
	switch {
	case c.port == nil:
		return reply{425, "Use PORT or PASV first."}, false
	case c.tls != nil && !c.private && !c.sess.Data().ClearData:
		return replyNoClear, false
	default:
		return none, true
	}
}

// begin starts a transfer in a goroutine of its own. Its protection is decided
// here, when the data connection is about to be opened, and not by what was in
// force when PASV or PORT came.
func (c *conn) begin(ctx context.Context, j job) reply {
	ctx, cancel := context.WithCancelCause(ctx)
	t := &running{verb: j.verb, cancel: cancel, done: make(chan result, 1)}
	port, private := c.port, c.tls != nil && c.private // the port stays ours until finishTransfer
	c.transfer = t
	go func() {
		defer cancel(nil)
		t.done <- c.run(ctx, t, port, private, j)
		c.bell.ring()
	}()
	return none
}

// background runs what needs no data connection but may take long, so that the
// connection goes on answering ABOR, NOOP and STAT. work must end soon after ctx.
func (c *conn) background(ctx context.Context, verb string, work func(ctx context.Context, count func(int)) reply) reply {
	ctx, cancel := context.WithCancelCause(ctx)
	t := &running{verb: verb, cancel: cancel, done: make(chan result, 1), began: time.Now()}
	c.transfer = t
	go func() {
		defer cancel(nil)
		t.done <- c.guard(func() reply { return work(ctx, func(n int) { t.moved.Add(int64(n)) }) })
		c.bell.ring()
	}()
	return none
}

// guard runs work and turns a panic into a reply.
func (c *conn) guard(work func() reply) (r result) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("panic in a command", "panic", v, "stack", string(debug.Stack()))
			r = result{reply: reply{451, "Requested action aborted: local error."}, panicked: true}
		}
	}()
	return result{reply: work()}
}

// windows times TransferStall is how long LeastRate is averaged over: a pause as
// long as is allowed must not end a transfer that is otherwise quick.
const windows = 5

// tooSlow reports whether a transfer moved less than LeastRate since it was last
// found quick enough. The stall limit alone would let one byte a minute hold a
// connection, a file and a port for ever.
func (t *running) tooSlow(now time.Time, window time.Duration, leastRate int64) bool {
	moved := t.progress.Load()
	if !t.copying.Load() || t.markAt.IsZero() {
		t.mark, t.markAt = moved, now
		return false
	}
	since := now.Sub(t.markAt)
	if since < window {
		return false
	}
	slow := float64(moved-t.mark) < float64(leastRate)*since.Seconds()
	t.mark, t.markAt = moved, now
	return slow
}

// run is a transfer from the data connection to the final reply.
func (c *conn) run(ctx context.Context, t *running, port dataPort, private bool, j job) (r result) {
	settled := true // so far there is nothing
	settle := func(err error) error {
		settled = true
		return j.end(context.WithoutCancel(ctx), err)
	}
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("panic in a transfer", "panic", v, "stack", string(debug.Stack()))
			port.close()
			if !settled {
				_ = settle(session.ErrPanic)
			}
			r = result{reply: reply{451, "Requested action aborted: local error."}, panicked: true}
		}
	}()
	if j.prepare != nil {
		if err := interrupted(ctx, j.prepare(ctx)); err != nil {
			return result{reply: transferReply(err), refused: true}
		}
	}
	settled = false
	defer port.close()
	err := c.connect(ctx, t, port, private, j)
	return result{reply: transferReply(settle(interrupted(ctx, err)))}
}

// interrupted is err, or why ctx is over: whatever broke then, broke because of
// that.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// connect opens the data connection and moves the content: the 150 goes out
// when the connection is there and before its TLS handshake, which clients begin
// only then.
func (c *conn) connect(ctx context.Context, t *running, port dataPort, private bool, j job) error {
	raw, err := port.open(ctx, c.cfg.DataTimeout)
	if err != nil {
		return err
	}
	sess := c.sess
	d := &dataConn{
		raw: raw, guard: &guarded{Conn: raw, stall: c.cfg.TransferStall, progress: &t.progress},
		sends: j.sends, stall: c.cfg.TransferStall, progress: &t.progress, srv: c.srv,
	}
	defer d.close()
	defer context.AfterFunc(ctx, d.cut)()
	d.count = func(n int) {
		t.moved.Add(int64(n))
		if j.sends {
			sess.Count(0, int64(n))
		} else {
			sess.Count(int64(n), 0)
		}
	}
	if err := c.write(reply{150, j.opening}); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	if private {
		if err := d.protect(ctx, c, j); err != nil {
			d.cut()
			return err
		}
	} else {
		j.carried(session.Channel{Kind: session.Plain})
	}
	t.copying.Store(true)
	err = j.move(ctx, d)
	t.copying.Store(false)
	if err != nil {
		d.cut()
		return err
	}
	if j.sends {
		return c.sent(d)
	}
	if err := d.finishReceiving(); err != nil {
		if !c.cfg.TakeTruncated {
			return err
		}
		c.log.Warn("upload without close_notify taken as complete", "bytes", t.moved.Load())
	}
	return c.stillThere(ctx)
}

// sent ends a connection on which all was sent. The final reply does not wait for the
// peer to close it too; the next transfer does not either, so that there is never more
// than one that lingers.
func (c *conn) sent(d *dataConn) error {
	if err := d.finishSending(); err != nil || d.tls == nil {
		return err
	}
	c.stopLingering()
	c.lingering, d.lingers = d.raw, true
	go linger(d.raw)
	return nil
}

// stopLingering closes the connection that lingers. A second close does no harm.
func (c *conn) stopLingering() {
	if c.lingering != nil {
		_ = c.lingering.Close()
		c.lingering = nil
	}
}

// hearTimeout is how long the reader may take to come to the end of a control
// connection that is over.
const hearTimeout = time.Second

// stillThere keeps an upload from being taken as whole when the client died: its
// connections then end both, and the end of the data alone looks like the end of
// the file. The reader may not have come to that end yet, or not be able to, with
// the queue full; then the system knows. Whoever said QUIT may close.
func (c *conn) stillThere(ctx context.Context) error {
	if ended(c.accept.Conn) {
		late := time.NewTimer(hearTimeout)
		defer late.Stop()
		select {
		case <-c.gone:
		case <-c.deaf:
		case <-ctx.Done():
		case <-late.C:
			return errGone
		}
	}
	select {
	case <-c.gone:
		return errGone
	case <-ctx.Done():
		return context.Cause(ctx)
	default:
		return nil
	}
}

// sendList sends a listing through one buffer. entry writes the lines of a row,
// each ended by CRLF.
func (c *conn) sendList(ctx context.Context, verb string, l *listing, entry func([]byte, row) []byte) reply {
	if r, ok := c.mayTransfer(); !ok {
		_ = l.close(ctx, errNotSent)
		return r
	}
	return c.begin(ctx, job{
		verb: verb, opening: "Here comes the directory listing.", sends: true, carried: l.carried,
		move: func(ctx context.Context, d *dataConn) error {
			w := bufio.NewWriterSize(counting{d}, listBuffer)
			var text []byte
			for r, err := range l.rows(ctx) {
				if err != nil {
					return err
				}
				// A newline in a name would forge an entry.
				r.info.Name, r.heading, r.prefix = lineio.Clean(r.info.Name), lineio.Clean(r.heading), lineio.Clean(r.prefix)
				text = entry(text[:0], r)
				if _, err := w.Write(text); err != nil {
					return err
				}
			}
			return w.Flush()
		},
		end: l.close,
	})
}

// listBuffer gathers entries, so that each is not a packet of its own.
const listBuffer = 32 << 10

// counting counts what is written to a data connection.
type counting struct{ d *dataConn }

func (c counting) Write(p []byte) (int, error) {
	n, err := c.d.Write(p)
	c.d.count(n)
	return n, err
}
