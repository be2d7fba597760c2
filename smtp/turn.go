package smtp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"gateway/session"
)

// turn is a connection of go-smtp's: it has one for a command, together with the
// exchange or the transaction that the command begins. Between them a connection of
// ours is idle, perhaps for minutes, and does not hold what one of go-smtp's takes.
//
// Its Read yields one command, or one response of an AUTH exchange, and then nothing
// until that has been answered. Content never passes through go-smtp: for it,
// DATA and BDAT are the command DATA followed by an empty message, and the
// session reads the content from the wire itself.
//
// It is also the net.Listener from which go-smtp accepts it.
type turn struct {
	wire     *wire
	unit     []byte // what go-smtp has still to read
	command  []byte // and then; what is said before that is not for the peer
	line     []byte // an incomplete line written by go-smtp
	idle     bool   // all is answered and nothing under way
	accepted bool

	closed    chan struct{} // go-smtp has no more use for it
	closeOnce sync.Once
}

// turn has go-smtp answer the command, and what belongs to it.
func (c *conn) turn(command []byte) {
	t := &turn{wire: c.wire, command: command, closed: make(chan struct{})}
	if c.state != fresh {
		// HELO rather than EHLO, whose reply takes more to make: nobody hears it.
		t.unit = []byte("HELO " + c.helo + "\r\n")
	}
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) {
		return &transaction{c}, nil
	}))
	srv.Domain = c.cfg.Hostname
	srv.MaxRecipients = c.cfg.MaxRecipients
	srv.MaxMessageBytes = c.cfg.MaxMessageBytes // announced; the content is measured by body
	srv.MaxLineLength = 0                       // the wire bounds lines
	srv.AllowInsecureAuth = true                // transaction.AuthMechanisms decides
	srv.EnableSMTPUTF8, srv.EnableDSN = true, true
	srv.ErrorLog = panicLog{c}
	if c.tls == nil {
		srv.TLSConfig = c.cfg.TLS // to have it announced; the wire does it
	}
	// Serve accepts the turn, then waits until go-smtp has closed it; Shutdown waits
	// for its goroutine.
	_ = srv.Serve(t)
	_ = srv.Shutdown(context.WithoutCancel(c.ctx))
}

// Accept implements net.Listener.
func (t *turn) Accept() (net.Conn, error) {
	if !t.accepted {
		t.accepted = true
		return t, nil
	}
	<-t.closed
	return nil, net.ErrClosed
}

// Read gives go-smtp the next unit of the dialogue.
//
// Every end is io.EOF for go-smtp, which then has nothing to say about it.
func (t *turn) Read(p []byte) (n int, err error) {
	defer t.contain(&err)
	if len(t.unit) == 0 {
		if t.unit, err = t.next(); err != nil {
			return 0, io.EOF
		}
	}
	n = copy(p, t.unit)
	t.unit = t.unit[n:]
	return n, nil
}

// next returns the next unit, or why there is none.
func (t *turn) next() ([]byte, error) {
	w := t.wire
	switch {
	case w.err != nil:
		return nil, w.err
	case t.command != nil:
		command := t.command
		t.command = nil
		return command, nil
	case w.exchange:
		w.exchange = false
		return w.readLine(maxAuthLine)
	case w.body != nil:
		// The session has read the content; this is its end for go-smtp.
		w.body = nil
		return []byte(".\r\n"), nil
	case w.conn.begun():
		return w.next()
	default:
		t.idle = true
		return nil, io.EOF
	}
}

// contain keeps a fault of ours within this connection: go-smtp recovers only
// while it handles a command.
func (t *turn) contain(err *error) {
	if v := recover(); v != nil {
		w := t.wire
		w.conn.panicked(v, string(debug.Stack()))
		w.mute = true
		*err = io.EOF
		if w.err == nil {
			w.err = session.ErrPanic
		}
	}
}

// Write takes what go-smtp replies, a line at a time.
func (t *turn) Write(p []byte) (n int, err error) {
	defer t.contain(&err)
	if t.command != nil {
		return len(p), nil
	}
	t.line = append(t.line, p...)
	for {
		i := bytes.IndexByte(t.line, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := strings.TrimRight(string(t.line[:i]), "\r")
		t.line = t.line[i+1:]
		t.replied(line)
	}
}

// replied passes one line of a reply on, in our words.
func (t *turn) replied(line string) {
	w := t.wire
	if w.mute {
		return
	}
	line, final := w.conn.repair(w, line)
	if !w.swallow && line != "" {
		w.put(line + "\r\n")
	}
	if final {
		w.conn.answered(w, line)
	}
}

// Close ends go-smtp's use of the wire, and ours too unless go-smtp was through.
func (t *turn) Close() error {
	t.closeOnce.Do(func() {
		if !t.idle {
			t.wire.close()
		}
		close(t.closed)
	})
	return nil
}

// Addr, LocalAddr and RemoteAddr are those of the connection.
func (t *turn) Addr() net.Addr       { return t.wire.nc.LocalAddr() }
func (t *turn) LocalAddr() net.Addr  { return t.wire.nc.LocalAddr() }
func (t *turn) RemoteAddr() net.Addr { return t.wire.nc.RemoteAddr() }

// The deadlines are the wire's own affair.
func (t *turn) SetDeadline(time.Time) error      { return nil }
func (t *turn) SetReadDeadline(time.Time) error  { return nil }
func (t *turn) SetWriteDeadline(time.Time) error { return nil }

// panicLog is go-smtp's log. What it says of a panic it caught is ours to know;
// the rest is the peer's doing, and in the record.
type panicLog struct{ conn *conn }

func (l panicLog) Printf(format string, v ...any) {
	if strings.HasPrefix(format, "panic serving") {
		l.conn.panicked("in a command", fmt.Sprintf(format, v...))
	}
}

func (panicLog) Println(...any) {}
