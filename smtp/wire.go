package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"gateway/session"
)

// Bounds of the wire.
const (
	readBufferSize = 4096
	// maxCommandLine holds a command with its CRLF. RFC 5321, section 4.5.3.1.4
	// asks for 512, and each extension adds some.
	maxCommandLine = 4096
	// maxAuthLine holds AUTH with a base64 response, or a response alone, and the
	// CRLF (RFC 4954, section 4).
	maxAuthLine = 12288 + 2
	// maxPendingReplies is how many bytes of replies to pipelined commands are
	// held back before they are sent.
	maxPendingReplies = 4096
	// writeTimeout is how long one flush of replies may take.
	writeTimeout = time.Minute
	// goodbyeTimeout is how long the last reply may take when we hang up.
	goodbyeTimeout = 500 * time.Millisecond
	// drainPatience is how long a transaction that was begun may wait for its next
	// command while the server stops.
	drainPatience = 5 * time.Second
)

// past is a deadline that is over.
var past = time.Unix(1, 0)

var (
	// errStartTLS ends go-smtp's part in clear; conn goes on with the handshake.
	errStartTLS = errors.New("upgrade to TLS")
	// errHungUp is a peer that left without QUIT.
	errHungUp = errors.New("closed by the peer without QUIT")
	// errAborted is content whose transaction the peer gave up (RSET between chunks).
	errAborted = errors.New("transaction aborted by the peer")
)

// wire is the framing of the connection, in clear or above TLS: commands and
// content come from it, replies go into it. go-smtp sees it through a turn.
//
// The first error is final (a timeout too), so that nothing read after it is
// ever taken for a command. Replies are sent together when the wire is about to
// wait for the peer.
//
// All methods but interrupt and drain are for the goroutine that serves
// the connection, or for go-smtp's while that has its turn.
type wire struct {
	conn *conn
	nc   net.Conn
	br   *bufio.Reader

	err  error  // sticky
	out  []byte // replies held back
	mute bool   // nothing more is sent

	last      verb  // the command that is being answered; empty before the first
	swallow   bool  // its replies are not for the peer
	exchange  bool  // the next unit is a response to a 334
	body      *body // content being received
	chunk     int64 // size of the BDAT chunk that was announced
	chunkLast bool
	pushed    []byte // a command that was read while content was expected

	mu       sync.Mutex
	stop     error // set by interrupt: why to hang up at once
	waiting  bool  // nothing is under way
	draining bool
	content  time.Time // when content ends to be waited for; zero outside of it
	lineEnds time.Time // when the current line must be complete
}

func newWire(c *conn, nc net.Conn) *wire {
	w := &wire{conn: c, nc: nc}
	w.br = bufio.NewReaderSize(readerFunc(w.receive), readBufferSize)
	return w
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// next returns the next command that go-smtp shall read, or the error that ends the
// connection. Those that it need not see are answered on the way.
func (w *wire) next() ([]byte, error) {
	w.swallow = false
	for {
		if err := w.skipChunk(); err != nil {
			return nil, err
		}
		line := w.pushed
		w.pushed = nil
		if line == nil {
			var err error
			if line, err = w.readLine(maxCommandLine); err != nil {
				return nil, err
			}
		}
		if command := w.conn.command(w, line); command != nil {
			return command, nil
		}
		if w.err != nil {
			return nil, w.err
		}
	}
}

// skipChunk drops a chunk whose BDAT was refused (RFC 3030, section 2).
func (w *wire) skipChunk() error {
	if w.chunk == 0 {
		return nil
	}
	w.beginContent()
	defer w.endContent()
	left := w.chunk
	w.chunk = 0
	if left > w.conn.cfg.MaxMessageBytes {
		return w.fail(session.ErrProtocol, replyFlood)
	}
	if _, err := io.CopyN(io.Discard, w.br, left); err != nil {
		return w.broken(err)
	}
	return nil
}

// readLine returns a line with its end, at most limit bytes of it.
func (w *wire) readLine(limit int) ([]byte, error) {
	if err := w.ready(); err != nil {
		return nil, err
	}
	w.expectLine()
	var line []byte
	for {
		part, err := w.br.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > limit && !(isAuth(line) && len(line) <= maxAuthLine):
			return nil, w.fail(session.ErrProtocol, replyLineTooLong)
		case err == nil:
			w.busy()
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, w.broken(err)
		}
	}
}

// ready sends what is held back if the peer must be waited for, and says
// whether the server stops and nothing is under way.
func (w *wire) ready() error {
	if w.err != nil {
		return w.err
	}
	if buffered, _ := w.br.Peek(w.br.Buffered()); bytes.IndexByte(buffered, '\n') < 0 || len(w.out) > maxPendingReplies {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.mu.Lock()
	stop := w.stop
	if stop == nil && w.draining && !w.conn.begun() {
		stop = session.ErrShutdown
	}
	w.mu.Unlock()
	if stop != nil {
		return w.fail(stop, goodbye(stop))
	}
	return nil
}

// expectLine begins the wait for a line, which as a whole has the idle timeout.
func (w *wire) expectLine() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lineEnds = time.Now().Add(w.conn.cfg.IdleTimeout)
	if w.draining {
		w.lineEnds = time.Now().Add(drainPatience)
	}
	w.waiting = !w.conn.begun()
	if w.draining && w.waiting {
		w.lineEnds = past
	}
}

func (w *wire) busy() {
	w.mu.Lock()
	w.waiting = false
	w.mu.Unlock()
}

func (w *wire) beginContent() {
	w.mu.Lock()
	w.content = time.Now().Add(w.conn.cfg.DataTimeout)
	w.mu.Unlock()
}

func (w *wire) endContent() {
	w.mu.Lock()
	w.content = time.Time{}
	w.mu.Unlock()
}

// receive reads from the connection under the deadline that holds now.
func (w *wire) receive(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.mu.Lock()
	if w.stop != nil {
		err := w.stop
		w.mu.Unlock()
		return 0, err
	}
	err := w.nc.SetReadDeadline(w.deadline())
	w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return w.nc.Read(p)
}

// deadline is called with w.mu held.
func (w *wire) deadline() time.Time {
	d := w.lineEnds
	if !w.content.IsZero() {
		d = time.Now().Add(w.conn.cfg.IdleTimeout)
		if w.content.Before(d) {
			d = w.content
		}
	}
	if grace := w.conn.graceEnds(); !grace.IsZero() && grace.Before(d) {
		d = grace
	}
	return d
}

// broken turns a failed read into the end of the connection.
func (w *wire) broken(err error) error {
	if w.err != nil {
		return w.err
	}
	w.mu.Lock()
	stop, draining := w.stop, w.draining
	w.mu.Unlock()
	switch grace := w.conn.graceEnds(); {
	case stop != nil:
		return w.fail(stop, goodbye(stop))
	case errors.Is(err, io.EOF):
		return w.fail(errHungUp, reply{})
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return w.fail(err, reply{})
	case draining:
		return w.fail(session.ErrShutdown, replyShutdown)
	case !grace.IsZero() && !time.Now().Before(grace):
		return w.fail(session.ErrGrace, replyGrace)
	default:
		return w.fail(session.ErrIdle, replyIdle)
	}
}

// fail ends the connection because of cause, with r as its last reply if that
// is not empty. It returns the error that sticks.
func (w *wire) fail(cause error, r reply) error {
	if w.err != nil {
		return w.err
	}
	w.conn.end(cause)
	w.err = cause
	if r.code != 0 {
		w.put(r.String())
	}
	if len(w.out) > 0 && !w.mute {
		_ = w.nc.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
		_, _ = w.nc.Write(w.out)
	}
	w.out, w.mute = nil, true
	return w.err
}

// interrupt hangs up because of cause, whatever is under way. Any goroutine may
// call it.
func (w *wire) interrupt(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop == nil {
		w.stop = cause
		_ = w.nc.SetReadDeadline(past)
		_ = w.nc.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	}
}

// drain hangs up once nothing is under way. Any goroutine may call it.
func (w *wire) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.draining {
		return
	}
	w.draining = true
	switch {
	case w.waiting:
		_ = w.nc.SetReadDeadline(past)
	case w.content.IsZero() && w.stop == nil:
		w.lineEnds = time.Now().Add(drainPatience)
		_ = w.nc.SetReadDeadline(w.lineEnds)
	}
}

func (w *wire) put(text string) {
	if !w.mute {
		w.out = append(w.out, text...)
	}
}

// say queues a reply of our own.
func (w *wire) say(r reply) {
	w.put(r.String())
	w.conn.count(w, r.code)
}

// flush sends the replies held back.
func (w *wire) flush() error {
	if len(w.out) == 0 || w.mute {
		return w.err
	}
	w.mu.Lock()
	patience := writeTimeout
	if w.stop != nil {
		patience = goodbyeTimeout
	}
	_ = w.nc.SetWriteDeadline(time.Now().Add(patience))
	w.mu.Unlock()
	_, err := w.nc.Write(w.out)
	w.out = w.out[:0]
	if cap(w.out) > maxPendingReplies {
		w.out = nil
	}
	if err != nil {
		return w.fail(err, reply{})
	}
	return nil
}

// close says what is left to say, and nothing from then on. The connection itself is
// closed by whoever accepted it.
func (w *wire) close() {
	if w.err == nil {
		_ = w.flush()
		if w.err == nil {
			w.err = net.ErrClosed
		}
	}
	w.mute = true
}
