package local_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"gateway/storage"
	"gateway/storage/local"
)

// FuzzEscape runs a random sequence of operations on random names, some through
// links that another program left in the tree, and holds that nothing outside
// the tree is read, changed, added or removed.
func FuzzEscape(f *testing.F) {
	f.Add([]byte("\x00d\x01l/../x\x02..\x03/etc"), "../sentinel", "l/sentinel")
	f.Add([]byte{6, 7, 8, 9, 10, 0, 1, 2, 3, 4, 5}, "out/sentinel", "a/b")
	f.Add([]byte{7, 0, 7, 1, 6, 2, 3}, "l", "/../../sentinel")
	f.Add([]byte{9, 9, 0, 9, 1}, "up/up/sentinel", "out")
	f.Fuzz(func(t *testing.T, steps []byte, one, two string) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "tree")
		sentinel := filepath.Join(outer, "sentinel")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(sentinel, []byte("untouched"), 0o600); err != nil {
			t.Fatal(err)
		}
		for link, target := range map[string]string{"out": outer, "up": "..", "file": "../sentinel"} {
			if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
		}
		before, err := os.Stat(sentinel)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := ways[len(steps)%len(ways)].open(dir, local.Config{})
		if err != nil {
			t.Fatal(err)
		}
		names := []string{one, two, one + "/" + two, "out/" + one, "up/sentinel", "file", "d", "d/l", "l", "l/sentinel", "out"}
		for i := 0; i+2 < len(steps) && i < 90; i += 3 {
			act(t, tree, before, steps[i], names[int(steps[i+1])%len(names)], names[int(steps[i+2])%len(names)])
		}
		_ = tree.Close()
		after, err := os.Stat(sentinel)
		if err != nil {
			t.Fatalf("outside: %v", err)
		}
		if got, err := os.ReadFile(sentinel); string(got) != "untouched" || err != nil || !os.SameFile(before, after) ||
			after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime()) {
			t.Errorf("outside: %q, %v, %v", got, after.Mode(), err)
		}
		if entries, err := os.ReadDir(outer); len(entries) != 2 || err != nil {
			t.Errorf("outside: %v, %v", entries, err)
		}
	})
}

// act does one step; reading or listing the sentinel is a fault in itself.
func act(t *testing.T, tree *local.FS, sentinel os.FileInfo, step byte, a, b string) {
	ctx := t.Context()
	switch step % 12 {
	case 0, 1:
		opts := storage.CreateOptions{Perm: 0o600}
		if step%12 == 1 {
			opts.Keep = storage.KeepAll
		}
		if u, err := tree.Create(ctx, a, opts); err == nil {
			notTheSentinel(t, u.ReadAt)
			_, _ = u.WriteAt([]byte(b), 0)
			if step&0x80 == 0 {
				_ = u.Commit(ctx)
			} else {
				_ = u.Abort(step&0x40 != 0)
			}
		}
	case 2:
		if file, err := tree.Open(ctx, a); err == nil {
			notTheSentinel(t, file.ReadAt)
			_ = file.Close()
		}
	case 3:
		_ = tree.Remove(ctx, a)
	case 4:
		_ = tree.RemoveDir(ctx, a)
	case 5:
		_ = tree.Rename(ctx, a, b, step&0x80 != 0)
	case 6:
		_ = tree.Mkdir(ctx, a)
	case 7:
		_ = tree.Symlink(ctx, a, b)
	case 8:
		_ = tree.Link(ctx, a, b)
	case 9:
		size := int64(0)
		_ = tree.SetAttr(ctx, a, storage.Attr{Size: &size})
	case 10:
		for info := range tree.List(ctx, a) {
			if info.ID == sentinel.Sys().(*syscall.Stat_t).Ino {
				t.Errorf("List(%q) shows the sentinel", a)
			}
		}
	case 11:
		_, _ = tree.Readlink(ctx, a)
		_, _ = tree.Stat(ctx, a)
	}
}

func notTheSentinel(t *testing.T, readAt func([]byte, int64) (int, error)) {
	p := make([]byte, 16)
	if n, _ := readAt(p, 0); string(p[:n]) == "untouched" {
		t.Error("the sentinel was read")
	}
}
