package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// scpGranted is a policy that lets the group users in, and grants the old protocol of
// scp to alice alone.
const scpGranted = `
allow "transfer" {
  protocol = ["ftp", "sftp"]
  group    = ["users"]
}
allow "old scp" {
  protocol = "sftp"
  user     = "alice"
  grants   = ["scp"]
}
require "encrypted-login" { channel = "encrypted" }
`

// The old protocol of scp moves files and folders both ways where a rule grants it;
// elsewhere its user is told what to do instead, and it is recorded.
func TestOldSCPByRule(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Policy: scpGranted, Users: map[string]string{alice: password, "bob": password}})
	c := newSSHCell(t, g)
	g.CLI("", "user", "key", "add", "bob", c.identity+".pub")
	tree := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(filepath.Join(tree, "sub dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"a.txt": "first", "sub dir/größe.bin": strings.Repeat("\x00\xff", 100_000)} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	scp := func(more ...string) []string { return append(c.options("-O", "-r", "-p", "-P", c.port), more...) }
	must(t, "", "scp", scp(tree, c.target()+":there")...)
	back := filepath.Join(t.TempDir(), "back")
	must(t, "", "scp", scp(c.target()+":there", back)...)
	must(t, "", "diff", "-r", tree, back)
	must(t, "", "diff", "-r", tree, filepath.Join(g.Dir, "files", alice, "there"))

	out, status := client(t, "", "scp", scp(filepath.Join(tree, "a.txt"), "bob@"+c.host+":a.txt")...)
	if status == 0 || !strings.Contains(out, "leave out -O") {
		t.Errorf("bob: exit status %d\n%s", status, out)
	}
	refused := events(t, g, "--event", "file", "--outcome", "refused", "--user", "bob")
	if len(refused) != 1 || refused[0].Verb != session.Exec {
		t.Errorf("recorded: %+v", refused)
	}
}
