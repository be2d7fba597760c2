package storagetest

import (
	"io"
	"io/fs"
	"testing"
	"time"

	"gateway/session"
	"gateway/storage"
)

func attrCases() []testCase {
	when := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	return []testCase{
		{"permissions", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "")
			mkdir(t, tree, "d")
			for _, name := range []string{"f", "d"} {
				perm := fs.FileMode(0o750)
				want(t, "SetAttr", tree.SetAttr(t.Context(), name, storage.Attr{Perm: &perm}), nil)
				if info, err := tree.Stat(t.Context(), name); err != nil || info.Mode.Perm() != perm {
					t.Errorf("%q: got %v, %v; want %v", name, info.Mode, err, perm)
				}
			}
		}},
		{"setuid, setgid and sticky are refused", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "")
			u := create(t, tree, "g", storage.CreateOptions{})
			defer u.Abort(false)
			for _, bit := range []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky, fs.ModeDevice} {
				perm := 0o755 | bit
				want(t, "SetAttr", tree.SetAttr(t.Context(), "f", storage.Attr{Perm: &perm}), session.ErrDenied)
				want(t, "Upload.SetAttr", u.SetAttr(storage.Attr{Perm: &perm}), session.ErrDenied)
			}
			if info, err := tree.Stat(t.Context(), "f"); err != nil || info.Mode != 0o640 {
				t.Errorf("got %v, %v", info.Mode, err)
			}
		}},
		{"permissions that shut everybody out", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "")
			for _, perm := range []fs.FileMode{0, 0o600} {
				want(t, "SetAttr", tree.SetAttr(t.Context(), "f", storage.Attr{Perm: &perm}), nil)
			}
		}},
		{"a file that may not be written", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			perm, size := fs.FileMode(0o444), int64(0)
			want(t, "SetAttr", tree.SetAttr(t.Context(), "f", storage.Attr{Perm: &perm}), nil)
			_, err := tree.Create(t.Context(), "f", storage.CreateOptions{})
			want(t, "Create", err, session.ErrDenied)
			want(t, "SetAttr", tree.SetAttr(t.Context(), "f", storage.Attr{Size: &size}), session.ErrDenied)
			wantContent(t, tree, "f", "content")
		}},
		{"times", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "")
			mkdir(t, tree, "d")
			for _, name := range []string{"f", "d"} {
				want(t, "SetAttr", tree.SetAttr(t.Context(), name, storage.Attr{ModTime: &when}), nil)
				info, err := tree.Stat(t.Context(), name)
				if err != nil || !info.ModTime.Equal(when) {
					t.Errorf("%q: got %v, %v; want %v", name, info.ModTime, err, when)
				}
				want(t, "SetAttr", tree.SetAttr(t.Context(), name, storage.Attr{Access: &when}), nil)
				info, err = tree.Stat(t.Context(), name)
				if err != nil || !info.ModTime.Equal(when) || !info.Access.IsZero() && !info.Access.Equal(when) {
					t.Errorf("%q: got %+v, %v", name, info, err)
				}
			}
		}},
		{"size", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			size := int64(3)
			want(t, "SetAttr", tree.SetAttr(t.Context(), "f", storage.Attr{Size: &size, ModTime: &when}), nil)
			wantContent(t, tree, "f", "con")
			if info, err := tree.Stat(t.Context(), "f"); err != nil || !info.ModTime.Equal(when) {
				t.Errorf("got %v, %v; want %v", info.ModTime, err, when)
			}
			size = 5
			want(t, "SetAttr", tree.SetAttr(t.Context(), "f", storage.Attr{Size: &size}), nil)
			wantContent(t, tree, "f", "con\x00\x00")
			size = -1
			want(t, "SetAttr", tree.SetAttr(t.Context(), "f", storage.Attr{Size: &size}), session.ErrRange)
			mkdir(t, tree, "d")
			want(t, "SetAttr of a folder", tree.SetAttr(t.Context(), "d", storage.Attr{Size: &size}), session.ErrRange)
			size = 0
			want(t, "SetAttr of a folder", tree.SetAttr(t.Context(), "d", storage.Attr{Size: &size}), session.ErrIsDirectory)
			want(t, "SetAttr of nothing", tree.SetAttr(t.Context(), "none", storage.Attr{Size: &size}), session.ErrNotExist)
		}},
		{"of an upload", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "old")
			u := create(t, tree, "f", storage.CreateOptions{})
			writeAt(t, u, "content", 0)
			size, perm := int64(4), fs.FileMode(0o600)
			want(t, "SetAttr", u.SetAttr(storage.Attr{Size: &size, Perm: &perm, ModTime: &when}), nil)
			if info, err := u.Stat(); err != nil || info.Size != 4 || info.Mode != perm {
				t.Errorf("Stat of the upload: got %+v, %v", info, err)
			}
			if info, err := tree.Stat(t.Context(), "f"); err != nil || info.Mode != 0o640 || info.Size != 3 {
				t.Errorf("before Commit: got %+v, %v", info, err)
			}
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "f", "cont")
			if info, err := tree.Stat(t.Context(), "f"); err != nil || info.Mode != perm || !info.ModTime.Equal(when) {
				t.Errorf("after Commit: got %+v, %v", info, err)
			}
		}},
		{"through a link", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			symlink(t, tree, "f", "l")
			want(t, "SetAttr", tree.SetAttr(t.Context(), "l", storage.Attr{ModTime: &when}), nil)
			if info, err := tree.Stat(t.Context(), "f"); err != nil || !info.ModTime.Equal(when) {
				t.Errorf("got %v, %v", info.ModTime, err)
			}
		}},
		{"of a link itself", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			mkdir(t, tree, "d")
			symlink(t, tree, "f", "l")
			symlink(t, tree, "none", "dangling")
			symlink(t, tree, "d", "through")
			symlink(t, tree, "../f", "d/l")
			before, err := tree.Stat(t.Context(), "f")
			want(t, "Stat", err, nil)
			for _, name := range []string{"l", "dangling", "through/l"} {
				want(t, name, tree.LsetAttr(t.Context(), name, storage.Attr{ModTime: &when, Access: &when}), nil)
				if info, err := tree.Lstat(t.Context(), name); err != nil || !info.ModTime.Equal(when) {
					t.Errorf("%s: got %v, %v; want %v", name, info.ModTime, err, when)
				}
			}
			perm, size := fs.FileMode(0o600), int64(0)
			want(t, "permissions", tree.LsetAttr(t.Context(), "l", storage.Attr{Perm: &perm}), session.ErrUnsupported)
			want(t, "size", tree.LsetAttr(t.Context(), "l", storage.Attr{Size: &size}), session.ErrUnsupported)
			if info, err := tree.Stat(t.Context(), "f"); err != nil || !info.ModTime.Equal(before.ModTime) || info.Mode != before.Mode || info.Size != 7 {
				t.Errorf("what the link leads to: got %+v, %v; want %+v", info, err, before)
			}
			want(t, "file", tree.LsetAttr(t.Context(), "f", storage.Attr{Perm: &perm, ModTime: &when}), nil)
			if info, err := tree.Stat(t.Context(), "f"); err != nil || info.Mode != perm || !info.ModTime.Equal(when) {
				t.Errorf("file: got %+v, %v", info, err)
			}
			want(t, "nothing", tree.LsetAttr(t.Context(), "none", storage.Attr{ModTime: &when}), session.ErrNotExist)
		}},
	}
}

func fileCases() []testCase {
	return []testCase{
		{"read at any offset", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			file, err := tree.Open(t.Context(), "f")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			p := make([]byte, 4)
			if n, err := file.ReadAt(p, 5); n != 2 || err != io.EOF || string(p[:n]) != "nt" {
				t.Errorf("at the end: got %q, %v", p[:n], err)
			}
			if n, err := file.ReadAt(p, 7); n != 0 || err != io.EOF {
				t.Errorf("behind the end: got %d, %v", n, err)
			}
			if n, err := file.ReadAt(p, 1); n != 4 || err != nil || string(p) != "onte" {
				t.Errorf("inside: got %q, %v", p, err)
			}
			_, err = file.ReadAt(p, -1)
			want(t, "negative offset", err, session.ErrRange)
		}},
		{"the system's file", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			file, err := tree.Open(t.Context(), "f")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if file.OS() == nil {
				t.Skip("the backend has no files of the operating system")
			}
			if got, err := io.ReadAll(file.OS()); string(got) != "content" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			if _, err := file.OS().WriteString("x"); err == nil {
				t.Error("a file open for reading could be written")
			}
		}},
		{"what cannot be opened", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			_, err := tree.Open(t.Context(), "d")
			want(t, "folder", err, session.ErrIsDirectory)
			_, err = tree.Open(t.Context(), ".")
			want(t, "root", err, session.ErrIsDirectory)
			_, err = tree.Open(t.Context(), "none")
			want(t, "nothing", err, session.ErrNotExist)
		}},
		{"stat follows the open file", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			file, err := tree.Open(t.Context(), "f")
			if err != nil {
				t.Fatal(err)
			}
			want(t, "Rename", tree.Rename(t.Context(), "f", "g", false), nil)
			if info, err := file.Stat(); err != nil || info.Size != 7 {
				t.Errorf("got %+v, %v", info, err)
			}
			want(t, "Close", file.Close(), nil)
		}},
		{"identity", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "")
			put(t, tree, "g", "")
			f, err1 := tree.Stat(t.Context(), "f")
			g, err2 := tree.Stat(t.Context(), "g")
			if err1 != nil || err2 != nil || f.ID != 0 && f.ID == g.ID {
				t.Errorf("got %+v, %v and %+v, %v", f, err1, g, err2)
			}
		}},
	}
}
