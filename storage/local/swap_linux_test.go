package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/local"
	"gateway/storage/storagetest"
)

// ways are the two ways in which names are resolved: by the kernel in one call,
// and step by step where it has no openat2.
var ways = []struct {
	name string
	open func(dir string, cfg local.Config) (*local.FS, error)
}{{"in one call", local.Open}, {"step by step", local.OpenStepwise}}

// Where there is no openat2 all is as it is with it.
func TestStepByStep(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, cfg local.Config) (*local.FS, string) {
		dir := t.TempDir()
		tree, err := local.OpenStepwise(dir, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tree.Close() })
		return tree, dir
	}
	storagetest.Run(t, func(t *testing.T) storage.FS {
		tree, _ := open(t, local.Config{})
		return tree
	})
	storagetest.RunLedger(t, func(t *testing.T, ledger storage.Ledger) storage.FS {
		tree, _ := open(t, local.Config{Ledger: ledger})
		return tree
	})
	t.Run("foreign links", func(t *testing.T) {
		t.Parallel()
		tree, dir := open(t, local.Config{})
		foreignLinksAreRefused(t, tree, dir)
	})
	t.Run("only regular files", func(t *testing.T) {
		t.Parallel()
		tree, dir := open(t, local.Config{})
		onlyRegularFilesOpen(t, tree, dir)
	})
}

// exchange swaps two names over and over until ctx is done.
func exchange(ctx context.Context, t *testing.T, a, b string) (wait func()) {
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
				t.Errorf("exchange: %v", err)
				return
			}
		}
	})
	return running.Wait
}

// A folder, and a file, that are swapped for links out of the tree while they are
// used never lead there.
func TestSwapsDoNotLeadOut(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			dir, outside := t.TempDir(), t.TempDir()
			tree, err := way.open(dir, local.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			if err := errors.Join(
				os.WriteFile(filepath.Join(outside, "f"), []byte("untouched"), 0o600),
				os.Symlink(outside, filepath.Join(dir, "folder")),
				os.Symlink(filepath.Join(outside, "f"), filepath.Join(dir, "file")),
				tree.Mkdir(t.Context(), "d"),
			); err != nil {
				t.Fatal(err)
			}
			put(t, tree, "d/f", "inside")
			put(t, tree, "g", "inside")
			ctx, cancel := context.WithCancel(t.Context())
			waitFolder := exchange(ctx, t, filepath.Join(dir, "d"), filepath.Join(dir, "folder"))
			waitFile := exchange(ctx, t, filepath.Join(dir, "g"), filepath.Join(dir, "file"))
			size, perm := int64(9), os.FileMode(0o640)
			for range 20 {
				for _, name := range []string{"d/f", "folder/f", "g", "file"} {
					if file, err := tree.Open(ctx, name); err == nil {
						notTheSentinel(t, file.ReadAt)
						_ = file.Close()
					}
					if u, err := tree.Create(ctx, name, storage.CreateOptions{Keep: storage.KeepAll}); err == nil {
						notTheSentinel(t, u.ReadAt)
						_, _ = u.WriteAt([]byte("inside"), 0)
						_ = u.Commit(ctx)
					}
					_ = tree.SetAttr(ctx, name, storage.Attr{Size: &size})
					_ = tree.SetAttr(ctx, name, storage.Attr{Perm: &perm})
				}
				_ = tree.Mkdir(ctx, "d/new")
				_ = tree.RemoveDir(ctx, "d/new")
				_ = tree.Rename(ctx, "d/f", "folder/h", true)
				_ = tree.Rename(ctx, "d/h", "folder/f", true)
				_ = tree.Link(ctx, "d/f", "folder/i")
				_ = tree.Remove(ctx, "folder/i")
			}
			cancel()
			waitFolder()
			waitFile()
			stat, err := os.Stat(filepath.Join(outside, "f"))
			if err != nil || stat.Mode() != 0o600 {
				t.Fatalf("outside: %v, %v", stat, err)
			}
			if got, err := os.ReadFile(filepath.Join(outside, "f")); string(got) != "untouched" || err != nil {
				t.Errorf("outside: got %q, %v", got, err)
			}
			if entries, err := os.ReadDir(outside); len(entries) != 1 || err != nil {
				t.Errorf("outside: got %v, %v", entries, err)
			}
		})
	}
}

// Whatever is renamed meanwhile, a link that goes up inside the tree is followed:
// openat2 gives up then, and os.Root takes over.
func TestLinksUpWhileOthersRename(t *testing.T) {
	t.Parallel()
	tree, dir := open(t, local.Config{})
	if !tree.Beneath() {
		t.Skip("the kernel has no openat2, or does not let it be used")
	}
	for _, name := range []string{"a", "a/b", "a/b/c", "x", "y"} {
		want(t, "Mkdir", tree.Mkdir(t.Context(), name), nil)
	}
	put(t, tree, "f", "content")
	want(t, "Symlink", tree.Symlink(t.Context(), "../../../f", "a/b/c/l"), nil)
	ctx, cancel := context.WithCancel(t.Context())
	wait := exchange(ctx, t, filepath.Join(dir, "x"), filepath.Join(dir, "y"))
	for range 500 {
		file, err := tree.Open(ctx, "a/b/c/l")
		if err != nil {
			t.Errorf("Open: %v", err)
			break
		}
		_ = file.Close()
		if info, err := tree.Stat(ctx, "a/b/c/l"); err != nil || info.Size != 7 {
			t.Errorf("Stat: %v, %v", info, err)
			break
		}
	}
	cancel()
	wait()
}

// A tree that is closed while it is used does not act by a descriptor that has
// become somebody else's.
func TestCloseWhileInUse(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	for range 50 {
		tree, err := local.Open(dir, local.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var users sync.WaitGroup
		for range 4 {
			users.Go(func() {
				for {
					if _, err := tree.Stat(t.Context(), "."); err != nil {
						want(t, "Stat of a closed tree", err, session.ErrClosed)
						return
					}
					_ = tree.Mkdir(t.Context(), "made")
				}
			})
		}
		want(t, "Close", tree.Close(), nil)
		d, err := os.Open(other) // likely gets the number
		users.Wait()
		want(t, "Close again", tree.Close(), nil)
		if err == nil {
			_ = d.Close()
		}
	}
	if entries, err := os.ReadDir(other); len(entries) != 0 || err != nil {
		t.Errorf("made in another folder: %v, %v", entries, err)
	}
}

// A link at a hidden name is none of ours: it is neither followed nor in the way.
func TestLinkAtHiddenName(t *testing.T) {
	t.Parallel()
	tree, dir := open(t, local.Config{})
	put(t, tree, "victim", "content")
	interrupt(t, tree, "a", "half")
	at := filepath.Join(dir, hidden(t, dir)[0])
	if err := errors.Join(os.Remove(at), os.Symlink("victim", at)); err != nil {
		t.Fatal(err)
	}
	_, err := tree.Stat(t.Context(), "a")
	want(t, "Stat", err, session.ErrNotExist)
	put(t, tree, "a", "whole")
	if got, err := os.ReadFile(filepath.Join(dir, "victim")); string(got) != "content" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
