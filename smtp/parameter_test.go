package smtp

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"gateway/queue"
	"gateway/session"
)

func newPipe(t *testing.T) (client, server net.Conn) {
	client, server = net.Pipe()
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// What a sender asks of reports reaches the queue as it was sent; what is malformed
// is refused by the command that says it.
func TestDSNParameters(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	p := dialPeer(t, f.listen(t), true)
	p.login()
	for _, bad := range []string{
		"RET=ALL", "RET", "RET=FULL RET=HDRS", "ENVID=", "ENVID=a+0Dmail", "ENVID=a+2", "ENVID=a+4a", "ENVID=" + strings.Repeat("x", 101),
		"SMTPUTF8=1", "REQUIRETLS=1", "SIZE=-1", "SIZE=1x", "BODY=9BIT", "NOTIFY=NEVER",
	} {
		p.send("MAIL FROM:<alice@example.com> " + bad + "\n")
		if got := p.reply(); !strings.HasPrefix(got, "501 5.5.4") && !strings.HasPrefix(got, "555 5.5.4") {
			t.Errorf("MAIL %s: got %q", bad, got)
		}
		p.send("RSET\nMAIL FROM:<alice@example.com>\nRCPT TO:<ok@remote.test>\nDATA\n") // an accepted message forgives
		p.expect("250 ", "250 ", "250 ", "354 ")
		p.send(aliceHeader + "\n.\n")
		p.expect("250 ")
	}
	for _, big := range []string{"SIZE=36700161", "SIZE=5000000000", "SIZE=99999999999999999999"} {
		p.send("MAIL FROM:<alice@example.com> " + big + "\n")
		p.expect("552 5.3.4")
	}
	p.send("MAIL FROM:<alice@example.com> RET=hdrs ENVID=QQ+2B314159 REQUIRETLS SIZE=10 BODY=8bitmime\n")
	p.expect("250 ")
	for _, bad := range []string{
		"NOTIFY=", "NOTIFY=NEVER,DELAY", "NOTIFY=DELAY,DELAY", "NOTIFY=SOON", "ORCPT=bob@remote.test", "ORCPT=x400;bob", "ORCPT=rfc822;",
		"ORCPT=rfc822;a+0Ab", "ORCPT=utf-8;a\\x{0A}", "ORCPT=utf-8;\\x{zz}", "ORCPT=rfc822;" + strings.Repeat("x", 500), "SIZE=1", "ORCPT=rfc822;a ORCPT=rfc822;b",
	} {
		p.send("RCPT TO:<bob@remote.test> " + bad + "\n")
		if got := p.reply(); !strings.HasPrefix(got, "501 5.5.4") && !strings.HasPrefix(got, "555 5.5.4") {
			t.Errorf("RCPT %s: got %q", bad, got)
		}
	}
	p.send("RCPT TO:<bob@remote.test> NOTIFY=failure,SUCCESS ORCPT=rfc822;Bob+2Bx@remote.test\nRCPT TO:<carol@remote.test> NOTIFY=NEVER\nDATA\n")
	p.expect("250 ", "250 ", "354 ")
	p.send(aliceHeader + "\n.\n")
	p.expect("250 ")
	mails := f.queue.all()
	e := mails[len(mails)-1].envelope
	want := []queue.EnvelopeRecipient{
		{Address: "bob@remote.test", Notify: "FAILURE,SUCCESS", ORcpt: "rfc822;Bob+2Bx@remote.test"}, {Address: "carol@remote.test", Notify: "NEVER"},
	}
	if e.Ret != "HDRS" || e.EnvID != "QQ+2B314159" || !e.RequireTLS || !slices.Equal(e.To, want) {
		t.Errorf("got %+v", e)
	}
}

// REQUIRETLS is announced and taken above TLS only (RFC 8689, section 4).
func TestRequireTLSInClear(t *testing.T) {
	t.Parallel()
	f := newFixture(t, anything, nil)
	p := dialPeer(t, f.listen(t), false)
	p.expect("220 ")
	p.send("EHLO x\n")
	if got := p.reply(); strings.Contains(got, "REQUIRETLS") {
		t.Errorf("got %q", got)
	}
	p.send("AUTH PLAIN " + alicePlain + "\nMAIL FROM:<alice@example.com> REQUIRETLS\n")
	p.expect("235 ", "530 5.7.10")
}

// FuzzParameters: what is taken of an argument is well formed, whatever was sent,
// and what go-smtp sees of it is one path with parameters that are known.
func FuzzParameters(f *testing.F) {
	f.Add("FROM:<a@b> RET=FULL ENVID=x+41", true)
	f.Add(`TO:<"a > b"@c> ORCPT=rfc822;x NOTIFY=NEVER`, false)
	f.Add(`TO:<"a\">"@c> ORCPT=utf-8;\x{E4}`, false)
	f.Fuzz(func(t *testing.T, arg string, mail bool) {
		keyword, known := "TO:", rcptParameters()
		if mail {
			keyword, known = "FROM:", mailParameters()
		}
		path, rest, ok := argument(arg, keyword)
		if !ok {
			return
		}
		if !strings.HasSuffix(strings.TrimLeft(arg[len(keyword):], " "), path+rest) {
			t.Errorf("%q: got %q and %q", arg, path, rest)
		}
		p, refused := readParameters(rest, known)
		if refused.code != 0 {
			return
		}
		for _, text := range append([]string{p.envelopeID, p.original, p.notify, p.ret}, p.passed...) {
			if strings.ContainsAny(text, " \r\n\x00") {
				t.Errorf("%q: got %q", arg, text)
			}
		}
		if len(p.original) > maxOriginal || len(p.envelopeID) > maxEnvelopeID || p.size < 0 {
			t.Errorf("%q: got %+v", arg, p)
		}
	})
}

// What an account may send is bounded: the size at MAIL and in the content, the
// recipients of one message, and the domains.
func TestMailLimitsOfAnAccount(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	f.Accounts.Mail("alice", session.MailLimits{Bytes: 200, Recipients: 2, Domains: []string{"remote.test", ".below.test"}})
	p := dialPeer(t, f.listen(t), true)
	p.login()
	p.send("MAIL FROM:<alice@example.com> SIZE=201\nMAIL FROM:<alice@example.com>\n" +
		"RCPT TO:<x@elsewhere.test>\nRCPT TO:<x@below.test>\nRCPT TO:<x@is.BELOW.test>\nRCPT TO:<y@remote.test>\nRCPT TO:<z@remote.test>\nDATA\n")
	p.expect("552 5.3.4", "250 ", "550 5.7.1 Not a recipient", "550 5.7.1 Not a recipient", "250 ", "250 ", "452 4.5.3", "354 ")
	p.send(aliceHeader + "\n" + strings.Repeat("x", 200) + "\n.\n")
	p.expect("552 5.3.4")
	refused := 0
	for _, e := range f.Record.Events(session.EventMail) {
		if e.Verb == session.Reject && e.Outcome == session.OutcomeRefused && e.Reason != "" {
			refused++
		}
	}
	if refused != 3 {
		t.Errorf("%d refused recipients are in the record, want 3", refused)
	}
}

// counter refuses from the second message on.
// Over a limit the answer is temporary and says until when; what was refused does not
// count.
func TestMailLimitReached(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	f.Accounts.Mail("alice", session.MailLimits{MessagesPerHour: 2})
	p := dialPeer(t, f.listen(t), true)
	p.login()
	for _, c := range []struct{ content, want string }{
		{"no header\n.\n", "550 "}, {aliceHeader + "\n.\n", "250 "}, {"no header\n.\n", "550 "}, {aliceHeader + "\n.\n", "250 "},
	} {
		p.open()
		p.send("DATA\n")
		p.expect("354 ")
		p.send(c.content)
		p.expect(c.want)
	}
	p.send("MAIL FROM:<alice@example.com>\n")
	p.expect("450 4.7.1 The limit of 2 messages is reached; it ends at 2027-01-01 08:00 UTC")
	f.Mail.Fail(session.ErrUnavailable)
	p.send("MAIL FROM:<alice@example.com>\n")
	p.expect("451 4.3.0") // it cannot be counted
}

// TestSmugglingProduct: whatever stands around a dot, only CRLF "." CRLF ends the
// content, and none of it is ever sent on bare.
func TestSmugglingProduct(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	addr := f.listen(t)
	ends := []string{"\n", "\r", "\r\n", "\r\r\n", "\n\r", "\n\n", "\r\x00\n", "\x00\r\n", "\r\n\x00", "\x00"}
	for _, chunked := range []bool{false, true} {
		for _, before := range ends {
			t.Run(fmt.Sprintf("%q chunked %v", before, chunked), func(t *testing.T) {
				t.Parallel()
				p := dialPeer(t, addr, true)
				p.login()
				for _, after := range ends {
					sequence := before + "." + after
					if strings.Contains(sequence, "\r\n.\r\n") && !chunked {
						continue // that is the end
					}
					body := strings.ReplaceAll(aliceHeader, "\n", "\r\n") + "\r\nfirst" + sequence +
						"MAIL FROM:<alice@example.com>\r\nRCPT TO:<smuggled@remote.test>\r\nDATA\r\nsecond"
					p.open()
					if chunked {
						p.raw(fmt.Sprintf("BDAT %d LAST\r\n%s", len(body), body))
					} else {
						p.send("DATA\n")
						p.expect("354 ")
						p.raw(body + "\r\n.\r\n")
					}
					want := "250 2.0.0 Queued"
					if strings.ContainsAny(strings.ReplaceAll(sequence, "\r\n", ""), "\r\x00") {
						want = "550 5.6."
					}
					p.expect(want)
				}
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

// With RefuseBareLF a line end that is a LF alone is refused, by DATA and by BDAT.
func TestBareLFRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, func(cfg *Config) { cfg.Implicit, cfg.RefuseBareLF = true, true })
	p := dialPeer(t, f.listen(t), true)
	p.login()
	body := strings.ReplaceAll(aliceHeader, "\n", "\r\n") + "\r\none\ntwo\r\n"
	p.open()
	p.send("DATA\n")
	p.expect("354 ")
	p.raw(body + ".\r\n")
	p.expect("550 5.6.11 A bare LF")
	p.open()
	p.raw(fmt.Sprintf("BDAT %d LAST\r\n%s", len(body), body))
	p.expect("550 5.6.11 A bare LF")
}

// A message that keeps coming back is refused before it has had fifty hops.
func TestOwnLoop(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	p := dialPeer(t, f.listen(t), true)
	p.login()
	hop := "Received: from x by MX.test with ESMTP; Mon, 23 Nov 2026 06:00:00 +0000\n"
	for n, want := range []string{maxOwnReceived - 1: "250 2.0.0", maxOwnReceived: "554 5.4.6"} {
		if want == "" {
			continue
		}
		p.open()
		p.send("DATA\n")
		p.expect("354 ")
		p.send(strings.Repeat(hop, n) + "Received: from mx.test by other.test; x\n" + aliceHeader + "\n.\n")
		p.expect(want)
	}
}

// Bad addresses of all kinds are refused in one word each, and cost nothing else.
func TestOddAddresses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	addr := f.listen(t)
	for name, c := range map[string]struct{ command, want string }{
		"1,000 characters":       {"RCPT TO:<" + strings.Repeat("x", 1000) + "@remote.test>", "501 5.1.3"},
		"1,000 of domain":        {"RCPT TO:<x@" + strings.Repeat("x.", 500) + "test>", "501 5.1.3"},
		"source route":           {"RCPT TO:<@a.test,@b.test:x@remote.test>", "501 5.1.3"},
		"source route, no end":   {"RCPT TO:<@a.test", "501 5.1.3"},
		"IDN without SMTPUTF8":   {"RCPT TO:<x@b\u00fccher.test>", "501 5.1.3"},
		"UTF-8 without SMTPUTF8": {"RCPT TO:<b\u00fccher@remote.test>", "501 5.1.3"},
		"Latin-1":                {"RCPT TO:<b\xfccher@remote.test>", "501 5.1.3"},
		"A-label":                {"RCPT TO:<x@xn--bcher-kva.test>", "250 2.1.5"},
		"quoted bracket":         {`RCPT TO:<"x>"@remote.test>`, "501 5.1.3"},
		"quoted address":         {`RCPT TO:<"victim@evil.org> ORCPT=rfc822;x"@remote.test>`, "501 5.1.3"},
		"no bracket":             {"RCPT TO:<x@remote.test", "501 5.5.4"},
		"nothing":                {"RCPT TO:", "501 5.5.4"},
		"null recipient":         {"RCPT TO:<>", "501 5.5.4"},
		"words behind":           {"RCPT TO:<x@remote.test>x", "501 5.5.4"},
		"percent hack":           {"RCPT TO:<x%evil.org@remote.test>", "250 2.1.5"},
		"two addresses":          {"RCPT TO:<x@remote.test,y@remote.test>", "501 5.1.3"},
		"IPv4 without brackets":  {"RCPT TO:<x@192.0.2.1>", "501 5.1.3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := dialPeer(t, addr, true)
			p.login()
			p.send("MAIL FROM:<alice@example.com>\n" + c.command + "\nNOOP\n")
			p.expect("250 ", c.want, "250 2.0.0 OK")
		})
	}
}

// Chunks whose size is not what it says are refused without losing the place, or end
// the connection where the place is lost.
func TestBadChunks(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	addr := f.listen(t)
	for name, c := range map[string]struct {
		send string
		want []string
		ends bool
	}{
		"2^63":          {"BDAT 9223372036854775808\n", []string{"421 4.5.2"}, true},
		"2^63 LAST":     {"BDAT 9223372036854775808 LAST\n", []string{"421 4.5.2"}, true},
		"2^64+5":        {"BDAT 18446744073709551621 LAST\nNOOP\n", []string{"421 4.5.2"}, true},
		"negative":      {"BDAT -1\n", []string{"421 4.5.2"}, true},
		"hex":           {"BDAT 0x10\n", []string{"421 4.5.2"}, true},
		"no size":       {"BDAT LAST\n", []string{"421 4.5.2"}, true},
		"other word":    {"BDAT 5 FIRST\n", []string{"421 4.5.2"}, true},
		"too short":     {"BDAT 3 LAST\nabcNOOP\n", []string{"550 ", "250 2.0.0 OK"}, false},
		"LAST twice":    {"BDAT 0 LAST\nBDAT 0 LAST\n", []string{"550 ", "503 5.5.1"}, false},
		"over the size": {"BDAT 999999999 LAST\n", []string{"552 5.3.4", "421 4.7.0"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := dialPeer(t, addr, true)
			p.login()
			p.open()
			p.send(c.send)
			if name == "over the size" {
				go func() {
					_, _ = p.conn.Write(append([]byte("From: alice@example.com\r\n\r\n"), bytes.Repeat([]byte("a line\r\n"), 5<<20)...))
				}()
			}
			for _, want := range c.want {
				if got := p.reply(); !strings.HasPrefix(got, want) {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
			if c.ends && name != "over the size" {
				p.expectEnd()
			}
		})
	}
}
