package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
)

// TestAttackSMTP runs them all against one gateway, one after the other.
func TestAttackSMTP(t *testing.T) {
	g := attacked(t)
	t.Run("PlaintextBehindSTARTTLS", func(t *testing.T) { plaintextBehindSTARTTLS(t, g) })
	t.Run("AuthInClear", func(t *testing.T) { authInClear(t, g) })
	t.Run("SubmissionOrder", func(t *testing.T) { submissionOrder(t, g) })
	t.Run("Smuggling", func(t *testing.T) { smuggling(t, g) })
	t.Run("EndlessCommands", func(t *testing.T) { endlessCommands(t, g) })
}

// CVE-2021-38371 and its like: what was sent in clear behind STARTTLS is neither
// executed nor answered.
func plaintextBehindSTARTTLS(t *testing.T, g *gatewaytest.Gateway) {
	mark := time.Now()
	cfg := trust(t, g)
	for _, injected := range []string{"NOOP\r\n", "EHLO injected.test\r\nAUTH PLAIN " + plain(alice, password) + "\r\n", strings.Repeat("RSET\r\n", 2000)} {
		c := dial(t, g, "submission")
		c.want("220")
		c.say("EHLO x.test", "250")
		c.send("STARTTLS\r\n" + injected)
		c.want("220")
		if n := c.r.Buffered(); n > 0 {
			t.Errorf("%d bytes more were said in clear", n)
		}
		s := tls.Client(c.c, cfg)
		if s.HandshakeContext(t.Context()) != nil {
			continue // what was injected was taken for TLS
		}
		_, _ = io.WriteString(s, "VRFY x\r\n")
		answer := make([]byte, 64)
		n, _ := s.Read(answer)
		if !strings.HasPrefix(string(answer[:n]), "252") {
			t.Errorf("first answer after the handshake: %q, want 252", answer[:n])
		}
	}
	if logins := after(t, g, mark, "--event", "login"); len(logins) != 0 {
		t.Errorf("%d logins recorded, want none", len(logins))
	}
}

// AUTH in clear is refused before anything is asked for, in every form, and what
// is pipelined behind it is no login either.
func authInClear(t *testing.T, g *gatewaytest.Gateway) {
	mark := time.Now()
	for _, listener := range []string{"submission", "relay"} {
		c := dial(t, g, listener)
		c.want("220")
		c.send("AUTH PLAIN " + plain(alice, password) + "\r\nEHLO x.test\r\nAUTH PLAIN " + plain(alice, password) +
			"\r\nAUTH LOGIN\r\nAUTH PLAIN\r\nAUTH CRAM-MD5\r\nMAIL FROM:<alice@example.com>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nQUIT\r\n")
		text := c.rest()
		if strings.Contains(text, "334") || strings.Contains(text, "235") || strings.Contains(text, "354") || strings.Contains(text, "AUTH PLAIN") {
			t.Errorf("%s: %q", listener, text)
		}
		if strings.Count(text, "538 5.7.11") < 2 || !strings.Contains(text, "530 5.7.0") || !strings.Contains(text, "\r\n221 ") {
			t.Errorf("%s: got %q, want 538 for AUTH, 530 for MAIL, and 221", listener, text)
		}
	}
	if granted := after(t, g, mark, "--event", "login", "--outcome", "granted"); len(granted) != 0 {
		t.Errorf("%d logins granted", len(granted))
	}
}

// One login a connection, never in a transaction; transactions do not nest.
func submissionOrder(t *testing.T, g *gatewaytest.Gateway) {
	c := starttls(t, g, trust(t, g))
	c.say("MAIL FROM:<alice@example.com>", "530")
	c.say("AUTH PLAIN "+plain(alice, password), "235")
	c.say("AUTH PLAIN "+plain(alice, password), "503")
	c.say("RCPT TO:<bob@remote.test>", "503")
	c.say("DATA", "503")
	c.say("MAIL FROM:<alice@example.com>", "250")
	c.say("MAIL FROM:<alice@example.com>", "503")
	c.say("AUTH LOGIN", "503")
	c.say("STARTTLS", "503")
	c.say("DATA", "503")
	c.say("RCPT TO:<bob@remote.test>", "250")
	c.say("MAIL FROM:<alice@example.com>", "503")
	c.say("RCPT TO:<bob@remote.test>\x00", "501")
	c.say("RCPT TO:<\"a\r b\"@remote.test>", "5")
	c.say("QUIT", "221")
	if got := len(delivered(t, g)); got != 0 {
		t.Errorf("%d messages delivered", got)
	}
}

// SMTP smuggling: only CRLF "." CRLF ends a message, so that what stands behind
// any other dot is content, and stays it in what is handed on.
func smuggling(t *testing.T, g *gatewaytest.Gateway) {
	mark := time.Now()
	c := starttls(t, g, trust(t, g))
	c.say("AUTH PLAIN "+plain(alice, password), "235")
	accepted := 0
	for i, end := range []string{"\n.\n", "\r\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\x00\r\n.\x00\r\n", "\r\n\x00.\r\n", "\n\r.\r\n"} {
		c.say("MAIL FROM:<alice@example.com>", "250")
		c.say("RCPT TO:<bob@remote.test>", "250")
		c.say("DATA", "354")
		c.send(fmt.Sprintf("From: alice@example.com\r\nSubject: outer %d\r\n\r\none", i) + end +
			"MAIL FROM:<boss@example.com>\r\nRCPT TO:<victim@remote.test>\r\nDATA\r\nFrom: boss@example.com\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n")
		if strings.HasPrefix(c.reply(), "250") {
			accepted++
		}
		c.say("NOOP", "250") // nothing else was answered
	}
	c.say("QUIT", "221")
	if accepted == 0 {
		t.Error("not even a bare LF was accepted")
	}
	eventually(t, "what was accepted is delivered", func() bool { return len(delivered(t, g)) == accepted })
	for _, message := range delivered(t, g) {
		if !strings.Contains(message, "Subject: outer") || strings.Contains(message, "Return-Path: <boss") {
			t.Errorf("smuggled: %q", message)
		}
		for _, form := range []string{"\r\n.\r\n", "\n.\n", "\r\n.\n", "\n.\r\n"} {
			// In the maildir dots are not doubled; what matters is that it was one message.
			if strings.Count(message, "Subject: smuggled") != 1 {
				t.Errorf("the content is cut at %q: %q", form, message)
			}
		}
	}
	for _, e := range after(t, g, mark, "--event", "mail") {
		if e.From != nil && strings.Contains(*e.From, "boss") {
			t.Errorf("recorded: %+v", e)
		}
	}
}

// A body that stalls is given up: what follows it is never taken for a command,
// and nothing of it is queued.
func TestStalledBody(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{
		Config: trusting + "smtp { idle_timeout = \"1s\" }\n", Users: map[string]string{alice: password},
	})
	cfg := trust(t, g)
	for _, begin := range []string{"DATA\r\n", "BDAT 100000\r\n"} {
		c := starttls(t, g, cfg)
		c.say("AUTH PLAIN "+plain(alice, password), "235")
		c.say("MAIL FROM:<alice@example.com>", "250")
		c.say("RCPT TO:<bob@remote.test>", "250")
		c.send(begin + "From: alice@example.com\r\nSubject: stalled\r\n\r\nhalf a line")
		if begin == "DATA\r\n" {
			c.want("354")
		}
		c.want("421")
		c.send("\r\n.\r\nMAIL FROM:<alice@example.com>\r\nRCPT TO:<bob@remote.test>\r\nDATA\r\n")
		if text := c.rest(); text != "" {
			t.Errorf("%q: after the 421 it said %q", begin, text)
		}
	}
	var queue []any
	unmarshal(t, g.CLI("", "queue", "list", "--json"), &queue)
	if len(queue) != 0 || len(delivered(t, g)) != 0 {
		t.Errorf("queued: %v", queue)
	}
	for _, e := range events(t, g, "--event", "mail") {
		if e.Outcome == "done" {
			t.Errorf("recorded as accepted: %+v", e)
		}
	}
}

// Commands without end, and lines without end, are cut off.
func endlessCommands(t *testing.T, g *gatewaytest.Gateway) {
	mark := time.Now()
	cfg := trust(t, g)
	for _, command := range []string{"RSET", "NOOP", "VRFY x", "EHLO x.test", "BDAT 0", "HELP"} {
		c := starttls(t, g, cfg)
		c.send(strings.Repeat(command+"\r\n", 10_000))
		text := c.rest()
		if n := strings.Count(text, "\n"); n > 2000 || !strings.Contains(text, "421 ") {
			t.Errorf("%s: %d lines of answers, no 421", command, n)
		}
	}
	for _, line := range []string{"AUTH PLAIN ", "EHLO ", "MAIL FROM:<", "X"} {
		c := starttls(t, g, cfg)
		c.send(line + strings.Repeat("A", 1<<20))
		if text := c.rest(); text != "" && !strings.HasPrefix(text, "500") {
			t.Errorf("%s and a megabyte: got %q", line, text)
		}
	}
	c := starttls(t, g, cfg)
	c.say("AUTH LOGIN", "334")
	c.send(strings.Repeat("A", 1<<20))
	c.rest()
	if logins := after(t, g, mark, "--event", "login"); len(logins) != 0 {
		t.Errorf("%d logins recorded, want none", len(logins))
	}
}
