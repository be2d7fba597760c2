package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// submitted is a message as a program gives it to its client.
const submitted = "From: alice@example.com\nTo: bob@remote.test\nSubject: by a client\n\n.leading dot\nhello\n"

// wantDelivered checks that n messages arrive, each with its leading dot, and by which
// methods they were submitted.
func wantDelivered(t *testing.T, g *gatewaytest.Gateway, methods ...session.Method) {
	t.Helper()
	wantCopies(t, g, len(methods), methods...)
}

// wantCopies is wantDelivered for messages to several, each of whom gets a copy.
func wantCopies(t *testing.T, g *gatewaytest.Gateway, copies int, methods ...session.Method) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d copies are delivered", copies), func() bool { return len(delivered(t, g)) == copies })
	for _, m := range delivered(t, g) {
		if m = strings.ReplaceAll(m, "\r\n", "\n"); !strings.Contains(m, "\n.leading dot\n") {
			t.Errorf("delivered:\n%s", m)
		}
	}
	var got []session.Method
	for _, e := range events(t, g, "--event", "login") {
		if e.Outcome != session.OutcomeGranted || e.Channel.Kind != session.TLS {
			t.Errorf("login by %s: %s over %s", e.Method, e.Outcome, e.Channel.Kind)
		}
		got = append(got, e.Method)
	}
	slices.Sort(got)
	slices.Sort(methods)
	if !slices.Equal(got, methods) {
		t.Errorf("logins by %v, want %v", got, methods)
	}
}

// msmtp is the only client here that does SCRAM, by GNU SASL.
func TestMsmtp(t *testing.T) {
	g := start(t)
	authority := ca(t, g)
	for _, way := range []struct{ listener, starttls, auth string }{
		{"submission", "on", "plain"}, {"submissions", "off", "login"}, {"submissions", "off", "scram-sha-256"}, {"submission", "on", "scram-sha-256"},
	} {
		must(t, submitted, "msmtp", "--host=localhost", "--port="+g.Port(way.listener), "--tls=on", "--tls-starttls="+way.starttls, "--tls-trust-file="+authority,
			"--auth="+way.auth, "--user="+alice, "--passwordeval=echo "+password, "--from=alice@example.com", "bob@remote.test")
	}
	wantDelivered(t, g, session.MethodPassword, session.MethodPassword, session.MethodSCRAM, session.MethodSCRAM)
	// What it is told, its user reads: the line of the server is in its error.
	out, status := client(t, submitted, "msmtp", "--host=localhost", "--port="+g.Port("submission"), "--tls=on", "--tls-trust-file="+authority,
		"--auth=scram-sha-256", "--user="+alice, "--passwordeval=echo wrong", "--from=alice@example.com", "bob@remote.test")
	if status == 0 || !strings.Contains(out, "5.7.8") {
		t.Errorf("wrong password: exit status %d\n%s", status, out)
	}
	out, status = client(t, submitted, "msmtp", "--host=localhost", "--port="+g.Port("submission"), "--tls=off",
		"--auth=plain", "--user="+alice, "--passwordeval=echo "+password, "--from=alice@example.com", "bob@remote.test")
	if status == 0 || !strings.Contains(out, "does not support authentication") {
		t.Errorf("in clear: exit status %d\n%s", status, out)
	}
}

func TestSNail(t *testing.T) {
	g := start(t)
	for _, way := range []struct{ scheme, listener, auth string }{{"smtps", "submissions", "plain"}, {"smtp", "submission", "login"}} {
		must(t, ".leading dot\nhello\n", "s-nail", "-:/", "-S", "v15-compat", "-S", "sendwait", "-S", "tls-ca-file="+ca(t, g), "-S", "tls-verify=strict",
			"-S", "smtp-use-starttls", "-S", "smtp-auth="+way.auth, "-S", fmt.Sprintf("mta=%s://%s:%s@localhost:%s", way.scheme, alice, password, g.Port(way.listener)),
			"-r", "alice@example.com", "-s", "by s-nail ü", "bob@remote.test")
	}
	wantDelivered(t, g, session.MethodPassword, session.MethodPassword)
}

func TestNodemailer(t *testing.T) {
	g := start(t)
	module := npmModule(t, "nodemailer", "dist/cjs/nodemailer.js")
	way := func(listener, method string, dsn any) map[string]any {
		port, err := strconv.Atoi(g.Port(listener))
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{"port": port, "secure": listener == "submissions", "method": method, "dsn": dsn}
	}
	settings, err := json.Marshal(map[string]any{
		"module": module, "ca": ca(t, g), "user": alice, "pass": password,
		"ways": []any{way("submission", "PLAIN", map[string]any{"id": "one", "return": "headers", "notify": []string{"failure", "delay"}, "recipient": "alice@example.com"}),
			way("submissions", "LOGIN", nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if out := must(t, "", "node", "testdata/submit_nodemailer.mjs", string(settings)); strings.Count(out, "250 2.0.0") != 2 {
		t.Errorf("it was told:\n%s", out)
	}
	wantCopies(t, g, 3, session.MethodPassword, session.MethodPassword) // the second is to two
	for _, m := range delivered(t, g) {
		if strings.Contains(strings.ToLower(m), "\nbcc:") {
			t.Error("whoever gets the message sees who else does")
		}
	}
}

// The certificate alone logs in, where the client says EXTERNAL.
func TestSubmissionByCertificate(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{
		Config: strings.ReplaceAll(gatewaytest.Config, `protocol = "submission"`, "protocol = \"submission\"\n  client_certificates = \"request\""),
		Users:  map[string]string{alice: password},
	})
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	must(t, "", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
		"-subj", "/CN=program-7", "-keyout", key, "-out", cert)
	g.CLI("", "user", "key", "add", alice, cert)
	must(t, submitted, "msmtp", "--host=localhost", "--port="+g.Port("submissions"), "--tls=on", "--tls-starttls=off", "--tls-trust-file="+ca(t, g),
		"--tls-cert-file="+cert, "--tls-key-file="+key, "--auth=external", "--user="+alice, "--from=alice@example.com", "bob@remote.test")
	must(t, strings.ReplaceAll(submitted, "\n", "\r\n"), "curl", "-sS", "--ssl-reqd", "--cacert", ca(t, g), "--cert", cert, "--key", key, "--user", alice+":", "--login-options", "AUTH=EXTERNAL",
		"--mail-from", "alice@example.com", "--mail-rcpt", "bob@remote.test", "-T", "-", "smtp://localhost:"+g.Port("submission"))
	wantDelivered(t, g, session.MethodPublicKey, session.MethodPublicKey)
	out, status := client(t, submitted, "msmtp", "--host=localhost", "--port="+g.Port("submissions"), "--tls=on", "--tls-starttls=off", "--tls-trust-file="+ca(t, g),
		"--tls-cert-file="+cert, "--tls-key-file="+key, "--auth=external", "--user=bob", "--from=bob@example.com", "bob@remote.test")
	if status == 0 || !strings.Contains(out, "5.7.8") {
		t.Errorf("for another: exit status %d\n%s", status, out)
	}
}

// A token is typed where a password is asked for, sends as whom it was made for, and
// ends alone.
func TestToken(t *testing.T) {
	g := start(t)
	g.CLI("", "user", "address", "add", alice, "backup@example.com")
	var made struct{ ID, Text string }
	if err := json.Unmarshal([]byte(g.CLI("", "token", "add", alice, "--protocol", "submission", "--sender", "backup@example.com", "--label", "backup", "--json")), &made); err != nil || made.Text == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	login := []string{"--tls", "--auth", "PLAIN", "--auth-user", alice, "--auth-password", made.Text, "--body", ".leading dot"}
	if out, status := swaks(t, g.Addr("submission"), append(login, "--from", "backup@example.com")...); status != 0 {
		t.Errorf("exit status %d\n%s", status, out)
	}
	wantDelivered(t, g, session.MethodToken)
	if out, status := swaks(t, g.Addr("submission"), login...); status == 0 || !strings.Contains(out, "550 5.7.1") {
		t.Errorf("as another sender: exit status %d\n%s", status, out)
	}
	if out, status := client(t, "", "curl", "-sS", "--ssl-reqd", "--cacert", ca(t, g), "--user", alice+":"+made.Text, "ftp://localhost:"+g.Port("ftp")+"/"); status == 0 {
		t.Errorf("by another protocol:\n%s", out)
	}
	g.CLI("", "token", "remove", alice, made.ID)
	if out, status := swaks(t, g.Addr("submission"), append(login, "--from", "backup@example.com")...); status == 0 || !strings.Contains(out, "535 5.7.8") {
		t.Errorf("removed: exit status %d\n%s", status, out)
	}
	if log := g.Log(); strings.Contains(log, made.Text) {
		t.Error("the token is in the log")
	}
}
