package move

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	write(t, from, "a", "content of a")
	write(t, from, "deep/er/b", strings.Repeat("b", 1<<20))
	write(t, from, "deep/"+partial, "of a move that was cut off")
	for link, target := range map[string]string{"good": "deep/er/b", "out": "../../etc/passwd", "absolute": "/etc/passwd", "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(from, link)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Copy(t.Context(), from, to, Options{})
	if err != nil || r.Files != 2 || r.Folders != 2 || r.Links != 1 || len(r.Left) != 3 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if got, err := os.ReadFile(filepath.Join(to, "good")); err != nil || len(got) != 1<<20 {
		t.Errorf("%d bytes through the link, %v", len(got), err)
	}
	if info, err := os.Stat(filepath.Join(to, "a")); err != nil || info.ModTime().Year() != 2020 || info.Mode().Perm() != 0o640 {
		t.Errorf("a: %v, %v", info, err)
	}
	// Again: nothing but what changed.
	write(t, from, "a", "other content of a")
	if r, err = Copy(t.Context(), from, to, Options{}); err != nil || r.Files != 1 || r.Same != 1 {
		t.Errorf("again: %+v, %v", r, err)
	}
	if got, _ := os.ReadFile(filepath.Join(to, "a")); string(got) != "other content of a" {
		t.Errorf("a is %q", got)
	}
}

// A copy that is stopped leaves no file that is not whole, and the next one ends it.
func TestStopped(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		write(t, from, name, strings.Repeat(name, 100_000))
	}
	ctx, stop := context.WithCancel(t.Context())
	r, err := Copy(ctx, from, to, Options{Progress: func(files, _ int64) {
		if files == 1 {
			stop()
		}
	}})
	if !errors.Is(err, context.Canceled) || r.Files != 1 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if r, err = Copy(t.Context(), from, to, Options{}); err != nil || r.Files != 2 || r.Same != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(to, partial)); err == nil {
		t.Error("a part is left")
	}
}

// Where it goes cannot be left by a link that somebody put there.
func TestTargetIsNotLeft(t *testing.T) {
	t.Parallel()
	from, to, outside := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, from, "sub/a", "x")
	if err := os.Symlink(outside, filepath.Join(to, "sub")); err != nil {
		t.Fatal(err)
	}
	if r, err := Copy(t.Context(), from, to, Options{}); err == nil {
		t.Errorf("got %+v", r)
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 0 {
		t.Error("a file was written elsewhere")
	}
}
