package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
)

// What a session does is decided by rules about paths, operations, data connections and mail
// domains, and whoever is refused hears the words of the rule.
func TestActsAreDecided(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Users: map[string]string{alice: password}, Policy: `
allow "files" {
  protocol = ["ftp", "sftp"]
  group    = "users"
  grants   = "clear-data"
}
allow "mail" {
  protocol = "submission"
  group    = "mail"
}
require "encrypted" { channel = "encrypted" }
require "drop box" {
  operation = ["write", "append", "stat"]
  reply     = "This folder takes files and shows none."
  when { path = "/in" }
}
require "hr is protected" {
  data_channel = "encrypted"
  when {
    path      = "/hr"
    operation = ["read", "write"]
  }
}
require "no renaming by FTP" {
  request = ["RETR", "STOR", "LIST", "NLST", "MLSD", "CWD", "SIZE", "MDTM", "DELE", "MKD"]
  when { protocol = "ftp" }
}
require "mail stays here" {
  recipient_domain = ["example.com", ".example.com"]
  reply            = "Mail leaves by another gateway."
}
`})
	for _, name := range []string{"in/a", "hr/pay", "pub/a"} {
		path := filepath.Join(g.Dir, "files", alice, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("content"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	authority := ca(t, g)
	local, _ := file(t, "new", 10)
	ftp := "ftp://localhost:" + g.Port("ftp") + "/"
	for name, tc := range map[string]struct {
		args []string
		ok   bool
		says string
	}{
		"get from the drop box":    {[]string{"--ssl-reqd", "-v", ftp + "in/a"}, false, "550 This folder takes files and shows none."},
		"put into the drop box":    {[]string{"--ssl-reqd", "-T", local, ftp + "in/new"}, true, ""},
		"protected":                {[]string{"--ssl-reqd", ftp + "hr/pay"}, true, "content"},
		"in clear":                 {[]string{"--ftp-ssl-control", "-v", ftp + "hr/pay"}, false, "550 "},
		"in clear, where it may":   {[]string{"--ftp-ssl-control", ftp + "pub/a"}, true, "content"},
		"what is not asked for so": {[]string{"--ssl-reqd", "-v", "-Q", "RNFR pub/a", "-Q", "RNTO pub/b", ftp}, false, "550 "},
	} {
		out, status := client(t, "", "curl", append([]string{"-sS", "--cacert", authority, "--user", alice + ":" + password}, tc.args...)...)
		if (status == 0) != tc.ok || !strings.Contains(out, tc.says) {
			t.Errorf("%s: exit status %d, want %q in\n%s", name, status, tc.says, out)
		}
	}
	for command, want := range map[string]string{
		"get /in/a " + filepath.Join(t.TempDir(), "a"):           "denied",
		"rename /in/a /pub/stolen":                               "denied",
		"rename /in /stolen":                                     "denied",
		"put " + local + " /in/by-sftp":                          "",
		"symlink /in/a /pub/link":                                "denied",
		"rename /pub/a /pub/b":                                   "",
		"get /hr/pay " + filepath.Join(t.TempDir(), "pay"):       "",
		"ln /in/a /pub/second":                                   "denied",
		"get /pub/../in/a " + filepath.Join(t.TempDir(), "dots"): "denied",
	} {
		out, _ := client(t, command+"\n", "sshpass", append([]string{"-p", password, "sftp"}, sshOptions(g.Port("sftp"), alice+"@127.0.0.1")...)...)
		if !strings.Contains(out, want) || want == "" && strings.Contains(out, "enied") {
			t.Errorf("%s: no %q in\n%s", command, want, out)
		}
	}
	for to, want := range map[string]string{"bob@lab.example.com": "250", "bob@remote.test": "550 5.7.1 Mail leaves by another gateway."} {
		out, _ := swaks(t, g.Addr("submissions"), "--tls-on-connect", "--auth-user", alice, "--auth-password", password, "--to", to)
		if !strings.Contains(out, want) {
			t.Errorf("to %s: no %q in\n%s", to, want, out)
		}
	}
	record := g.CLI("", "audit", "query", "--outcome", "refused", "--user", alice, "--json")
	for _, want := range []string{`"verb":"rename"`, `require \"drop box\" (policy.hcl:12)`, `require \"hr is protected\"`, `require \"mail stays here\"`} {
		if !strings.Contains(record, want) {
			t.Errorf("the record has no %s:\n%s", want, record)
		}
	}
	explained := g.CLI("", "policy", "explain", "--user", alice, "--protocol", "sftp", "--from", "192.0.2.7", "--operation", "rename", "--path", "/in/a", "--target", "/pub/a")
	if !strings.Contains(explained, "refuse, at phase session") || !strings.Contains(explained, `* NOT MET        require "drop box"`) {
		t.Errorf("explained is\n%s", explained)
	}
}

// A rule may hang up without a word, and let a source try only so often.
func TestDropAndThrottle(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Users: map[string]string{alice: password}, Policy: `
allow "files" { group = "users" }
require "encrypted" {
  channel   = "encrypted"
  otherwise = "drop"
  when { listener = "ftp" }
}
require "not from here" {
  from      = "192.0.2.0/24"
  otherwise = "drop"
  when { listener = "submission" }
}
require "three an hour" {
  logins = "3 per hour"
  when { protocol = "sftp" }
}
`})
	out, status := client(t, "", "curl", "-sS", "-v", "--user", alice+":"+password, "ftp://localhost:"+g.Port("ftp")+"/")
	if status == 0 || !strings.Contains(out, "> USER "+alice) || strings.Contains(out, "< 530") || strings.Contains(out, "> PASS") {
		t.Errorf("a login in clear is not dropped: exit status %d\n%s", status, out)
	}
	if out, status := client(t, "", "curl", "-sS", "--cacert", ca(t, g), "--ssl-reqd", "--user", alice+":"+password, "ftp://localhost:"+g.Port("ftp")+"/"); status != 0 {
		t.Errorf("FTPS: exit status %d\n%s", status, out)
	}
	if out, status := client(t, "", "curl", "-sS", "-v", "smtp://localhost:"+g.Port("submission")); status == 0 || strings.Contains(out, "< ") {
		t.Errorf("a connection is not dropped before the greeting: exit status %d\n%s", status, out)
	}
	for n := range 4 {
		out, status := batch(t, g.Port("sftp"), "pwd\n")
		if (status == 0) != (n < 3) {
			t.Errorf("login %d: exit status %d\n%s", n+1, status, out)
		}
	}
	record := g.CLI("", "audit", "query", "--json")
	for _, want := range []string{`"reason":"dropped by a rule"`, `"reason":"too many logins from there: a rule allows 3 per 1h0m0s"`, `require \"not from here\"`} {
		if !strings.Contains(record, want) {
			t.Errorf("the record has no %s:\n%s", want, record)
		}
	}
}
