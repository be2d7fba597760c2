package storagetest

import (
	"context"
	"io/fs"
	"strings"
	"testing"

	"gateway/session"
	"gateway/storage"
)

func uploadCases() []testCase {
	return []testCase{
		{"appears at commit only", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{})
			writeAt(t, u, "hello", 0)
			wantGone(t, tree, "a")
			if n := len(list(t, tree, ".")); n != 0 {
				t.Errorf("listed %d names during the upload, want 0", n)
			}
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "hello")
		}},
		{"out of order", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{})
			writeAt(t, u, "world", 5)
			writeAt(t, u, "hello", 0)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "helloworld")
		}},
		{"hole reads as zeros", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{})
			writeAt(t, u, "x", 3)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "\x00\x00\x00x")
		}},
		{"empty file", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "")
			wantContent(t, tree, "a", "")
		}},
		{"reads back what was written", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{})
			defer u.Abort(false)
			writeAt(t, u, "hello", 0)
			p := make([]byte, 3)
			if _, err := u.ReadAt(p, 1); err != nil || string(p) != "ell" {
				t.Errorf("ReadAt: got %q, %v", p, err)
			}
			if info, err := u.Stat(); err != nil || info.Size != 5 || info.Name != "a" {
				t.Errorf("Stat: got %+v, %v", info, err)
			}
			want(t, "Sync", u.Sync(), nil)
			wantGone(t, tree, "a")
		}},
		{"negative offset", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{})
			defer u.Abort(false)
			_, err := u.WriteAt([]byte("x"), -1)
			want(t, "WriteAt", err, session.ErrRange)
			_, err = u.ReadAt([]byte("x"), -1)
			want(t, "ReadAt", err, session.ErrRange)
		}},
		{"replaces", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "a longer text")
			put(t, tree, "a", "new")
			wantContent(t, tree, "a", "new")
		}},
		{"abort leaves the old", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "old")
			for _, resumable := range []bool{false, true} {
				u := create(t, tree, "a", storage.CreateOptions{})
				writeAt(t, u, "newer", 0)
				want(t, "Abort", u.Abort(resumable), nil)
				wantContent(t, tree, "a", "old")
				wantSize(t, tree, "a", 3)
			}
		}},
		{"abort without resume leaves nothing", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{})
			writeAt(t, u, "hello", 0)
			want(t, "Abort", u.Abort(false), nil)
			wantGone(t, tree, "a")
		}},
		{"ended once", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{})
			want(t, "Commit", u.Commit(t.Context()), nil)
			want(t, "second Commit", u.Commit(t.Context()), session.ErrClosed)
			want(t, "Abort after Commit", u.Abort(false), session.ErrClosed)
			wantContent(t, tree, "a", "")
		}},
		{"commit with a context that is over", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "old")
			u := create(t, tree, "a", storage.CreateOptions{})
			writeAt(t, u, "new", 0)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			want(t, "Commit", u.Commit(ctx), context.Canceled)
			wantContent(t, tree, "a", "old")
		}},
		{"exclusive", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{Exclusive: true})
			want(t, "Commit", u.Commit(t.Context()), nil)
			_, err := tree.Create(t.Context(), "a", storage.CreateOptions{Exclusive: true})
			want(t, "second exclusive Create", err, session.ErrExist)
		}},
		{"exclusive to the end", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{Exclusive: true})
			writeAt(t, u, "late", 0)
			put(t, tree, "a", "early")
			want(t, "Commit", u.Commit(t.Context()), session.ErrExist)
			wantContent(t, tree, "a", "early")
		}},
		{"existing", func(t *testing.T, tree storage.FS) {
			_, err := tree.Create(t.Context(), "a", storage.CreateOptions{Existing: true})
			want(t, "Create of nothing", err, session.ErrNotExist)
			put(t, tree, "a", "x")
			u := create(t, tree, "a", storage.CreateOptions{Existing: true})
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "")
		}},
		{"replacing", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "half")
			_, err := tree.Create(t.Context(), "a", storage.CreateOptions{Replacing: true, Keep: storage.KeepAll})
			want(t, "Create where no file is", err, session.ErrNotExist)
			wantSize(t, tree, "a", 4)
			put(t, tree, "a", "old")
			u := create(t, tree, "a", storage.CreateOptions{Replacing: true})
			want(t, "Remove", tree.Remove(t.Context(), "a"), nil)
			want(t, "Commit", u.Commit(t.Context()), session.ErrNotExist)
			wantGone(t, tree, "a")
		}},
		{"append to what came meanwhile", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{Append: true})
			writeAt(t, u, "second", 0)
			put(t, tree, "a", "first")
			want(t, "Commit", u.Commit(t.Context()), session.ErrExist)
			wantContent(t, tree, "a", "first")
		}},
		{"permissions", func(t *testing.T, tree storage.FS) {
			put(t, tree, "default", "")
			u := create(t, tree, "asked", storage.CreateOptions{Perm: 0o600})
			want(t, "Commit", u.Commit(t.Context()), nil)
			for name, perm := range map[string]fs.FileMode{"default": 0o640, "asked": 0o600} {
				if info, err := tree.Stat(t.Context(), name); err != nil || info.Mode != perm {
					t.Errorf("mode of %q: got %v, %v; want %v", name, info.Mode, err, perm)
				}
			}
		}},
		{"existing permissions stay", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{Perm: 0o604})
			want(t, "Commit", u.Commit(t.Context()), nil)
			u = create(t, tree, "a", storage.CreateOptions{Perm: 0o777})
			want(t, "Commit", u.Commit(t.Context()), nil)
			if info, err := tree.Stat(t.Context(), "a"); err != nil || info.Mode != 0o604 {
				t.Errorf("mode: got %v, %v; want 0604", info.Mode, err)
			}
		}},
		{"setuid is refused", func(t *testing.T, tree storage.FS) {
			_, err := tree.Create(t.Context(), "a", storage.CreateOptions{Perm: 0o755 | fs.ModeSetuid})
			want(t, "Create", err, session.ErrDenied)
		}},
		{"onto a folder", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			_, err := tree.Create(t.Context(), "d", storage.CreateOptions{})
			want(t, "Create", err, session.ErrIsDirectory)
		}},
		{"a folder that came meanwhile", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{})
			mkdir(t, tree, "a")
			want(t, "Commit", u.Commit(t.Context()), session.ErrIsDirectory)
		}},
		{"in no folder", func(t *testing.T, tree storage.FS) {
			_, err := tree.Create(t.Context(), "d/a", storage.CreateOptions{})
			want(t, "Create", err, session.ErrNotExist)
			put(t, tree, "f", "")
			_, err = tree.Create(t.Context(), "f/a", storage.CreateOptions{})
			want(t, "Create under a file", err, session.ErrNotDirectory)
		}},
		{"the root", func(t *testing.T, tree storage.FS) {
			_, err := tree.Create(t.Context(), ".", storage.CreateOptions{})
			want(t, "Create", err, session.ErrDenied)
		}},
		{"longest name", func(t *testing.T, tree storage.FS) {
			name := strings.Repeat("n", 255)
			interrupt(t, tree, name, "half")
			wantSize(t, tree, name, 4)
			put(t, tree, name, "whole")
			wantContent(t, tree, name, "whole")
		}},
		{"the system's file", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "hello")
			u := create(t, tree, "a", storage.CreateOptions{Keep: 3})
			file := u.OS()
			if file == nil {
				_ = u.Abort(false)
				t.Skip("the backend has no files of the operating system")
			}
			if _, err := file.WriteString("p!"); err != nil {
				t.Errorf("write: %v", err)
			}
			writeAt(t, u, "H", 0)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "Help!")
		}},
		{"outlives the tree", func(t *testing.T, tree storage.FS) {
			put(t, tree, "old", "content")
			file, err := tree.Open(t.Context(), "old")
			want(t, "Open", err, nil)
			u := create(t, tree, "new", storage.CreateOptions{})
			want(t, "Close", tree.Close(), nil)
			if got := readAll(t, file); got != "content" {
				t.Errorf("got %q", got)
			}
			want(t, "close file", file.Close(), nil)
			writeAt(t, u, "x", 0)
			want(t, "Commit", u.Commit(t.Context()), nil)
		}},
	}
}
