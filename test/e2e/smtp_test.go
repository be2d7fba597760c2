package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// delivered returns the messages in the gateway's default maildir.
func delivered(t *testing.T, g *gatewaytest.Gateway) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(g.Dir, "mail", "new"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, string(read(t, filepath.Join(g.Dir, "mail", "new", e.Name()))))
	}
	return list
}

// swaks sends one message as alice; more are further options.
func swaks(t *testing.T, addr string, more ...string) (string, int) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return client(t, "", "swaks", append([]string{"--server", host, "--port", port, "--from", "alice@example.com",
		"--to", "bob@remote.test", "--timeout", "20", "--header", "Subject: swaks test"}, more...)...)
}

func TestSwaks(t *testing.T) {
	g := start(t)
	for name, args := range map[string][]string{
		"587 plain": {"submission", "--tls", "--auth", "PLAIN"},
		"587 login": {"submission", "--tls", "--auth", "LOGIN"},
		"465 plain": {"submissions", "--tls-on-connect", "--auth", "PLAIN"},
		"465 login": {"submissions", "--tls-on-connect", "--auth", "LOGIN"},
	} {
		out, status := swaks(t, g.Addr(args[0]), append(args[1:], "--auth-user", alice, "--auth-password", password, "--header", "X-Case: "+name)...)
		if status != 0 || !strings.Contains(out, "Queued as") {
			t.Errorf("%s: exit status %d\n%s", name, status, out)
		}
	}
	eventually(t, "four messages are delivered", func() bool { return len(delivered(t, g)) == 4 })
	for _, message := range delivered(t, g) {
		for _, want := range []string{"Return-Path: <alice@example.com>", "Received: ", "Message-ID: ", "Date: ", "Subject: swaks test"} {
			if !strings.Contains(strings.ToLower(message), strings.ToLower(want)) {
				t.Errorf("no %q in the delivered message:\n%s", want, message)
			}
		}
	}
	if n := len(events(t, g, "--event", "mail")); n < 8 {
		t.Errorf("%d mail events, want an accept and a deliver for each of 4", n)
	}
}

func TestSwaksRefusals(t *testing.T) {
	g := start(t)
	login := []string{"--auth", "PLAIN", "--auth-user", alice, "--auth-password", password}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no AUTH offered in clear":  {login, "28"},
		"no MAIL in clear":          {nil, "530 5.7.0"},
		"no MAIL without AUTH":      {[]string{"--tls"}, "530 5.7.0"},
		"wrong password":            {[]string{"--tls", "--auth", "PLAIN", "--auth-user", alice, "--auth-password", "wrong"}, "535 5.7.8"},
		"unknown user":              {[]string{"--tls", "--auth", "PLAIN", "--auth-user", "nobody", "--auth-password", "wrong"}, "535 5.7.8"},
		"another's envelope sender": {append([]string{"--tls", "--from", "bob@example.com"}, login...), "550 5.7.1"},
		"another's From header":     {append([]string{"--tls", "--header", "From: boss@example.com"}, login...), "550 5.7.1"},
	} {
		out, status := swaks(t, g.Addr("submission"), c.args...)
		if status == 0 || c.want != fmt.Sprint(status) && !strings.Contains(out, c.want) {
			t.Errorf("%s: exit status %d, want %s\n%s", name, status, c.want, out)
		}
	}
	if got := delivered(t, g); len(got) != 0 {
		t.Errorf("%d messages were delivered", len(got))
	}
	for _, e := range events(t, g, "--event", "login", "--outcome", "refused") {
		if strings.Contains(e.User, "nobody") || e.Credential == session.CredentialPlaintext {
			t.Errorf("recorded: user %q credential %q", e.User, e.Credential)
		}
	}
}

func TestCurlSMTP(t *testing.T) {
	g := start(t)
	message := filepath.Join(t.TempDir(), "m.eml")
	if err := os.WriteFile(message, []byte("From: alice@example.com\r\nTo: bob@remote.test\r\nSubject: curl\r\n\r\n.leading dot\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"smtp://localhost:" + g.Port("submission"), "smtps://localhost:" + g.Port("submissions")} {
		must(t, "", "curl", "-sS", "--ssl-reqd", "--cacert", ca(t, g), "--user", alice+":"+password,
			"--mail-from", "alice@example.com", "--mail-rcpt", "bob@remote.test", "-T", message, url)
	}
	eventually(t, "both are delivered", func() bool { return len(delivered(t, g)) == 2 })
	if got := delivered(t, g)[0]; !strings.Contains(got, "\n.leading dot") {
		t.Errorf("the leading dot was lost:\n%s", got)
	}
}

func TestPythonSMTP(t *testing.T) {
	g := start(t)
	script := `
import smtplib, ssl, sys
port, implicit, ca, user, pw = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
ctx = ssl.create_default_context(cafile=ca)
msg = "From: alice@example.com\r\nTo: bob@remote.test\r\nSubject: python\r\n\r\nhello\r\n"
with smtplib.SMTP("localhost", port) as s:
    s.ehlo(); assert not s.has_extn("auth"), s.esmtp_features
    code, text = s.docmd("AUTH", "PLAIN"); assert code == 538, (code, text)
    code, text = s.docmd("AUTH", "PLAIN AGFsaWNlAGNvcnJlY3QtaG9yc2UtNzM1MQ=="); assert code == 538, (code, text)
    s.starttls(context=ctx); s.ehlo(); assert s.has_extn("auth"); assert s.has_extn("pipelining") and s.has_extn("size")
    s.login(user, pw); s.sendmail("alice@example.com", ["bob@remote.test"], msg)
    assert s.noop()[0] == 250 and s.rset()[0] == 250 and s.vrfy("x@y.test")[0] == 252
with smtplib.SMTP_SSL("localhost", implicit, context=ctx) as s:
    s.login(user, pw); s.sendmail("alice@example.com", ["bob@remote.test", "carol@remote.test"], msg)
print("done")
`
	must(t, "", "python3", "-c", script, g.Port("submission"), g.Port("submissions"), ca(t, g), alice, password)
	eventually(t, "all are delivered", func() bool { return len(delivered(t, g)) >= 2 })
	// The initial response that came in clear is recorded as such, with its user.
	plaintext := 0
	for _, e := range events(t, g, "--event", "login", "--outcome", "refused", "--channel", "plain") {
		if e.Credential == session.CredentialPlaintext && e.User == alice {
			plaintext++
		}
	}
	if plaintext != 1 {
		t.Errorf("%d plaintext credentials recorded, want 1", plaintext)
	}
}

// Mail goes on by SMTP, is retried while the next host says no, and bounces when
// it says never.
func TestDeliveryToAnotherHost(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/sbin/smtp-sink"); err != nil {
		t.Skip("smtp-sink (Debian package postfix) is not installed")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	next := ln.Addr().String()
	_ = ln.Close()
	g := gatewaytest.Start(t, gatewaytest.Options{
		Config: strings.Replace(gatewaytest.Config, `route = "maildir://mail"`, fmt.Sprintf("\n  route = \"smtp://%s\"\n  retry = [\"1s\"]\n", next), 1),
		Users:  map[string]string{alice: password},
	})
	out, status := swaks(t, g.Addr("submissions"), "--tls-on-connect", "--auth", "PLAIN", "--auth-user", alice, "--auth-password", password)
	if status != 0 {
		t.Fatalf("swaks: %d\n%s", status, out)
	}
	eventually(t, "delivery is put off", func() bool {
		return strings.Contains(g.CLI("", "queue", "list"), "bob@remote.test") || len(events(t, g, "--event", "mail")) >= 2
	})
	startProcess(t, "/usr/sbin/smtp-sink", "-u", "nobody", "-c", next, "10")
	eventually(t, "the message is delivered", func() bool {
		for _, e := range events(t, g, "--event", "mail") {
			if e.Verb == session.Deliver && e.Outcome == session.OutcomeDone {
				return true
			}
		}
		return false
	})
	if list := g.CLI("", "queue", "list", "--json"); strings.Contains(list, "bob@remote.test") {
		t.Errorf("still queued: %s", list)
	}
}
