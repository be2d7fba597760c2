package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// devicePolicy lets loopback in as a device, in clear and without a login, until a
// day that many days from now.
func devicePolicy(days int) string {
	return fmt.Sprintf(`
allow "mail" {
  protocol = ["submission", "relay"]
  group    = "mail"
}
require "encrypted-login" { channel = "encrypted" }
device "mfp" {
  from         = "127.0.0.1"
  allow        = "no-auth"
  sender       = "scan@example.com"
  recipients   = "example.com"
  line_endings = "repair"
  expires      = %q
  owner        = "facilities@example.com"
  because      = "firmware"
}
`, time.Now().UTC().AddDate(0, 0, days).Format(time.DateOnly))
}

// A device without a login and without TLS sends, and its owner is told that its time
// is nearly over; once it is, it is told whom to ask.
func TestSwaksFromADevice(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Policy: devicePolicy(10), Users: map[string]string{alice: password}})
	addr := g.Addr("relay")
	for name, to := range map[string]string{"allowed": "bob@example.com", "elsewhere": "bob@remote.test", "percent hack": "bob%remote.test@example.com"} {
		out, status := swaks(t, addr, "--from", "root@scanner", "--to", to, "--header", "From: Boss <boss@example.com>")
		if ok := status == 0; ok != (name == "allowed") || !ok && !strings.Contains(out, "550 5.7.1") {
			t.Errorf("%s: exit status %d\n%s", name, status, out)
		}
	}
	eventually(t, "the scan and the reminder are delivered", func() bool { return len(delivered(t, g)) == 2 })
	var scan, reminder string
	for _, m := range delivered(t, g) {
		if strings.Contains(m, "swaks test") {
			scan = m
		} else {
			reminder = m
		}
	}
	for _, want := range []string{"Return-Path: <scan@example.com>", "\nFrom: <scan@example.com>", "\nX-Gateway-Warning: mfp may send like this until "} {
		if !strings.Contains(scan, want) {
			t.Errorf("no %q in\n%s", want, scan)
		}
	}
	if strings.Contains(scan, "boss@example.com") {
		t.Errorf("the forged author is there:\n%s", scan)
	}
	if !strings.Contains(reminder, "\nTo: <facilities@example.com>") || !strings.Contains(reminder, "\nSubject: Device mfp is let in until ") {
		t.Errorf("reminder: got\n%s", reminder)
	}
	if list := g.CLI("", "report", "plaintext"); !strings.Contains(list, "device:mfp") {
		t.Errorf("report plaintext: got\n%s", list)
	}
	if list := g.CLI("", "report", "devices"); !strings.Contains(list, "mfp") || !strings.Contains(list, "ending") {
		t.Errorf("report devices: got\n%s", list)
	}
	g.Stop()
	g.Write("policy.hcl", devicePolicy(-1))
	g.Run()
	out, status := swaks(t, g.Addr("relay"), "--to", "bob@example.com")
	if status == 0 || !strings.Contains(out, "530 5.7.0 The exception for mfp ended on ") || !strings.Contains(out, "or ask facilities@example.com") {
		t.Errorf("after the end: exit status %d\n%s", status, out)
	}
	if out, status := swaks(t, g.Addr("relay"), "--tls", "--auth", "PLAIN", "--auth-user", alice, "--auth-password", password); status != 0 {
		t.Errorf("with a login, after the end: exit status %d\n%s", status, out)
	}
	if got := len(delivered(t, g)); got > 3 {
		t.Errorf("%d messages were delivered; the reminder came again", got)
	}
}

// An old device that has nothing beyond TLS 1.0 and a password, as OpenSSL speaks it.
func TestTLS10FromADevice(t *testing.T) {
	t.Parallel()
	policy := strings.Replace(devicePolicy(60), `"no-auth"`, `["no-auth", "tls-1.0"]`, 1)
	g := gatewaytest.Start(t, gatewaytest.Options{
		Policy: policy, Config: strings.Replace(gatewaytest.Config, "mail {", "certificates { rsa = true }\nmail {", 1),
	})
	for name, suite := range map[string]string{"forward secret": "ECDHE-RSA-AES128-SHA", "RSA": "AES128-SHA"} {
		for listener, want := range map[string]bool{"relay": true, "submission": false} {
			out, _ := client(t, "QUIT\r\n", "openssl", "s_client", "-connect", g.Addr(listener), "-starttls", "smtp", "-tls1", "-cipher", suite+":@SECLEVEL=0", "-brief")
			if strings.Contains(out, "no protocols available") || strings.Contains(out, "no cipher match") {
				t.Skipf("this OpenSSL has no TLS 1.0: %s", out)
			}
			if got := strings.Contains(out, "Protocol version: TLSv1\n"); got != want {
				t.Errorf("%s at %s: got a connection %v, want %v\n%s", name, listener, got, want, out)
			}
		}
	}
}

// Postfix has the device listener as its relay host.
func TestPostfixRelaysIntoADevice(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Policy: devicePolicy(60)})
	sendmail := startPostfix(t, g.Port("relay"))
	message := "From: app@inside.test\nTo: bob@example.com\nSubject: from postfix\n\n.dot\nhello\n"
	sendmail(message, "app@inside.test", "bob@example.com", "carol@example.com")
	eventually(t, "it is delivered", func() bool { return len(delivered(t, g)) > 0 })
	for _, want := range []string{"Return-Path: <scan@example.com>", "Subject: from postfix", "\n.dot\n", "with ESMTP\n"} {
		if got := strings.ReplaceAll(delivered(t, g)[0], "\r\n", "\n"); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	// To somebody else it bounces inside, where it came from. The null reverse-path of
	// the bounce is not taken, so nothing goes round.
	sendmail(message, "app@inside.test", "victim@remote.test")
	eventually(t, "the stranger is refused", func() bool {
		for _, e := range events(t, g, "--event", "mail", "--outcome", "refused") {
			if len(e.To) == 1 && e.To[0] == "victim@remote.test" && e.Verb == session.Reject {
				return true
			}
		}
		return false
	})
}

// startPostfix runs a Postfix that sends all mail to that port of this host, and
// returns what submits to it by sendmail(1).
func startPostfix(t *testing.T, port string) func(message, from string, to ...string) {
	t.Helper()
	dir := runPostfix(t, "myhostname = inside.test\nsmtp_tls_security_level = none\nrelayhost = [127.0.0.1]:"+port+"\n", "")
	return func(message, from string, to ...string) {
		t.Helper()
		must(t, message, "/usr/sbin/sendmail", append([]string{"-C", dir, "-f", from, "-oi"}, to...)...)
	}
}
