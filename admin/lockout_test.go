package admin

import (
	"errors"
	"testing"
	"time"

	"gateway/policies"
)

func TestLockout(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	for src, locks := range map[string]bool{
		`allow "files" { protocol = "sftp" }`:           false,
		`require "encrypted" { channel = "encrypted" }`: true,
		"settings { administrators = \"admins\" }\nallow \"files\" {\n protocol = \"sftp\"\n group = \"users\"\n}":  true,
		"settings { administrators = \"admins\" }\nallow \"files\" {\n protocol = \"sftp\"\n group = \"admins\"\n}": false,
	} {
		p, err := policies.Parse([]byte(src), "policy.hcl", policies.Options{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if err := lockout(p, now); errors.Is(err, ErrLockout) != locks {
			t.Errorf("%s: got %v, want an ErrLockout: %v", src, err, locks)
		}
	}
}
