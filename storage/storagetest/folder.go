package storagetest

import (
	"context"
	"fmt"
	"testing"

	"gateway/session"
	"gateway/storage"
)

func folderCases() []testCase {
	return []testCase{
		{"mkdir", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			if info, err := tree.Stat(t.Context(), "d"); err != nil || !info.IsDir() || info.Name != "d" {
				t.Errorf("Stat: got %+v, %v", info, err)
			}
			want(t, "second Mkdir", tree.Mkdir(t.Context(), "d"), session.ErrExist)
			want(t, "Mkdir in nothing", tree.Mkdir(t.Context(), "x/y"), session.ErrNotExist)
			put(t, tree, "f", "")
			want(t, "Mkdir at a file", tree.Mkdir(t.Context(), "f"), session.ErrExist)
			want(t, "Mkdir under a file", tree.Mkdir(t.Context(), "f/d"), session.ErrNotDirectory)
			want(t, "Mkdir of the root", tree.Mkdir(t.Context(), "."), session.ErrDenied)
		}},
		{"root", func(t *testing.T, tree storage.FS) {
			if info, err := tree.Stat(t.Context(), "."); err != nil || !info.IsDir() {
				t.Errorf("Stat: got %+v, %v", info, err)
			}
			want(t, "Remove", tree.Remove(t.Context(), "."), session.ErrDenied)
			want(t, "RemoveDir", tree.RemoveDir(t.Context(), "."), session.ErrDenied)
			want(t, "Rename", tree.Rename(t.Context(), ".", "d", true), session.ErrDenied)
			want(t, "Rename onto it", tree.Rename(t.Context(), "d", ".", true), session.ErrDenied)
			want(t, "SetAttr", tree.SetAttr(t.Context(), ".", storage.Attr{}), session.ErrDenied)
			if got := list(t, tree, "."); len(got) != 0 {
				t.Errorf("a new tree has %v", got)
			}
		}},
		{"list", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			mkdir(t, tree, "d/e")
			put(t, tree, "d/f", "content")
			interrupt(t, tree, "d/half", "x")
			got := list(t, tree, "d")
			if len(got) != 2 || !got["e"].IsDir() || got["f"].Size != 7 || got["f"].ModTime.IsZero() {
				t.Errorf("got %+v", got)
			}
		}},
		{"list of many", func(t *testing.T, tree storage.FS) {
			const n = 700
			for i := range n {
				put(t, tree, fmt.Sprintf("f%04d", i), "")
			}
			if got := len(list(t, tree, ".")); got != n {
				t.Errorf("got %d, want %d", got, n)
			}
		}},
		{"list of what is no folder", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "")
			want(t, "file", listError(t, tree, "f"), session.ErrNotDirectory)
			want(t, "nothing", listError(t, tree, "none"), session.ErrNotExist)
		}},
		{"list left early, and with a context that is over", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "")
			put(t, tree, "b", "")
			n := 0
			for range tree.List(t.Context(), ".") {
				n++
				break
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for _, err := range tree.List(ctx, ".") {
				want(t, "List", err, context.Canceled)
				n++
			}
			if n != 2 {
				t.Errorf("got %d steps, want 2", n)
			}
		}},
		{"list while it changes", func(t *testing.T, tree storage.FS) {
			for i := range 300 {
				put(t, tree, fmt.Sprint(i), "")
			}
			for info, err := range tree.List(t.Context(), ".") {
				if err != nil {
					t.Fatal(err)
				}
				want(t, "Remove", tree.Remove(t.Context(), info.Name), nil)
			}
		}},
		{"remove", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "")
			mkdir(t, tree, "d")
			want(t, "Remove", tree.Remove(t.Context(), "f"), nil)
			wantGone(t, tree, "f")
			want(t, "Remove of nothing", tree.Remove(t.Context(), "f"), session.ErrNotExist)
			want(t, "Remove of a folder", tree.Remove(t.Context(), "d"), session.ErrIsDirectory)
		}},
		{"rmdir", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			put(t, tree, "d/f", "")
			want(t, "RemoveDir of a full one", tree.RemoveDir(t.Context(), "d"), session.ErrNotEmpty)
			want(t, "RemoveDir of a file", tree.RemoveDir(t.Context(), "d/f"), session.ErrNotDirectory)
			want(t, "RemoveDir of nothing", tree.RemoveDir(t.Context(), "e"), session.ErrNotExist)
			want(t, "Remove", tree.Remove(t.Context(), "d/f"), nil)
			want(t, "RemoveDir", tree.RemoveDir(t.Context(), "d"), nil)
			wantGone(t, tree, "d")
		}},
		{"rmdir takes interrupted uploads along", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			put(t, tree, "d/f", "")
			interrupt(t, tree, "d/half", "x")
			want(t, "RemoveDir of a full one", tree.RemoveDir(t.Context(), "d"), session.ErrNotEmpty)
			wantSize(t, tree, "d/half", 1)
			want(t, "Remove", tree.Remove(t.Context(), "d/f"), nil)
			want(t, "RemoveDir", tree.RemoveDir(t.Context(), "d"), nil)
			wantGone(t, tree, "d")
		}},
		{"rmdir under an upload", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			u := create(t, tree, "d/f", storage.CreateOptions{})
			want(t, "RemoveDir", tree.RemoveDir(t.Context(), "d"), session.ErrBusy)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "d/f", "")
		}},
		{"upload into a folder that is moved", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			u := create(t, tree, "d/f", storage.CreateOptions{})
			want(t, "Rename", tree.Rename(t.Context(), "d", "e", false), nil)
			err := u.Commit(t.Context())
			_, here := tree.Stat(t.Context(), "d/f")
			_, there := tree.Stat(t.Context(), "e/f")
			if (err == nil) != (here == nil || there == nil) {
				t.Errorf("Commit said %v; Stat says %v and %v", err, here, there)
			}
		}},
		{"context that is over", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := tree.Open(ctx, "f")
			want(t, "Open", err, context.Canceled)
			_, err = tree.Create(ctx, "f", storage.CreateOptions{})
			want(t, "Create", err, context.Canceled)
			want(t, "Remove", tree.Remove(ctx, "f"), context.Canceled)
			want(t, "Mkdir", tree.Mkdir(ctx, "d"), context.Canceled)
			want(t, "Rename", tree.Rename(ctx, "f", "g", true), context.Canceled)
			wantContent(t, tree, "f", "content")
		}},
		{"space", func(t *testing.T, tree storage.FS) {
			space, err := tree.Space(t.Context())
			if err != nil || space.Total == 0 || space.Free > space.Total || space.Available > space.Total {
				t.Errorf("got %+v, %v", space, err)
			}
		}},
	}
}
