package main

import (
	"os"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// Versions below these have known holes: x/crypto before v0.55 a stack overflow
// before login, os.Root before Go 1.26.5 an escape by symlink and slash
// (CVE-2026-39822).
func TestVersionFloors(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	if mod.Go == nil || semver.Compare("v"+mod.Go.Version, "v1.26.5") < 0 {
		t.Errorf("go.mod asks for Go %v, want at least 1.26.5", mod.Go)
	}
	floors := map[string]string{"golang.org/x/crypto": "v0.55.0", "github.com/emersion/go-smtp": "v0.25.1"}
	for _, r := range mod.Require {
		if floor, found := floors[r.Mod.Path]; found {
			delete(floors, r.Mod.Path)
			if semver.Compare(r.Mod.Version, floor) < 0 {
				t.Errorf("%s is %s, want at least %s", r.Mod.Path, r.Mod.Version, floor)
			}
		}
	}
	for path := range floors {
		t.Errorf("%s is not required", path)
	}
}
