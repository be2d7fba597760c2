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

// oldServerBlock is the configuration of a gateway that asks another server.
func oldServerBlock(kind, address, more string) string {
	return gatewaytest.Config + fmt.Sprintf("\nold_server \"old\" {\n  type = %q\n  address = %q\n  groups = [\"legacy\"]\n%s}\n", kind, address, more)
}

// Accounts whose hashes cannot be taken are imported without: the ProFTPD that they come
// from is asked once, and then it may go.
func TestOldServerIsAskedOnce(t *testing.T) {
	t.Parallel()
	dir, port := daemonDir(t, "proftpd"), unusedPort(t)
	if err := os.Mkdir(filepath.Join(dir, "srv"), 0o755); err != nil {
		t.Fatal(err)
	}
	folderOf(t, filepath.Join(dir, "srv", alice), filesOf)
	startProFTPD(t, dir, port, map[string]string{alice: password})
	answers(t, port)
	g := gatewaytest.Start(t, gatewaytest.Options{Config: oldServerBlock("ftp", "127.0.0.1:"+port, "  until = \"2099-01-01\"\n")})
	salted := settings(t, dir, "salted.conf", "SQLAuthTypes SHA256\nSQLPasswordUserSalt name\n")
	rows := settings(t, dir, "users.csv", "userid,passwd,uid,gid,homedir\n"+alice+",c2FsdGVk,1001,1001,\n")
	if said := g.CLI("", "import", "proftpd", salted, rows, "--group", "users", "--group", "legacy", "--ask"); !strings.Contains(said, "an old_server of its groups is asked about it") {
		t.Fatalf("import says:\n%s", said)
	}
	login := func(secret string) int {
		_, status := client(t, "pwd\n", "sshpass", append([]string{"-p", secret, "sftp"}, sshOptions(g.Port("sftp"), alice+"@127.0.0.1")...)...)
		return status
	}
	if login("wrong") == 0 {
		t.Error("a wrong password is let in")
	}
	if said := g.CLI(password+"\n", "auth", "test", alice, "--password-stdin"); !strings.Contains(said, "alice: right: the account has no password here") {
		t.Errorf("auth test says:\n%s", said)
	}
	for range 2 {
		if login(password) != 0 {
			t.Error("the right password is not let in")
		}
	}
	if said := g.CLI(password+"\n", "auth", "test", alice, "--password-stdin"); !strings.Contains(said, "alice: right: compared with the argon2id in the store") {
		t.Errorf("afterwards auth test says:\n%s", said)
	}
	var asked []string
	for _, e := range events(t, g, "--event", "admin") {
		if e.Verb == "ask" {
			asked = append(asked, e.Object+" "+e.Outcome)
		}
	}
	if got := strings.Join(asked, ", "); got != "password of alice at old refused, password of alice at old done" {
		t.Errorf("recorded: %s", got)
	}
	if strings.Contains(g.Log(), password) {
		t.Error("the log has the password")
	}
}

// Accounts that nobody has brought over are made by the first login with the password of the
// ProFTPD that has them, in the groups of the block, and then it may go.
func TestOldServerMakesAccounts(t *testing.T) {
	t.Parallel()
	dir, port := daemonDir(t, "proftpd"), unusedPort(t)
	if err := os.Mkdir(filepath.Join(dir, "srv"), 0o755); err != nil {
		t.Fatal(err)
	}
	folderOf(t, filepath.Join(dir, "srv", alice), filesOf)
	startProFTPD(t, dir, port, map[string]string{alice: password})
	answers(t, port)
	block := oldServerBlock("ftp", "127.0.0.1:"+port, "  until = \"2099-01-01\"\n  make_accounts = true\n")
	g := gatewaytest.Start(t, gatewaytest.Options{Config: strings.Replace(block, `["legacy"]`, `["users", "legacy"]`, 1)})
	login := func(user, secret string) bool {
		_, status := client(t, "pwd\n", "sshpass", append([]string{"-p", secret, "sftp"}, sshOptions(g.Port("sftp"), user+"@127.0.0.1")...)...)
		return status == 0
	}
	if login(alice, "wrong") || login("nobody", password) {
		t.Error("a wrong password is let in")
	}
	if said := g.CLI(password+"\n", "auth", "test", alice, "--password-stdin"); !strings.Contains(said, "alice: right: there is no such account yet, and this server was asked") {
		t.Errorf("auth test says:\n%s", said)
	}
	for range 2 { // asked, then compared with what is here
		if !login(alice, password) {
			t.Error("the right password is not let in")
		}
	}
	if shown := g.CLI("", "user", "show", alice); !strings.Contains(shown, "groups     legacy, users") {
		t.Errorf("user show:\n%s", shown)
	}
	var recorded []string
	for _, e := range events(t, g, "--event", "admin") {
		switch {
		case e.Verb == "ask" && e.Outcome == session.OutcomeRefused:
			if strings.Contains(e.Object, alice) || strings.Contains(e.Object, "nobody") {
				t.Errorf("a name that nobody has is recorded: %s", e.Object)
			}
			recorded = append(recorded, "refused")
		case e.Outcome == session.OutcomeDone && (e.Verb == "ask" || e.User == "old_server old"):
			recorded = append(recorded, string(e.Verb)+" "+e.Object)
		}
	}
	if got := strings.Join(recorded, ", "); got != "refused, refused, ask password of alice at old, add user alice" {
		t.Errorf("recorded: %s", got)
	}
}

// A directory keeps the passwords: OpenLDAP is searched and bound to at each login.
func TestDirectoryIsAsked(t *testing.T) {
	t.Parallel()
	d := startDirectory(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Config: oldServerBlock("ldaps", d.address, fmt.Sprintf(`  store   = false
  ca      = %q
  base    = "dc=example,dc=com"
  filter  = "(&(objectClass=inetOrgPerson)(uid={user}))"
  bind_dn = "cn=admin,dc=example,dc=com"
  bind_password = file(%q)
`, d.cert, d.secret))})
	for _, user := range []string{alice, "bob"} {
		g.CLI("", "user", "add", user, "--group", "users", "--group", "legacy")
	}
	authority := ca(t, g)
	for login, want := range map[string]bool{alice + ":" + password: true, alice + ":wrong": false, alice + ":": false, "bob:" + password: false} {
		if out, status := client(t, "", "curl", "-sS", "--cacert", authority, "--ssl-reqd", "--user", login, "ftp://localhost:"+g.Port("ftp")+"/"); (status == 0) != want {
			t.Errorf("%s: exit status %d\n%s", login, status, out)
		}
	}
	if shown := g.CLI("", "user", "show", alice); !strings.Contains(shown, "password   none") {
		t.Errorf("a password was stored:\n%s", shown)
	}
}
