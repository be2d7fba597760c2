package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

func TestSSHSettings(t *testing.T) {
	t.Parallel()
	parse := func(listener, block string) (*Config, error) {
		return Parse([]byte("hostname = \"h\"\nlistener \"a\" {\n  protocol = "+listener+"\n}\n"+block), filepath.Join(t.TempDir(), "gateway.hcl"))
	}
	const sftp = "\"sftp\"\n  address = \":2222\"\n  ssh_profile = "
	c, err := parse(sftp+`"modern"`, `
sftp {
  keepalive        = "20s"
  keepalive_count  = 5
  rekey_after      = "1GiB"
  chacha20         = true
  host_key_overlap = "168h"
}
limits {
  unauthenticated    = 100
  early_drop_from    = 10
  early_drop_percent = 50
}
`)
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]any{
		"profile":   {c.Listeners[0].SSHProfile, session.SSHModern},
		"keepalive": {c.SFTP.Keepalive, 20 * time.Second},
		"count":     {c.SFTP.KeepaliveCount, 5},
		"rekey":     {c.SFTP.RekeyAfter, int64(1 << 30)},
		"chacha":    {c.SFTP.ChaCha20, true},
		"overlap":   {c.HostKeyOverlap, 168 * time.Hour},
		"drop from": {c.Limits.DropFrom, 10},
		"percent":   {c.Limits.DropPercent, 50},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", what, pair[0], pair[1])
		}
	}
	for want, mistake := range map[string][2]string{
		"not one of: compatible, modern": {sftp + `"old"`},
		"by an exempt in the policy":     {sftp + `"legacy"`},
		"ssh_profile is for an sftp":     {"\"ftp\"\n  address = \":2121\"\n  ssh_profile = \"modern\""},
		"is less than 64KiB":             {sftp + `"modern"`, `sftp { rekey_after = "1KiB" }`},
		"A whole number from 1 to 100":   {sftp + `"modern"`, `limits { early_drop_percent = 101 }`},
	} {
		if _, err := parse(mistake[0], mistake[1]); err == nil || !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
