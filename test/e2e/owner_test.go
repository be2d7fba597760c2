package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
)

// Mail has no place to tell a client that its logins in clear end: the owner of the
// account is written to instead.
func TestOwnersAreToldOfMailInClear(t *testing.T) {
	t.Parallel()
	refused := time.Now().UTC().AddDate(0, 0, 20).Format(time.DateOnly)
	g := gatewaytest.Start(t, gatewaytest.Options{Users: map[string]string{alice: password}, Policy: fmt.Sprintf(`
allow "mail" { protocol = "submission" }
require "encrypted-login" {
  channel = "encrypted"
  rollout "everybody" {
    everybody = true
    warn      = "2020-01-01"
    enforce   = %q
  }
}
`, refused)})
	must(t, "", "swaks", "--server", g.Addr("submission"), "--auth", "PLAIN", "--auth-user", alice, "--auth-password", password,
		"--from", alice+"@example.com", "--to", "bob@example.com")
	g.Stop()
	g.Run()
	eventually(t, "the owner is told", func() bool {
		letters, _ := filepath.Glob(filepath.Join(g.Dir, "mail", "new", "*"))
		for _, l := range letters {
			text, err := os.ReadFile(l)
			if err == nil && strings.Contains(string(text), "Subject: Logins of alice without encryption end on "+refused) &&
				strings.Contains(string(text), "To: <alice@example.com>") && strings.Contains(string(text), "Use port 465") {
				return true
			}
		}
		return false
	})
}
