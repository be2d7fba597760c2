package local_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/storage"
	"gateway/storage/local"
)

// age sets the last write of every hidden file in dir to so long ago.
func age(t *testing.T, dir string, by time.Duration) {
	t.Helper()
	when := time.Now().Add(-by)
	for _, name := range hidden(t, dir) {
		if err := os.Chtimes(filepath.Join(dir, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
}

func hidden(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".gateway-part-") {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestSweep(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	accounts := local.Tree{Base: base, Config: local.Config{KeepPartial: 48 * time.Hour}}
	tree, err := accounts.Open("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := tree.Mkdir(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(base, "alice")
	dir := filepath.Join(home, "d")
	interrupt(t, tree, "d/resumable", "half")
	running, err := tree.Create(t.Context(), "d/running", storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// An orphan, as a crash leaves it, and what only looks like one of ours.
	orphan := ".gateway-part-0123456789abcdef-0123456789abcdef"
	for _, name := range []string{orphan, ".gateway-part-short", ".gateway-partly", "kept"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("..", filepath.Join(home, "d", "loop")); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		age  time.Duration
		want int
	}{{time.Hour, 0}, {25 * time.Hour, 1}, {47 * time.Hour, 0}, {49 * time.Hour, 1}, {1000 * time.Hour, 0}} {
		age(t, dir, step.age)
		if got, err := accounts.Sweep(t.Context()); got != step.want || err != nil {
			t.Errorf("after %v: removed %d, %v; want %d", step.age, got, err, step.want)
		}
	}
	if got := hidden(t, dir); len(got) != 2 {
		t.Errorf("left %q, want the running upload and the foreign file", got)
	}
	if _, err := running.WriteAt([]byte("x"), 0); err != nil {
		t.Errorf("the running upload: %v", err)
	}
	if err := running.Commit(t.Context()); err != nil {
		t.Errorf("the running upload: %v", err)
	}
}

// Uploads that end, however they end, leave no descriptor behind.
func TestNoDescriptorsLeak(t *testing.T) {
	tree, _ := open(t, local.Config{})
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skipf("descriptors cannot be counted: %v", err)
		}
		return len(entries)
	}
	put(t, tree, "f", "content")
	before := count()
	for range 20 {
		put(t, tree, "f", "content")
		interrupt(t, tree, "g", "half")
		_, _ = tree.Stat(t.Context(), "g")
		_, _ = tree.Stat(t.Context(), "none")
		_, _ = tree.Create(t.Context(), "f", storage.CreateOptions{Keep: 100})
		_, _ = tree.Create(t.Context(), "g", storage.CreateOptions{Keep: 100})
		_, _ = tree.Create(t.Context(), "f", storage.CreateOptions{Exclusive: true})
		_, _ = tree.Create(t.Context(), ".", storage.CreateOptions{})
		_, _ = tree.Open(t.Context(), ".")
		_ = tree.Rename(t.Context(), "f", "h", false)
		_ = tree.Rename(t.Context(), "h", "f", false)
		_ = tree.Link(t.Context(), "f", "f")
		for range tree.List(t.Context(), ".") {
			break
		}
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
