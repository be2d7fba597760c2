package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
	"gateway/session/sessiontest"
)

// The repairs A to N are of what go-smtp v0.25.1 does wrong as a server, in the
// order of docs/protocols/smtp.md; O was found while building.

// bubble runs a server over net.Pipe in a synctest bubble.
func bubble(t *testing.T, rules sessiontest.Rules, change func(*Config), run func(t *testing.T, f *fixture, dial func() *peer)) {
	t.Helper()
	_, _ = testCertificate() // not in the bubble
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, rules, change)
		ln := newPipeListener()
		served := make(chan struct{})
		go func() { defer close(served); _ = f.server.Serve(context.Background(), ln) }()
		run(t, f, func() *peer {
			conn := ln.dial()
			p := newPeer(t, conn)
			_ = conn.SetDeadline(time.Time{})
			return p
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = f.server.Shutdown(ctx)
		<-served
	})
}

// TestRepairA: content after a stall is never taken for commands, whatever the
// content came by and whether or not the message was refused already.
func TestRepairA(t *testing.T) {
	t.Parallel()
	const forged = "\r\n.\r\nMAIL FROM:<alice@example.com>\r\nRCPT TO:<victim@remote.test>\r\nDATA\r\nFrom: alice@example.com\r\n\r\nforged\r\n.\r\n"
	header := strings.ReplaceAll(aliceHeader, "\n", "\r\n")
	for name, c := range map[string]struct {
		clear       bool
		begin, body string
	}{
		"plain":         {clear: true, begin: "DATA\r\n", body: header},
		"tls":           {begin: "DATA\r\n", body: header},
		"bdat":          {begin: "BDAT 9000 LAST\r\n" + header},
		"early refusal": {begin: "DATA\r\n", body: "Subject: no From\r\n\r\nrefused by now\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := sessiontest.Rules(sessiontest.Encrypted)
			if c.clear {
				rules = anything
			}
			bubble(t, rules, nil, func(t *testing.T, f *fixture, dial func() *peer) {
				p := dial()
				if c.clear {
					p.loginClear()
				} else {
					p.login()
				}
				p.open()
				p.raw(c.begin)
				if strings.HasPrefix(c.begin, "DATA") {
					p.expect("354 ")
					p.raw(c.body)
				}
				stalled := make(chan string)
				go func() { rest, _ := io.ReadAll(p.r); stalled <- string(rest) }()
				time.Sleep(10 * time.Minute)
				_, _ = io.WriteString(p.conn, forged)
				if got := <-stalled; got != replyIdle.String() {
					t.Errorf("got %q, want %q", got, replyIdle)
				}
				if n := len(f.queue.all()); n != 0 {
					t.Errorf("%d messages accepted, want 0", n)
				}
			})
		})
	}
}

// TestRepairB: an address that would be another one on the next hop is refused.
func TestRepairB(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	p := dialPeer(t, f.listen(t), true)
	p.login()
	p.send("MAIL FROM:<\"victim@evil.org> X=y\"@example.com>\n")
	p.expect("553 5.1.7")
	p.send("MAIL FROM:<alice@example.com>\n")
	p.expect("250 ")
	for _, to := range []string{
		`"victim@evil.org> ORCPT=rfc822;x"@corp.example`, `"a\"b"@corp.example`, `"a<b"@corp.example`, `@a.test:b@corp.example`,
		`"a,b"@corp.example`, `a@b@corp.example`, `a@[999.1.1.1]`, `a@-x.test`,
	} {
		p.send("RCPT TO:<" + to + ">\n")
		p.expect("501 5.")
	}
}

func implicit(cfg *Config) { cfg.Implicit = true }

// TestRepairC: no control character reaches a reply, the trace field or the record.
func TestRepairC(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	p := dialPeer(t, f.listen(t), true)
	p.expect("220 ")
	for _, line := range []string{"EHLO a\x1b[31m", "EHLO a\rb", "EHLO a\x00b", "MAIL FROM:<a\x07@b.test>", "NO\x00OP", "NOOP \x7f"} {
		p.raw(line + "\r\n")
		if got := p.reply(); got != strings.TrimSpace(replyControl.String()) {
			t.Errorf("%q: got %q, want %q", line, got, replyControl)
		}
	}
	p.raw("EHLO <script>\xff\n")
	p.expect("250-mx.test")
	_ = p.conn.Close()
	_ = f.server.Shutdown(t.Context())
	if got := f.Record.Events(session.EventConnection)[0].Client; got != "?script??" {
		t.Errorf("client %q, want %q", got, "?script??")
	}
}

// TestRepairD: a second MAIL does not keep the recipients of the first, and what
// leads nowhere ends: errors, idle commands, wrong passwords.
func TestRepairD(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	addr := f.listen(t)
	for name, c := range map[string]struct {
		line, reply, last string
		times             int
	}{
		"noop":         {"NOOP", "250 ", replyTooManyIdle.text, maxIdleCommands - 2},
		"rset":         {"RSET", "250 ", replyTooManyIdle.text, maxIdleCommands - 2},
		"ehlo":         {"EHLO x", "250-", replyTooManyIdle.text, maxIdleCommands - 2},
		"empty chunks": {"BDAT 0", "503 ", replyTooManyErrors.text, maxErrors - 1},
		"unknown":      {"XYZZY", "500 ", replyTooManyErrors.text, maxErrors - 1},
		"empty line":   {"", "500 ", replyTooManyErrors.text, maxErrors - 1},
		"bad RCPT":     {"RCPT TO:<bob@-.test>", "501 ", replyTooManyErrors.text, maxErrors - 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := dialPeer(t, addr, true)
			p.login()
			if name == "bad RCPT" {
				p.send("MAIL FROM:<alice@example.com>\n")
				p.expect("250 ")
			}
			for range c.times {
				p.send(c.line + "\n")
				p.expect(c.reply)
			}
			p.send(c.line + "\n")
			got := p.reply()
			for !strings.HasPrefix(got, "421 ") {
				p.send("NOOP\n")
				got = p.reply()
			}
			if !strings.HasSuffix(got, c.last) {
				t.Errorf("got %q, want %q", got, c.last)
			}
			p.expectEnd()
		})
	}
	t.Run("wrong passwords", func(t *testing.T) {
		t.Parallel()
		p := dialPeer(t, addr, true)
		p.send("EHLO x\n")
		p.expect("220 ", "250-")
		for range 6 { // session.Config.MaxAttempts
			p.send("AUTH PLAIN AGFsaWNlAHdyb25n\n")
			p.expect("535 5.7.8")
		}
		p.send("AUTH PLAIN AGFsaWNlAHdyb25n\n")
		p.expect("421 4.7.0")
		p.expectEnd()
	})
}

// TestRepairE: long lines and long tokens within the limit pass, also in chunks;
// beyond it the message is refused and the connection stays.
func TestRepairE(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	p := dialPeer(t, f.listen(t), true)
	p.expect("220 ")
	p.send("EHLO x\nAUTH PLAIN " + strings.Repeat("A", 12000) + "\n")
	p.expect("250-", "501 5.5.2")
	p.send("AUTH PLAIN\n")
	p.expect("334 ")
	p.send(strings.Repeat("A", 12288) + "\n")
	p.expect("501 5.5.2")
	p.send("AUTH PLAIN " + alicePlain + "\n")
	p.expect("235 ")
	for _, n := range []int{998, 60_000, defaultMaxLineLength} {
		body := strings.ReplaceAll(aliceHeader, "\n", "\r\n") + "\r\n" + strings.Repeat("x", n)
		p.open()
		p.send("DATA\n")
		p.expect("354 ")
		p.raw(body + "\r\n.\r\n")
		p.expect("250 2.0.0")
		p.raw(strings.ReplaceAll(aliceEnvelope, "\n", "\r\n") + fmt.Sprintf("BDAT %d LAST\r\n%s", len(body), body))
		p.expect("250 ", "250 ", "250 2.0.0")
	}
	p.open()
	p.send("DATA\n")
	p.expect("354 ")
	p.send(aliceHeader + "\n" + strings.Repeat("x", defaultMaxLineLength+1) + "\n.\nNOOP\n")
	p.expect("550 5.6.0", "250 2.0.0 OK")
	p.send("NOOP " + strings.Repeat("x", maxCommandLine) + "\n")
	p.expect("500 5.5.2")
	p.expectEnd()
}

// TestRepairF: the reply to EHLO leaves in one piece, and so do the replies to
// commands that came together.
func TestRepairF(t *testing.T) {
	t.Parallel()
	f := newFixture(t, anything, nil)
	ln := newPipeListener()
	go func() { _ = f.server.Serve(context.Background(), ln) }()
	p := newPeer(t, ln.dial())
	once := func() string {
		buf := make([]byte, 64<<10)
		n, err := p.conn.Read(buf) // what one write of the server gave
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	once()
	p.send("EHLO x\n")
	if got := once(); !strings.HasPrefix(got, "250-mx.test\r\n") || !strings.HasSuffix(got, "\r\n250 LIMITS RCPTMAX=1000\r\n") {
		t.Errorf("got %q, want the whole reply", got)
	}
	p.send("NOOP\nRSET\nNOOP\n")
	if got := once(); strings.Count(got, "\r\n") != 3 {
		t.Errorf("got %q, want three replies", got)
	}
	_ = p.conn.Close()
	_ = f.server.Shutdown(t.Context())
}

// TestRepairG: a message of exactly the announced size is accepted, one byte more
// is not.
func TestRepairG(t *testing.T) {
	t.Parallel()
	const limit = 10_000
	f := newFixture(t, nil, func(cfg *Config) { cfg.Implicit, cfg.MaxMessageBytes = true, limit })
	p := dialPeer(t, f.listen(t), true)
	p.login()
	header := strings.ReplaceAll(aliceHeader, "\n", "\r\n") + "\r\n"
	line := strings.Repeat("x", 98) + "\r\n"
	body := header + strings.Repeat(line, limit/100-4)
	body += strings.Repeat("y", limit-len(body)-2) + "\r\n"
	for _, c := range []struct{ body, want string }{{body, "250 2.0.0"}, {strings.TrimSuffix(body, "\r\n") + "z\r\n", "552 5.3.4"}, {body + strings.Repeat(line, limit/200), "552 5.3.4"}} {
		p.open()
		p.send("DATA\n")
		p.expect("354 ")
		p.raw(c.body + ".\r\n")
		p.expect(c.want)
		p.open()
		p.raw(fmt.Sprintf("BDAT %d LAST\r\n%s", len(c.body), c.body))
		p.expect(c.want)
	}
	p.send("MAIL FROM:<alice@example.com> SIZE=10000\nRSET\nMAIL FROM:<alice@example.com> SIZE=10001\n")
	p.expect("250 2.1.0", "250 2.0.0", "552 5.3.4")
	// A peer that does not stop is hung up on.
	p.open()
	p.send("DATA\n")
	p.expect("354 ")
	_, _ = io.WriteString(p.conn, strings.Repeat(line, 3*limit/100))
	p.expect("421 4.7.0")
}

// TestRepairH: on drain the idle are told, a transaction is finished, and who does
// not finish is cut when the time is over.
func TestRepairH(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	addr := f.listen(t)
	idle, busy, stuck := dialPeer(t, addr, true), dialPeer(t, addr, true), dialPeer(t, addr, true)
	idle.login()
	for _, p := range []*peer{busy, stuck} {
		p.login()
		p.open()
		p.send("DATA\n")
		p.expect("354 ")
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- f.server.Shutdown(ctx) }()
	idle.expect("421 4.3.2")
	idle.expectEnd()
	busy.send(aliceHeader + "\nlast words\n.\n")
	busy.expect("250 2.0.0 Queued", "421 4.3.2")
	busy.expectEnd()
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: got %v, want %v", err, context.Canceled)
	}
	stuck.expectEnd()
	if n := len(f.queue.all()); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	if n := len(f.Record.Events(session.EventConnection)); n != 3 {
		t.Errorf("%d connection records, want 3", n)
	}
}

// TestRepairI: the end is seen after a bare CR, and the message refused.
func TestRepairI(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	p := dialPeer(t, f.listen(t), true)
	p.login()
	for _, tail := range []string{"x\r\r\n.\r\n", "\r\n\r\r\n.\r\n", "\r\n.\rx\r\n.\r\n", "\r\n.\r\r\n.\r\n", "\r\n\r.\r\n\r\n.\r\n"} {
		p.open()
		p.send("DATA\n")
		p.expect("354 ")
		p.raw(strings.ReplaceAll(aliceHeader, "\n", "\r\n") + "\r\n" + tail)
		p.expect("550 5.6.11")
	}
	p.send("NOOP\n")
	p.expect("250 2.0.0 OK")
}

// TestRepairJ: what is pipelined behind QUIT is not looked at.
func TestRepairJ(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	p := dialPeer(t, f.listen(t), true)
	p.login()
	p.send("QUIT\n" + aliceEnvelope + "DATA\n")
	p.expect("221 ")
	p.expectEnd()
	if strings.Contains(f.log.String(), "panic") {
		t.Errorf("log: %s", f.log)
	}
}

// TestRepairK: after a failed handshake nothing goes on in clear.
func TestRepairK(t *testing.T) {
	t.Parallel()
	f := newFixture(t, anything, nil)
	p := dialPeer(t, f.listen(t), false)
	p.loginClear()
	p.send("STARTTLS\n")
	p.expect("220 ")
	p.send(aliceEnvelope)
	if rest, _ := io.ReadAll(p.r); strings.Contains(string(rest), "250") {
		t.Errorf("got %q, want no reply", rest)
	}
	_ = f.server.Shutdown(t.Context())
	e := f.Record.Events(session.EventConnection)[0]
	if !strings.Contains(e.Reason, session.ErrHandshake.Error()) {
		t.Errorf("reason %q, want %q", e.Reason, session.ErrHandshake)
	}
}

// TestRepairL: chunks, RSET, hang-ups and killed sessions at the same time. It
// asserts little itself: the race detector does, and the fixture that nothing is
// left behind.
func TestRepairL(t *testing.T) {
	t.Parallel()
	f := newFixture(t, anything, nil)
	addr := f.listen(t)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(peerPatience))
			envelope := strings.ReplaceAll(aliceEnvelope, "\n", "\r\n")
			_, _ = io.WriteString(conn, "EHLO x\r\nAUTH PLAIN "+alicePlain+"\r\n"+
				envelope+"BDAT 5\r\nFrom:RSET\r\n"+
				envelope+"BDAT 27 LAST\r\nFrom: alice@example.com\r\n\r\n"+
				envelope+"BDAT 5\r\nFrom:QUIT\r\n")
			if i%3 == 0 {
				return
			}
			if i%3 == 1 {
				for _, s := range f.Gate.Sessions() {
					f.Gate.Kill(s.ID)
				}
			}
			_, _ = io.ReadAll(conn)
		})
	}
	wg.Wait()
	_ = f.server.Shutdown(t.Context())
	if n := len(f.Record.Events(session.EventConnection)); n != 24 {
		t.Errorf("%d connection records, want 24", n)
	}
}

// TestRepairM: no credential is in the log or the record, whatever is logged.
func TestRepairM(t *testing.T) {
	t.Parallel()
	const canary, encoded = "canary-7351", "AGFsaWNlAGNhbmFyeS03MzUx"
	log := &lockedBuffer{}
	f := newFixture(t, nil, func(cfg *Config) {
		cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	p := dialPeer(t, f.listen(t), false)
	p.send("EHLO x\nAUTH PLAIN " + encoded + "\n" + "AUTH LOGIN YWxpY2U=\n" + "STARTTLS\n")
	p.expect("220 ", "250-", "538 5.7.11", "538 5.7.11", "220 ")
	p.startTLS()
	p.send("EHLO x\nAUTH PLAIN " + encoded + "\nAUTH LOGIN\n")
	p.expect("250-", "535 ", "334 ")
	p.send("YWxpY2U=\n")
	p.expect("334 ")
	p.send("Y2FuYXJ5LTczNTE=\n" + canary + "\nQUIT\n")
	p.expect("535 ", "500 ", "221 ")
	p.expectEnd()
	_ = f.server.Shutdown(t.Context())
	text := log.String()
	for _, e := range f.Record.Events("") {
		text += fmt.Sprintf("%+v %+v\n", e, e.Facts)
	}
	for _, secret := range []string{canary, encoded, "Y2FuYXJ5LTczNTE"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %s", secret, text)
		}
	}
	var crossed []string
	for _, e := range f.Record.Events(session.EventLogin) {
		crossed = append(crossed, e.Credential)
		if e.User != "alice" {
			t.Errorf("user %q, want alice", e.User)
		}
	}
	want := []string{session.CredentialPlaintext, session.CredentialNone, session.CredentialProtected, session.CredentialProtected}
	if fmt.Sprint(crossed) != fmt.Sprint(want) {
		t.Errorf("credentials: got %q, want %q", crossed, want)
	}
}

// TestRepairN: who is not served is told before the greeting, and EHLO answers
// with our name.
func TestRepairN(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, nil)
	addr := f.listen(t)
	p := dialPeer(t, addr, false)
	p.send("EHLO client.test\n")
	p.expect("220 mx.test ", "250-mx.test\n")
	for _, c := range []struct {
		err  error
		want reply
	}{
		{session.ErrTooMany, replyTooMany}, {session.ErrBanned, replyTooMany}, {session.ErrUnavailable, replyUnavailable},
	} {
		f.Limits.Refuse("Admit", c.err)
		p := dialPeer(t, addr, false)
		if got := p.reply() + "\r\n"; got != c.want.String() {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
		p.expectEnd()
	}
}

// TestRepairO: a last chunk that is cut off is not taken for the whole message.
func TestRepairO(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	p := dialPeer(t, f.listen(t), true)
	p.login()
	p.open()
	p.send("BDAT 5000 LAST\n" + aliceHeader + "\nthe beginning of")
	_ = p.conn.Close()
	eventually(t, "the connection is recorded", func() bool { return len(f.Record.Events(session.EventConnection)) == 1 })
	if n := len(f.queue.all()); n != 0 {
		t.Errorf("%d messages, want 0", n)
	}
}

// TestSmuggling: only CRLF "." CRLF ends DATA, and only its size a chunk.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	addr := f.listen(t)
	for _, sequence := range []string{
		"\n.\n", "\n.\r", "\r.\n", "\r.\r", "\n.\r\n", "\r.\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n\x00.\r\n",
	} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%q chunked %v", sequence, chunked), func(t *testing.T) {
				t.Parallel()
				p := dialPeer(t, addr, true)
				p.login()
				body := strings.ReplaceAll(aliceHeader, "\n", "\r\n") + "\r\nfirst" + sequence +
					"MAIL FROM:<alice@example.com>\r\nRCPT TO:<smuggled@remote.test>\r\nDATA\r\nFrom: alice@example.com\r\n\r\nsecond"
				p.open()
				if chunked {
					p.raw(fmt.Sprintf("BDAT %d LAST\r\n%s", len(body), body))
				} else {
					p.send("DATA\n")
					p.expect("354 ")
					p.raw(body + "\r\n.\r\n")
				}
				want := "250 2.0.0 Queued"
				if strings.Contains(strings.ReplaceAll(sequence, "\r\n", ""), "\r") || strings.Contains(sequence, "\x00") {
					want = "550 5.6."
				}
				p.expect(want)
				p.send("QUIT\n")
				p.expect("221 ")
				p.expectEnd()
			})
		}
	}
	t.Cleanup(func() {
		for _, m := range f.queue.all() {
			if m.envelope.To[0].Address != "bob@remote.test" || !strings.Contains(m.content, "smuggled@remote.test") {
				t.Errorf("got %+v", m)
			}
			if rest := strings.ReplaceAll(m.content, "\r\n", ""); strings.ContainsAny(rest, "\r\n\x00") {
				t.Errorf("a bare CR, LF or NUL is in %q", m.content)
			}
		}
	})
}
