package local

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"gateway/session"
	"gateway/storage"
)

// The system copies what a Writer has it copy, wherever in both files it is.
func TestCopyAt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree, err := Open(dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if err := os.WriteFile(dir+"/f", content, 0o600); err != nil {
		t.Fatal(err)
	}
	from, err := tree.Open(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	up, err := tree.Create(t.Context(), "g", storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	to := up.(storage.Copier)
	for _, c := range []struct{ off, at, n, want int64 }{{3, 5, 1 << 19, 1 << 19}, {0, 0, 3, 3}, {1 << 19, 1<<20 - 4, 100, 4}, {9, 1 << 20, 1, 0}, {9, 9, 0, 0}} {
		n, err := to.CopyAt(c.off, from.OS(), c.at, c.n)
		if errors.Is(err, session.ErrUnsupported) {
			t.Skip("this file system cannot")
		}
		if n != c.want || err != nil {
			t.Errorf("%+v: %d, %v", c, n, err)
		}
	}
	if n, err := to.CopyAt(-1, from.OS(), 0, 1); n != 0 || !errors.Is(err, session.ErrRange) {
		t.Errorf("at -1: %d, %v", n, err)
	}
	if err := up.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := append([]byte("012"), content[5:5+1<<19]...)
	copy(want[1<<19:], content[1<<20-4:])
	want = append(want[:1<<19], append([]byte("cdef"), want[min(len(want), 1<<19+4):]...)...)
	got, err := os.ReadFile(dir + "/g")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("stored %d bytes, %v, want %d", len(got), err, len(want))
	}
}
