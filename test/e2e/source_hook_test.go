package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
)

// The program of the documentation answers for accounts: what it says counts from the next
// login on, and nobody logs in while it is away.
func TestAccountOfAProgram(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), unusedPort(t)
	secret := settings(t, dir, "secret", "0123456789abcdef0123456789abcdef\n")
	says := func(joe string) {
		whole := settings(t, dir, "accounts.next", fmt.Sprintf(`{"joe": %s}`, joe))
		if err := os.Rename(whole, filepath.Join(dir, "accounts.json")); err != nil {
			t.Fatal(err)
		}
	}
	says(`{"password": "secret of joe", "groups": ["users"], "disabled": true}`)
	stop := daemon(t, systemPython, "../../docs/examples/accounts_hook.py", port, secret, filepath.Join(dir, "accounts.json"))
	answers(t, port)
	homes := filepath.Join(dir, "homes")
	if err := os.MkdirAll(filepath.Join(homes, "joe"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(homes, "joe", "of-joe.txt"), []byte("here"), 0o644); err != nil {
		t.Fatal(err)
	}
	g := gatewaytest.Start(t, gatewaytest.Options{Config: gatewaytest.Config + fmt.Sprintf(`
limits { trusted = "127.0.0.0/8" }
source "crm" {
  type   = "http"
  url    = "http://127.0.0.1:%s/"
  secret = file(%q)
  homes  = %q
}
`, port, secret, homes)})
	authority := ca(t, g)
	list := func(user, secret string) (string, bool) {
		out, status := client(t, "", "curl", "-sS", "-v", "--cacert", authority, "--ssl-reqd", "--user", user+":"+secret, "ftp://localhost:"+g.Port("ftp")+"/")
		return out, status == 0
	}
	if out, in := list("joe", "secret of joe"); in || !strings.Contains(out, "530") {
		t.Errorf("closed before it is here: let in %v\n%s", in, out)
	}
	says(`{"password": "secret of joe", "groups": ["users"], "home": "joe"}`)
	if out, in := list("joe", "wrong"); in {
		t.Errorf("a wrong password is let in\n%s", out)
	}
	if out, in := list("joe", "secret of joe"); !in || !strings.Contains(out, "of-joe.txt") {
		t.Errorf("let in %v\n%s", in, out)
	}
	if out, in := list("nobody", "secret of joe"); in {
		t.Errorf("a name that nobody has is let in\n%s", out)
	}
	if shown := g.CLI("", "user", "show", "joe"); !strings.Contains(shown, "source     crm") || !strings.Contains(shown, "groups     users") {
		t.Errorf("user show:\n%s", shown)
	}
	says(`{"password": "secret of joe", "groups": ["users"], "disabled": true}`)
	if out, in := list("joe", "secret of joe"); in || !strings.Contains(out, "530") {
		t.Errorf("disabled: let in %v\n%s", in, out)
	}
	says(`{"password": "secret of joe", "groups": ["users"], "disabled": false}`)
	if out, in := list("joe", "secret of joe"); !in {
		t.Errorf("enabled again: not let in\n%s", out)
	}
	stop()
	if out, in := list("joe", "secret of joe"); in || !strings.Contains(out, "421") {
		t.Errorf("while it is away: let in %v\n%s", in, out)
	}
}
