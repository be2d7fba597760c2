package local_test

import (
	"testing"

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
