package local_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/local"
	"gateway/storage/storagetest"
)

// open returns a tree in a new folder, and the folder.
func open(t testing.TB, cfg local.Config) (*local.FS, string) {
	t.Helper()
	dir := t.TempDir()
	tree, err := local.Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return tree, dir
}

func TestContract(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) storage.FS {
		tree, _ := open(t, local.Config{})
		return tree
	})
}

func TestLedger(t *testing.T) {
	t.Parallel()
	storagetest.RunLedger(t, func(t *testing.T, ledger storage.Ledger) storage.FS {
		tree, _ := open(t, local.Config{Ledger: ledger})
		return tree
	})
}

// The umask takes bits from what is made, and the modes hold whatever the umask
// of the process.
func TestModes(t *testing.T) {
	t.Parallel()
	tree, dir := open(t, local.Config{FileMode: 0o664, FolderMode: 0o777, Umask: 0o007})
	put(t, tree, "default", "")
	u, err := tree.Create(t.Context(), "asked", storage.CreateOptions{Perm: 0o605})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(u.Commit(t.Context()), tree.Mkdir(t.Context(), "d")); err != nil {
		t.Fatal(err)
	}
	perm := fs.FileMode(0o606)
	put(t, tree, "changed", "")
	if err := tree.SetAttr(t.Context(), "changed", storage.Attr{Perm: &perm}); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]fs.FileMode{"default": 0o660, "asked": 0o600, "d": 0o770, "changed": 0o606} {
		if stat, err := os.Lstat(filepath.Join(dir, name)); err != nil || stat.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v; want %v", name, stat.Mode(), err, want)
		}
	}
	if _, err := local.Open(dir, local.Config{FileMode: 0o640 | fs.ModeSetuid}); !errors.Is(err, session.ErrUnsupported) {
		t.Errorf("setuid: got %v", err)
	}
}
