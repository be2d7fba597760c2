package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// ruled is a policy that lets alice clear the control connection, demands bound
// data connections of bob, and leaves the rest to the listener.
const ruled = `
allow "transfer" {
  protocol = ["ftp", "sftp"]
  group    = ["users"]
}
allow "mainframe" {
  protocol = "ftp"
  user     = "alice"
  grants   = ["clear-control"]
}
require "encrypted-login" { channel = "encrypted" }
require "bound" {
  tls_resumption = "required"
  when { user = "bob" }
}
`

// startRuled runs a gateway with those rules, which asks FTP clients for a
// certificate.
func startRuled(t *testing.T) *gatewaytest.Gateway {
	t.Helper()
	t.Parallel()
	config := strings.ReplaceAll(gatewaytest.Config, `protocol = "ftp"`, "protocol = \"ftp\"\n  client_certificates = \"request\"")
	return gatewaytest.Start(t, gatewaytest.Options{Config: config, Policy: ruled, Users: map[string]string{alice: password, "bob": password}})
}

// curl ends TLS on the control connection after the login, in both of its ways,
// where a rule grants it; data stays protected. Where none does it is refused.
func TestCurlClearsTheControlConnection(t *testing.T) {
	g := startRuled(t)
	authority := ca(t, g)
	path, content := file(t, "batch.dat", 200_000)
	for _, mode := range []string{"passive", "active"} {
		must(t, "", "curl", "-sS", "--cacert", authority, "--ssl-reqd", "--ftp-ssl-ccc-mode", mode, "--user", alice+":"+password,
			"-T", path, "ftp://localhost:"+g.Port("ftp")+"/"+mode+".dat")
		same(t, mode, read(t, filepath.Join(g.Dir, "files", alice, mode+".dat")), content)
		out := must(t, "", "curl", "-sSv", "--cacert", authority, "--ssl-reqd", "--ftp-ssl-ccc-mode", mode, "--user", alice+":"+password,
			"-o", filepath.Join(t.TempDir(), "back"), "ftp://localhost:"+g.Port("ftp")+"/"+mode+".dat")
		if !strings.Contains(out, "> CCC") || !strings.Contains(out, "< 200 Control connection goes on in clear.") {
			t.Errorf("CCC was not granted:\n%s", out)
		}
	}
	out, _ := client(t, "", "curl", "-sSv", "--cacert", authority, "--ssl-reqd", "--ftp-ssl-ccc", "--user", "bob:"+password, "ftp://localhost:"+g.Port("ftp")+"/")
	if !strings.Contains(out, "< 534 ") {
		t.Errorf("bob's CCC was not refused:\n%s", out)
	}
	for _, e := range events(t, g, "--event", "file", "--user", alice) {
		if e.Outcome == session.OutcomeDone && e.Channel.Kind != session.TLS {
			t.Errorf("%s %s crossed over %s", e.Verb, e.Path, e.Channel.Kind)
		}
	}
}

// A device logs in by its certificate: curl hears 232 and sends no password.
func TestCurlLogsInByCertificate(t *testing.T) {
	g := startRuled(t)
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	must(t, "", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
		"-subj", "/CN=device-7", "-keyout", key, "-out", cert)
	if shown := g.CLI("", "user", "key", "add", alice, cert); !strings.Contains(shown, "x509") {
		t.Errorf("user key add shows:\n%s", shown)
	}
	path, content := file(t, "reading.csv", 50_000)
	for scheme, listener := range map[string]string{"ftp": "ftp", "ftps": "ftps"} {
		out := must(t, "", "curl", "-sSv", "--cacert", ca(t, g), "--ssl-reqd", "--cert", cert, "--key", key, "--user", alice+":not-the-password",
			"-T", path, fmt.Sprintf("%s://localhost:%s/%s.csv", scheme, g.Port(listener), scheme))
		same(t, scheme, read(t, filepath.Join(g.Dir, "files", alice, scheme+".csv")), content)
		if !strings.Contains(out, "< 232 ") || strings.Contains(out, "> PASS") {
			t.Errorf("%s: it was asked for a password:\n%s", scheme, out)
		}
	}
	if _, status := client(t, "", "curl", "-sS", "--cacert", ca(t, g), "--ssl-reqd", "--cert", cert, "--key", key, "--user", "bob:wrong",
		"ftp://localhost:"+g.Port("ftp")+"/"); status == 0 {
		t.Error("the certificate opened somebody else's account")
	}
	if granted := events(t, g, "--event", "login", "--outcome", "granted"); len(granted) != 2 || granted[0].Method != session.MethodPublicKey || granted[0].Channel.ClientCert == "" {
		t.Errorf("recorded: %+v", granted)
	}
}

// What one session may not do another may: python's ftplib, which does not resume,
// is refused for bob by the rule, taken for alice and shown by the report.
func TestUnboundDataIsReported(t *testing.T) {
	g := startRuled(t)
	script := fmt.Sprintf(`
import ftplib, ssl, sys
c = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=%q))
c.connect("localhost", int(sys.argv[1])); c.login(sys.argv[2], %q); c.prot_p()
try:
    c.retrlines("LIST", lambda line: None)
    print("listed")
except (ftplib.all_errors + (OSError,)) as e:
    print("refused", e)
`, ca(t, g), password)
	run := filepath.Join(t.TempDir(), "list.py")
	if err := os.WriteFile(run, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "", "python3", run, g.Port("ftp"), alice); !strings.Contains(out, "listed") {
		t.Errorf("alice: %s", out)
	}
	if out := must(t, "", "python3", run, g.Port("ftp"), "bob"); !strings.Contains(out, "refused") {
		t.Errorf("bob: %s", out)
	}
	report := g.CLI("", "report", "plaintext")
	if !strings.Contains(report, alice) || !strings.Contains(report, "bob") || !strings.Contains(report, "0/1") {
		t.Errorf("the report does not show it:\n%s", report)
	}
	t.Log(report)
}
