package policies_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gateway/policies"
)

// A policy is loaded as it was, with what it expected then, also when its dates are over;
// one that was changed since is not taken for it.
func TestArchive(t *testing.T) {
	t.Parallel()
	opts := policies.Options{Hostname: "files.example.com", Now: time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC), Listeners: []string{"old"}}
	const src = `
allow "files" {
  protocol = "ftp"
  listener = "old"
}
expect "nobody comes in by SFTP" {
  user     = "joe"
  protocol = "sftp"
  from     = "192.0.2.7"
  verdict  = "refuse"
}
`
	p, err := policies.Parse([]byte(src), "somewhere/policy.hcl", opts)
	if err != nil {
		t.Fatal(err)
	}
	a := policies.Archive{Dir: filepath.Join(t.TempDir(), "policies")}
	if _, err := a.Load(p.Hash(), opts); !errors.Is(err, policies.ErrNotArchived) {
		t.Errorf("before it is kept: got %v", err)
	}
	for range 2 {
		if err := a.Keep(p, opts.Now); err != nil {
			t.Fatal(err)
		}
	}
	later := opts
	later.Now, later.Listeners = opts.Now.AddDate(5, 0, 0), []string{"other"}
	got, err := a.Load(p.Hash(), later)
	if err != nil || got.Hash() != p.Hash() || string(got.Source()) != src {
		t.Errorf("got %v, %v", got.Hash(), err)
	}
	later.Hostname = "renamed.example.com"
	if _, err := a.Load(p.Hash(), later); !errors.Is(err, policies.ErrNotArchived) {
		t.Errorf("with another host name: got %v", err)
	}
	if err := os.WriteFile(filepath.Join(a.Dir, p.Hash(), "policy.hcl"), []byte("# nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{p.Hash(), "", "../" + p.Hash()[3:], "x"} {
		if _, err := a.Load(hash, opts); !errors.Is(err, policies.ErrNotArchived) {
			t.Errorf("%q: got %v", hash, err)
		}
	}
}

func TestArchiveIsBounded(t *testing.T) {
	t.Parallel()
	a := policies.Archive{Dir: t.TempDir()}
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 1000 { // as if so many had been kept
		dir := filepath.Join(a.Dir, fmt.Sprintf("%064x", i))
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chtimes(dir, now, now.Add(time.Duration(i)*time.Minute))); err != nil {
			t.Fatal(err)
		}
	}
	p, err := policies.Parse([]byte("allow \"files\" { protocol = \"ftp\" }\n"), "policy.hcl", policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Keep(p, now.AddDate(0, 1, 0)); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(a.Dir)
	if err != nil || len(left) != 1000 || left[0].Name() != fmt.Sprintf("%064x", 1) {
		t.Errorf("%d left, the first %v, %v", len(left), left[0], err)
	}
	if _, err := a.Load(p.Hash(), policies.Options{}); err != nil {
		t.Error(err)
	}
}
