package storagetest

import (
	"errors"
	"io/fs"
	"testing"

	"gateway/session"
	"gateway/storage"
)

// symlink makes a link, or skips the test where the backend has none.
func symlink(t *testing.T, tree storage.FS, target, name string) {
	t.Helper()
	err := tree.Symlink(t.Context(), target, name)
	if errors.Is(err, session.ErrUnsupported) {
		t.Skip("the backend has no links")
	}
	if err != nil {
		t.Fatalf("Symlink(%q, %q): %v", target, name, err)
	}
}

func linkCases() []testCase {
	return []testCase{
		{"relative", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			put(t, tree, "f", "content")
			symlink(t, tree, "../f", "d/l")
			wantContent(t, tree, "d/l", "content")
			if target, err := tree.Readlink(t.Context(), "d/l"); target != "../f" || err != nil {
				t.Errorf("Readlink: got %q, %v", target, err)
			}
		}},
		{"absolute is from the root of the tree", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			mkdir(t, tree, "d/e")
			put(t, tree, "f", "content")
			symlink(t, tree, "/f", "d/e/l")
			wantContent(t, tree, "d/e/l", "content")
			if target, err := tree.Readlink(t.Context(), "d/e/l"); target != "../../f" || err != nil {
				t.Errorf("Readlink: got %q, %v", target, err)
			}
			symlink(t, tree, "/", "root")
			wantContent(t, tree, "root/f", "content")
			symlink(t, tree, "/../../f", "above")
			wantContent(t, tree, "above", "content")
		}},
		{"trailing slash", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			put(t, tree, "d/f", "content")
			symlink(t, tree, "d/", "l")
			if target, err := tree.Readlink(t.Context(), "l"); target != "d" || err != nil {
				t.Errorf("Readlink: got %q, %v", target, err)
			}
			wantContent(t, tree, "l/f", "content")
		}},
		{"out of the tree is refused", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			symlink(t, tree, "x", "probe")
			for _, target := range []string{"..", "../x", "../../etc/passwd", "d/../../x", "../", "d/../.."} {
				want(t, "Symlink to "+target, tree.Symlink(t.Context(), target, "l"), session.ErrDenied)
			}
			want(t, "from a folder", tree.Symlink(t.Context(), "../../x", "d/l"), session.ErrDenied)
			for _, target := range []string{"", "a\x00b", "a\nb", "/a\rb"} {
				want(t, "Symlink to a bad name", tree.Symlink(t.Context(), target, "l"), session.ErrName)
			}
			wantGone(t, tree, "l")
		}},
		{"through a link to a higher folder", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			mkdir(t, tree, "d/e")
			symlink(t, tree, "d/e", "l")
			put(t, tree, "d/f", "content")
			symlink(t, tree, "../f", "l/up") // d/f, though l is in the root
			wantContent(t, tree, "d/e/up", "content")
			symlink(t, tree, ".", "d/here")
			err := tree.Symlink(t.Context(), "../../x", "d/here/l")
			want(t, "two up from a folder that is one deep", err, session.ErrDenied)
		}},
		{"moved to where it would leave", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			put(t, tree, "f", "content")
			symlink(t, tree, "../f", "d/l")
			want(t, "Rename", tree.Rename(t.Context(), "d/l", "l", false), session.ErrDenied)
			wantContent(t, tree, "d/l", "content")
		}},
		{"chain and loop", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			symlink(t, tree, "f", "l1")
			symlink(t, tree, "l1", "l2")
			wantContent(t, tree, "l2", "content")
			symlink(t, tree, "y", "x")
			symlink(t, tree, "x", "y")
			_, err := tree.Open(t.Context(), "x")
			want(t, "Open of a loop", err, session.ErrNotExist)
			_, err = tree.Stat(t.Context(), "x")
			want(t, "Stat of a loop", err, session.ErrNotExist)
			_, err = tree.Create(t.Context(), "x", storage.CreateOptions{})
			want(t, "Create at a loop", err, session.ErrNotExist)
			want(t, "Remove", tree.Remove(t.Context(), "x"), nil)
		}},
		{"lstat and list show the link", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			symlink(t, tree, "f", "l")
			if info, err := tree.Lstat(t.Context(), "l"); err != nil || info.Mode.Type() != fs.ModeSymlink {
				t.Errorf("Lstat: got %v, %v", info.Mode, err)
			}
			if info, err := tree.Stat(t.Context(), "l"); err != nil || !info.Mode.IsRegular() || info.Name != "l" || info.Size != 7 {
				t.Errorf("Stat: got %+v, %v", info, err)
			}
			if info := list(t, tree, ".")["l"]; info.Mode.Type() != fs.ModeSymlink {
				t.Errorf("List: got %v", info.Mode)
			}
		}},
		{"remove takes the link", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			put(t, tree, "d/f", "content")
			symlink(t, tree, "d", "l")
			want(t, "RemoveDir of a link", tree.RemoveDir(t.Context(), "l"), session.ErrNotDirectory)
			want(t, "Remove", tree.Remove(t.Context(), "l"), nil)
			wantContent(t, tree, "d/f", "content")
		}},
		{"upload goes to where the link leads", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			put(t, tree, "d/f", "old")
			symlink(t, tree, "d/f", "l")
			put(t, tree, "l", "new")
			wantContent(t, tree, "d/f", "new")
			if info, err := tree.Lstat(t.Context(), "l"); err != nil || info.Mode.Type() != fs.ModeSymlink {
				t.Errorf("Lstat: got %v, %v", info.Mode, err)
			}
			_, err := tree.Create(t.Context(), "l", storage.CreateOptions{Exclusive: true})
			want(t, "exclusive Create", err, session.ErrExist)
		}},
		{"upload through a link to nothing", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			symlink(t, tree, "d/f", "l")
			_, err := tree.Stat(t.Context(), "l")
			want(t, "Stat", err, session.ErrNotExist)
			interrupt(t, tree, "l", "half")
			wantSize(t, tree, "l", 4)
			wantSize(t, tree, "d/f", 4)
			u := create(t, tree, "l", storage.CreateOptions{Keep: 4})
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "d/f", "half")
		}},
		{"at a name that is taken", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			symlink(t, tree, "f", "l")
			want(t, "Symlink over a file", tree.Symlink(t.Context(), "l", "f"), session.ErrExist)
			want(t, "Link over a file", tree.Link(t.Context(), "f", "l"), session.ErrExist)
			_, err := tree.Readlink(t.Context(), "f")
			want(t, "Readlink of a file", err, session.ErrUnsupported)
		}},
		{"second name", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			mkdir(t, tree, "d")
			err := tree.Link(t.Context(), "f", "d/g")
			if errors.Is(err, session.ErrUnsupported) {
				t.Skip("the backend has no second names")
			}
			want(t, "Link", err, nil)
			wantContent(t, tree, "d/g", "content")
			put(t, tree, "f", "new")
			wantContent(t, tree, "d/g", "content")
			want(t, "Link of a folder", tree.Link(t.Context(), "d", "e"), session.ErrIsDirectory)
			want(t, "Link of nothing", tree.Link(t.Context(), "none", "e"), session.ErrNotExist)
			want(t, "Link", tree.Link(t.Context(), "f", "h"), nil)
			want(t, "Rename of one name over the other", tree.Rename(t.Context(), "f", "h", true), nil)
			wantGone(t, tree, "f")
			wantContent(t, tree, "h", "new")
		}},
	}
}
