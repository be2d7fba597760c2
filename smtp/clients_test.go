package smtp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// client skips the test if a program is not installed.
func client(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

func run(t *testing.T, stdin, name string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

const clientMessage = "From: alice@example.com\nTo: bob@remote.test\nSubject: from a real client\n\nHello\n.a line with a dot\n"

// wantDelivered checks that the one message arrived.
func wantDelivered(t *testing.T, f *fixture, output string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	mails := f.queue.all()
	if len(mails) != 1 {
		t.Fatalf("%d messages, want 1\n%s", len(mails), output)
	}
	if m := mails[0]; m.envelope.From != "alice@example.com" || m.envelope.To[0].Address != "bob@remote.test" ||
		!strings.Contains(m.content, "from a real client") || !strings.Contains(m.content, "with ESMTPSA") {
		t.Errorf("got %+v", m)
	}
}

func TestSwaks(t *testing.T) {
	t.Parallel()
	swaks := client(t, "swaks")
	for name, c := range map[string]struct {
		implicit bool
		args     []string
	}{
		"587 PLAIN": {false, []string{"--tls", "--auth", "PLAIN"}},
		"587 LOGIN": {false, []string{"--tls", "--auth", "LOGIN"}},
		"465 PLAIN": {true, []string{"--tls-on-connect", "--auth", "PLAIN"}},
		"465 LOGIN": {true, []string{"--tls-on-connect", "--auth", "LOGIN"}},
		"pipelined": {true, []string{"--tls-on-connect", "--auth", "PLAIN", "--pipeline"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil, func(cfg *Config) { cfg.Implicit = c.implicit })
			args := append([]string{
				"--server", f.listen(t), "--from", "alice@example.com", "--to", "bob@remote.test",
				"--auth-user", "alice", "--auth-password", "right", "--data", "-",
			}, c.args...)
			out, err := run(t, clientMessage, swaks, args...)
			wantDelivered(t, f, out, err)
		})
	}
	t.Run("in clear", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, nil, nil)
		out, err := run(t, "", swaks, "--server", f.listen(t), "--from", "alice@example.com", "--to", "bob@remote.test",
			"--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "right")
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 28 {
			t.Errorf("got %v, want exit status 28 (no AUTH offered)\n%s", err, out)
		}
		out, err = run(t, "", swaks, "--server", f.listen(t), "--from", "alice@example.com", "--to", "bob@remote.test")
		if err == nil || !strings.Contains(out, "530 5.7.0 Must issue a STARTTLS command first") {
			t.Errorf("got %v, want 530\n%s", err, out)
		}
	})
}

func TestCurl(t *testing.T) {
	t.Parallel()
	curl := client(t, "curl")
	file := filepath.Join(t.TempDir(), "m.eml")
	if err := os.WriteFile(file, []byte(clientMessage), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, implicit := range map[string]bool{"587": false, "465": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil, func(cfg *Config) { cfg.Implicit = implicit })
			scheme := map[bool]string{false: "smtp", true: "smtps"}[implicit]
			out, err := run(t, "", curl, "--silent", "--show-error", "--verbose", "--ssl-reqd", "--insecure", "--noproxy", "*",
				scheme+"://"+f.listen(t), "--mail-from", "alice@example.com", "--mail-rcpt", "bob@remote.test",
				"--user", "alice:right", "--upload-file", file)
			wantDelivered(t, f, out, err)
		})
	}
}

const pythonClient = `
import smtplib, ssl, sys
host, port, implicit = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "true"
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if implicit:
    s = smtplib.SMTP_SSL(host, port, context=context)
else:
    s = smtplib.SMTP(host, port)
    code, text = s.docmd("AUTH", "PLAIN AGFsaWNlAHJpZ2h0")
    assert code == 503, (code, text)
    s.ehlo()
    code, text = s.docmd("AUTH", "PLAIN AGFsaWNlAHJpZ2h0")
    assert code == 538, (code, text)
    s.starttls(context=context)
s.login("alice", "right")
s.sendmail("alice@example.com", ["bob@remote.test"], sys.stdin.read())
print(s.quit())
`

func TestPythonSmtplib(t *testing.T) {
	t.Parallel()
	python := client(t, "python3")
	for name, implicit := range map[string]bool{"587": false, "465": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil, func(cfg *Config) { cfg.Implicit = implicit })
			host, port, err := net.SplitHostPort(f.listen(t))
			if err != nil {
				t.Fatal(err)
			}
			out, err := run(t, clientMessage, python, "-c", pythonClient, host, port, fmt.Sprint(implicit))
			wantDelivered(t, f, out, err)
			if !implicit {
				logins := f.Record.Events(session.EventLogin)
				if len(logins) != 2 || logins[0].Credential != session.CredentialPlaintext {
					t.Errorf("got %+v, want a refused login that sent its credential in clear", logins)
				}
			}
		})
	}
}
