package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gateway/session"
)

// Whoever looks at an entry, what it found is that entry's.
func TestLooksAreOfTheirEntries(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, lookShare, 2*lookShare + 1, entriesAtOnce} {
		dir := t.TempDir()
		list := make([]entry, n)
		for i := range list {
			list[i].name = fmt.Sprint("f", i)
			switch i % 10 {
			case 8: // missing
			case 9:
				list[i].name = strings.Repeat("n", 300)
			default:
				if err := os.WriteFile(filepath.Join(dir, list[i].name), make([]byte, i), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		d := newFolder(fd)
		looks := make([]looked, n)
		d.lookAt(list, looks)
		_ = d.Close()
		for i, l := range looks {
			var want error
			switch i % 10 {
			case 8:
				want = session.ErrNotExist
			case 9:
				want = unix.ENAMETOOLONG
			}
			if !errors.Is(l.err, want) || want == nil && l.stat.size != int64(i) {
				t.Errorf("entry %d of %d: got %d bytes, %v; want %v", i, n, l.stat.size, l.err, want)
			}
		}
	}
}

// A long listing tells each file once, and of files that are removed while it goes on
// no more than were looked at before.
func TestLongListing(t *testing.T) {
	t.Parallel()
	const many = 1000
	for _, remove := range []bool{false, true} {
		dir := t.TempDir()
		tree, err := Tree{Base: dir}.Open("a", nil)
		if err != nil {
			t.Fatal(err)
		}
		name := func(i int) string { return filepath.Join(dir, "a", fmt.Sprint("f", i)) }
		for i := range many {
			if err := os.WriteFile(name(i), make([]byte, i), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		told := map[string]bool{}
		for info, err := range tree.List(t.Context(), ".") {
			if err != nil {
				t.Fatal(err)
			}
			if told[info.Name] || info.Name != fmt.Sprint("f", info.Size) {
				t.Errorf("%s of %d bytes, told before: %t", info.Name, info.Size, told[info.Name])
			}
			told[info.Name] = true
			if !remove || len(told) > 1 {
				continue
			}
			for i := range many {
				if err := os.Remove(name(i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := len(told); !remove && n != many || remove && n > entriesAtOnce {
			t.Errorf("removing %t: %d files were told", remove, n)
		}
		_ = tree.Close()
	}
}
