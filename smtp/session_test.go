package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
	"gateway/session/sessiontest"
)

// TestTimeouts: each wait has an end, with its own word to the peer and its own
// cause in the record.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		run   func(t *testing.T, p *peer)
		want  reply
		cause error
		after time.Duration
	}{
		"nothing is said":   {func(_ *testing.T, p *peer) { p.expect("220 ") }, replyGrace, session.ErrGrace, 30 * time.Second},
		"no login":          {func(_ *testing.T, p *peer) { p.expect("220 "); p.send("EHLO x\n"); p.expect("250-") }, replyGrace, session.ErrGrace, 30 * time.Second},
		"idle":              {func(_ *testing.T, p *peer) { p.login() }, replyIdle, session.ErrIdle, 5 * time.Minute},
		"idle in a command": {func(_ *testing.T, p *peer) { p.login(); p.raw("NOO") }, replyIdle, session.ErrIdle, 5 * time.Minute},
		"a slow command": {func(_ *testing.T, p *peer) {
			p.login()
			go func() {
				for range 100 {
					if _, err := io.WriteString(p.conn, "N"); err != nil {
						return
					}
					time.Sleep(time.Minute)
				}
			}()
		}, replyIdle, session.ErrIdle, 5 * time.Minute},
		"slow content": {func(_ *testing.T, p *peer) {
			p.login()
			p.open()
			p.send("DATA\n")
			p.expect("354 ")
			go func() {
				for range 100 {
					if _, err := io.WriteString(p.conn, "x"); err != nil {
						return
					}
					time.Sleep(time.Minute)
				}
			}()
		}, replyIdle, session.ErrIdle, time.Hour},
		"AUTH is left open": {func(_ *testing.T, p *peer) {
			p.expect("220 ")
			p.send("STARTTLS\n")
			p.expect("220 ")
			p.startTLS()
			p.send("EHLO x\nAUTH PLAIN\n")
			p.expect("250-", "334 ")
		}, replyGrace, session.ErrGrace, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, nil, nil, func(t *testing.T, f *fixture, dial func() *peer) {
				began := time.Now()
				p := dial()
				c.run(t, p)
				got, err := io.ReadAll(p.r)
				if string(got) != c.want.String() || err != nil {
					t.Errorf("got %q %v, want %q", got, err, c.want)
				}
				if took := time.Since(began).Round(time.Second); took != c.after {
					t.Errorf("after %v, want %v", took, c.after)
				}
				_ = f.server.Shutdown(t.Context())
				if e := f.Record.Events(session.EventConnection)[0]; e.Reason != c.cause.Error() {
					t.Errorf("reason %q, want %q", e.Reason, c.cause)
				}
				time.Sleep(2 * time.Hour) // for those who still want to write
			})
		})
	}
}

// TestHandshakeTimeout: implicit TLS has the login grace too.
func TestHandshakeTimeout(t *testing.T) {
	t.Parallel()
	bubble(t, nil, implicit, func(t *testing.T, f *fixture, dial func() *peer) {
		began := time.Now()
		p := dial()
		if got, _ := io.ReadAll(p.r); len(got) != 0 {
			t.Errorf("got %q, want nothing", got)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("after %v, want 30s", took)
		}
		_ = f.server.Shutdown(t.Context())
		if e := f.Record.Events(session.EventConnection)[0]; e.Outcome != session.OutcomeHandshakeFailed {
			t.Errorf("outcome %q, want %q", e.Outcome, session.OutcomeHandshakeFailed)
		}
	})
}

// TestSessionEnds: a killed session is over at once, wherever it is.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(p *peer){
		"idle":        func(*peer) {},
		"transaction": func(p *peer) { p.open() },
		"content": func(p *peer) {
			p.open()
			p.send("DATA\n")
			p.expect("354 ")
			p.send(aliceHeader)
		},
		"chunk": func(p *peer) { p.open(); p.send("BDAT 1000\nFrom: ") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, nil, nil, func(t *testing.T, f *fixture, dial func() *peer) {
				p := dial()
				p.login()
				begin(p)
				synctest.Wait()
				began := time.Now()
				if n := f.Gate.Revoke("alice"); n != 1 {
					t.Fatalf("%d sessions revoked, want 1", n)
				}
				if got, _ := io.ReadAll(p.r); string(got) != replyClosed.String() {
					t.Errorf("got %q, want %q", got, replyClosed)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("took %v, want less than 1s", took)
				}
				_ = f.server.Shutdown(t.Context())
				if e := f.Record.Events(session.EventConnection)[0]; e.Reason != session.ErrDisabled.Error() {
					t.Errorf("reason %q, want %q", e.Reason, session.ErrDisabled)
				}
				if n := len(f.queue.all()); n != 0 {
					t.Errorf("%d messages, want 0", n)
				}
			})
		})
	}
}

// TestPeerDoesNotRead: a peer that takes no replies does not hold on to us.
func TestPeerDoesNotRead(t *testing.T) {
	t.Parallel()
	bubble(t, nil, nil, func(t *testing.T, f *fixture, dial func() *peer) {
		_ = dial() // net.Pipe has no buffer: the greeting blocks
		time.Sleep(writeTimeout + time.Second)
		if n := len(f.Record.Events(session.EventConnection)); n != 1 {
			t.Errorf("%d connection records, want 1", n)
		}
	})
}

// TestDrainInTransaction: while the server stops, a transaction that is begun may
// go on, but not wait.
func TestDrainInTransaction(t *testing.T) {
	t.Parallel()
	bubble(t, nil, nil, func(t *testing.T, f *fixture, dial func() *peer) {
		slow, quick := dial(), dial()
		for _, p := range []*peer{slow, quick} {
			p.login()
			p.send("MAIL FROM:<alice@example.com>\n")
			p.expect("250 ")
		}
		began := time.Now()
		stopped := make(chan error, 1)
		go func() { stopped <- f.server.Shutdown(context.Background()) }()
		time.Sleep(time.Second)
		quick.send("RCPT TO:<bob@remote.test>\nDATA\n")
		quick.expect("250 ", "354 ")
		quick.send(aliceHeader + "\n.\n")
		quick.expect("250 2.0.0 Queued", "421 4.3.2")
		slow.expect("421 4.3.2")
		quick.expectEnd()
		slow.expectEnd()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != drainPatience {
			t.Errorf("took %v, want %v", took, drainPatience)
		}
	})
}

// TestLoginReplies: what the Gate says in the words of RFC 4954.
func TestLoginReplies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(f *fixture)
		want    string
		ends    bool
	}{
		"account store away": {func(f *fixture) { f.Accounts.Fail(errors.New("disk")) }, "454 4.7.0", false},
		"record full":        {func(f *fixture) { f.Record.Fail(errors.New("disk")) }, "454 4.7.0", false},
		"banned by guesses":  {func(f *fixture) { f.Limits.Refuse("Guess", session.ErrBanned) }, "421 4.7.0", true},
		"too many sessions":  {func(f *fixture) { f.Limits.Refuse("Enter", session.ErrTooMany) }, "421 4.7.0", true},
		"disabled":           {func(f *fixture) { f.Accounts.Disable("alice") }, "535 5.7.8", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil, implicit)
			p := dialPeer(t, f.listen(t), true)
			p.send("EHLO x\n")
			p.expect("220 ", "250-")
			c.prepare(f)
			p.send("AUTH PLAIN " + alicePlain + "\n")
			p.expect(c.want)
			f.Record.Fail(nil)
			f.Accounts.Fail(nil)
			if !c.ends {
				p.send("MAIL FROM:<alice@example.com>\nQUIT\n")
				p.expect("530 5.7.0", "221 ")
			}
			p.expectEnd()
			_ = f.server.Shutdown(t.Context())
			if slices.Contains(f.Record.Outcomes(), "login granted") {
				t.Error("a login was granted")
			}
		})
	}
}

// TestMethodRefused: where the rules let no password in, on any channel, none is
// asked for.
func TestMethodRefused(t *testing.T) {
	t.Parallel()
	noPassword := func(q session.Request) session.Verdict {
		return session.Verdict{Allowed: q.Method != session.MethodPassword && q.Method != session.MethodSCRAM && q.Method != session.MethodToken}
	}
	f := newFixture(t, noPassword, implicit)
	p := dialPeer(t, f.listen(t), true)
	p.expect("220 ")
	p.send("EHLO x\n")
	if got := p.reply(); strings.Contains(got, "AUTH") {
		t.Errorf("got %q, want no AUTH", got)
	}
	p.send("AUTH PLAIN\nAUTH LOGIN YWxpY2U=\nAUTH PLAIN " + alicePlain + "\n")
	p.expect("504 5.5.4", "504 5.5.4", "535 5.7.8")
}

// TestQueueFaults: mail that is not in the queue is not acknowledged, and the
// record says so.
func TestQueueFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault error
		want  reply
	}{
		{errors.New("disk on fire"), replyOurFault}, {fmt.Errorf("x: %w", session.ErrNoSpace), replyNoSpace},
		{session.ErrQuota, replyQuota}, {session.ErrUnavailable, replyOurFault},
	} {
		t.Run(c.fault.Error(), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil, implicit)
			f.queue.fail(c.fault)
			p := dialPeer(t, f.listen(t), true)
			p.login()
			p.open()
			p.send("DATA\n")
			p.expect("354 ")
			p.send(aliceHeader + "\nbody\n.\n")
			if got := p.reply() + "\r\n"; got != c.want.String() {
				t.Errorf("got %q, want %q", got, c.want)
			}
			f.queue.fail(nil)
			p.open() // the connection is as good as before
			p.send("DATA\n")
			p.expect("354 ")
			p.send(aliceHeader + "\nbody\n.\n")
			p.expect("250 2.0.0 Queued as q2")
			var got []string
			for _, e := range f.Record.Events(session.EventMail) {
				got = append(got, e.Outcome+" "+e.QueueID+" "+e.MessageID)
			}
			if want := []string{"failed  <1@example.com>", "done q2 <1@example.com>"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestMailEvent: the record of an accepted message is whole.
func TestMailEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	p := dialPeer(t, f.listen(t), true)
	p.login()
	p.open()
	p.send("DATA\n")
	p.expect("354 ")
	p.send(aliceHeader + "\nbody\n.\n")
	p.expect("250 ")
	events := f.Record.Events(session.EventMail)
	if len(events) != 1 {
		t.Fatalf("got %+v, want one event", events)
	}
	e, m := events[0], f.queue.all()[0]
	if e.Verb != session.Accept || *e.From != "alice@example.com" || !slices.Equal(e.To, []string{"bob@remote.test"}) ||
		e.QueueID != "q1" || e.MessageID != "<1@example.com>" || e.Size != int64(len(m.content)) || e.User != "alice" {
		t.Errorf("got %+v", e)
	}
	want := m.envelope
	if want.From != "alice@example.com" || want.User != "alice" || want.Conn != e.Conn || want.Session != e.Session || want.MessageID != e.MessageID {
		t.Errorf("got envelope %+v", want)
	}
}

// panicQueue is a fault of ours.
type panicQueue struct{}

func (panicQueue) Draft() Draft { panic("boom") }

// TestPanic: a fault of ours ends one connection, is in the log with its stack,
// and is no accepted mail.
func TestPanic(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, func(cfg *Config) { cfg.Implicit, cfg.Queue = true, panicQueue{} })
	addr := f.listen(t)
	bad, good := dialPeer(t, addr, true), dialPeer(t, addr, true)
	bad.login()
	good.login()
	bad.open()
	bad.send("DATA\n" + aliceHeader + "\n.\n")
	bad.expect("354 ", "421 4.3.0 Internal error")
	bad.expectEnd()
	good.send("NOOP\nQUIT\n")
	good.expect("250 ", "221 ")
	_ = f.server.Shutdown(t.Context())
	if text := f.log.String(); !strings.Contains(text, "boom") || !strings.Contains(text, "transaction.go") {
		t.Errorf("log: %s", text)
	}
	var outcomes []string
	for _, e := range f.Record.Events(session.EventConnection) {
		outcomes = append(outcomes, e.Outcome)
	}
	if !slices.Contains(outcomes, session.OutcomeFailed) || !slices.Contains(outcomes, session.OutcomeSession) {
		t.Errorf("outcomes %q, want one failed and one session", outcomes)
	}
	if e := f.Record.Events(session.EventMail); len(e) != 1 || e[0].Outcome != session.OutcomeFailed {
		t.Errorf("got %+v, want one failed", e)
	}
}

// TestPanicInTheWire: go-smtp recovers only while it handles a command.
func TestPanicInTheWire(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(q session.Request) session.Verdict {
		if q.Method != "" && q.Phase == session.PhaseNamed { // asked while EHLO is answered
			panic("boom")
		}
		return session.Verdict{Allowed: true}
	}, nil)
	p := dialPeer(t, f.listen(t), false)
	p.expect("220 ")
	p.send("EHLO x\n")
	p.expect("421 4.3.0")
	p.expectEnd()
	if !strings.Contains(f.log.String(), "boom") {
		t.Errorf("log: %s", f.log)
	}
}

// TestValidate: a Config that cannot work is refused with every reason.
func TestValidate(t *testing.T) {
	t.Parallel()
	bad := Config{Protocol: session.FTP, Implicit: true, MaxRecipients: 5, Hostname: "a b", IdleTimeout: -1}
	err := bad.Validate()
	for _, want := range []string{"no gate", "no queue", "hostname", "protocol", "implicit TLS", "at least 100", "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	ok := Config{Gate: sessiontest.New(t, nil).Gate, Queue: &memoryQueue{}, Hostname: "mx.test"}
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
}

// TestForeignALPN: a peer that wants to speak something else is turned away in
// the handshake.
func TestForeignALPN(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	addr := f.listen(t)
	for _, protocol := range []string{"h2", "smtp"} {
		cfg := clientTLS()
		cfg.NextProtos = []string{protocol}
		conn, err := tls.Dial("tcp", addr, cfg)
		if (err == nil) != (protocol == "smtp") {
			t.Errorf("ALPN %q: got %v", protocol, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// TestTooManyRecipients: what is over the limit is refused for now, and the
// others get the message.
func TestTooManyRecipients(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, func(cfg *Config) { cfg.Implicit, cfg.MaxRecipients = true, minRecipients })
	p := dialPeer(t, f.listen(t), true)
	p.login()
	p.send("MAIL FROM:<alice@example.com>\n")
	p.expect("250 ")
	for i := range minRecipients + 50 {
		p.send(fmt.Sprintf("RCPT TO:<r%d@remote.test>\n", i))
		if i < minRecipients {
			p.expect("250 2.1.5")
		} else {
			p.expect("452 4.5.3")
		}
	}
	p.send("DATA\n")
	p.expect("354 ")
	p.send(aliceHeader + "\n.\n")
	p.expect("250 2.0.0")
	if n := len(f.queue.all()[0].envelope.To); n != minRecipients {
		t.Errorf("%d recipients, want %d", n, minRecipients)
	}
}

// TestUpgradeAfterLogin: who logged in in clear and upgrades later has the grace
// anew, and has to log in again.
func TestUpgradeAfterLogin(t *testing.T) {
	t.Parallel()
	bubble(t, anything, nil, func(t *testing.T, _ *fixture, dial func() *peer) {
		p := dial()
		p.loginClear()
		time.Sleep(time.Minute)
		p.send("STARTTLS\n")
		p.expect("220 ")
		p.startTLS()
		time.Sleep(20 * time.Second)
		p.send("EHLO x\nMAIL FROM:<alice@example.com>\nAUTH PLAIN " + alicePlain + "\nQUIT\n")
		p.expect("250-", "530 5.7.0 Authentication required", "235 ", "221 ")
		p.expectEnd()
	})
}

// TestHideSource: the message does not tell where it was sent from.
func TestHideSource(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, func(cfg *Config) { cfg.Implicit, cfg.HideSource = true, true })
	p := dialPeer(t, f.listen(t), true)
	p.login()
	p.open()
	p.send("DATA\n")
	p.expect("354 ")
	p.send(aliceHeader + "\n.\n")
	p.expect("250 2.0.0")
	if m := f.queue.all()[0].content; !strings.HasPrefix(m, "Received: by mx.test with ESMTPSA\r\n") || strings.Contains(m, "127.0.0.1") {
		t.Errorf("got %q", m)
	}
}

// FuzzDialogue: whatever a logged-in peer sends, the connection ends, nothing
// panics, and what is accepted is the account's own.
func FuzzDialogue(f *testing.F) {
	for _, s := range []string{
		aliceEnvelope + "DATA\n" + aliceHeader + "\n.\nQUIT\n", aliceEnvelope + "BDAT 27 LAST\nFrom: alice@example.com\n\n",
		aliceEnvelope + "BDAT 3\nFroRSET\nNOOP\n", "STARTTLS\nEHLO x\n", "AUTH LOGIN\nEHLO\n", "EHLO x\nHELO y\nVRFY\nHELP\n\n",
	} {
		f.Add([]byte(strings.ReplaceAll(s, "\n", "\r\n")))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fix := newFixture(t, anything, nil)
		ln := newPipeListener()
		served := make(chan struct{})
		go func() { defer close(served); _ = fix.server.Serve(context.Background(), ln) }()
		conn := ln.dial()
		drained := make(chan struct{})
		go func() { defer close(drained); _, _ = io.Copy(io.Discard, conn) }()
		_ = conn.SetDeadline(time.Now().Add(peerPatience))
		_, _ = io.WriteString(conn, "EHLO x\r\nAUTH PLAIN "+alicePlain+"\r\n")
		_, _ = conn.Write(text)
		_ = conn.Close()
		<-drained
		ctx, cancel := context.WithTimeout(context.Background(), peerPatience)
		defer cancel()
		if err := fix.server.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		<-served
		if strings.Contains(fix.log.String(), "panic") {
			t.Errorf("log: %s", fix.log)
		}
		for _, m := range fix.queue.all() {
			if !strings.EqualFold(m.envelope.From, "alice@example.com") || len(m.envelope.To) == 0 {
				t.Errorf("got %+v", m.envelope)
			}
		}
	})
}
