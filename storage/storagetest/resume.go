package storagetest

import (
	"context"
	"testing"

	"gateway/session"
	"gateway/storage"
)

func resumeCases() []testCase {
	return []testCase{
		{"stat shows what is there", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "half")
			info, err := tree.Stat(t.Context(), "a")
			if err != nil || info.Size != 4 || info.Name != "a" || !info.Mode.IsRegular() {
				t.Errorf("Stat: got %+v, %v", info, err)
			}
			info, err = tree.Lstat(t.Context(), "a")
			if err != nil || info.Size != 4 || info.Name != "a" {
				t.Errorf("Lstat: got %+v, %v", info, err)
			}
		}},
		{"is not listed and not opened", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "half")
			if got := list(t, tree, "."); len(got) != 0 {
				t.Errorf("listed %v", got)
			}
			_, err := tree.Open(t.Context(), "a")
			want(t, "Open", err, session.ErrNotExist)
		}},
		{"goes on", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "hello ")
			u := create(t, tree, "a", storage.CreateOptions{Keep: 6})
			writeAt(t, u, "world", 6)
			wantGone(t, tree, "a")
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "hello world")
		}},
		{"goes on from before the end", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "hello garbage")
			u := create(t, tree, "a", storage.CreateOptions{Keep: 6})
			if info, err := u.Stat(); err != nil || info.Size != 6 {
				t.Errorf("kept %d, %v; want 6", info.Size, err)
			}
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "hello ")
		}},
		{"all that is there", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "hello")
			u := create(t, tree, "a", storage.CreateOptions{Keep: storage.KeepAll, Existing: true})
			writeAt(t, u, "!", 5)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "hello!")
		}},
		{"several times", func(t *testing.T, tree storage.FS) {
			for i := range int64(5) {
				u := create(t, tree, "a", storage.CreateOptions{Keep: i})
				writeAt(t, u, "x", i)
				want(t, "Abort", u.Abort(true), nil)
				wantSize(t, tree, "a", i+1)
			}
			u := create(t, tree, "a", storage.CreateOptions{Keep: 5})
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "xxxxx")
		}},
		{"behind the end", func(t *testing.T, tree storage.FS) {
			_, err := tree.Create(t.Context(), "none", storage.CreateOptions{Keep: 1})
			want(t, "Create of nothing", err, session.ErrRange)
			interrupt(t, tree, "a", "half")
			_, err = tree.Create(t.Context(), "a", storage.CreateOptions{Keep: 5})
			want(t, "Create behind an interrupted upload", err, session.ErrRange)
			wantSize(t, tree, "a", 4)
			put(t, tree, "b", "whole")
			_, err = tree.Create(t.Context(), "b", storage.CreateOptions{Keep: 6})
			want(t, "Create behind a file", err, session.ErrRange)
			wantContent(t, tree, "b", "whole")
			_, err = tree.Create(t.Context(), "b", storage.CreateOptions{Keep: -2})
			want(t, "negative Keep", err, session.ErrRange)
		}},
		{"from a file", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "hello there")
			u := create(t, tree, "a", storage.CreateOptions{Keep: 6})
			writeAt(t, u, "world", 6)
			wantContent(t, tree, "a", "hello there")
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "hello world")
		}},
		{"append", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "one")
			u := create(t, tree, "a", storage.CreateOptions{Keep: storage.KeepAll})
			writeAt(t, u, "two", 3)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "onetwo")
		}},
		{"append to nothing", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{Keep: storage.KeepAll})
			writeAt(t, u, "one", 0)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "one")
			_, err := tree.Create(t.Context(), "b", storage.CreateOptions{Keep: storage.KeepAll, Existing: true})
			want(t, "Create of nothing", err, session.ErrNotExist)
		}},
		{"interrupted append is never seen", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "one")
			u := create(t, tree, "a", storage.CreateOptions{Keep: storage.KeepAll})
			writeAt(t, u, "two", 3)
			want(t, "Abort", u.Abort(true), nil)
			wantContent(t, tree, "a", "one")
			wantSize(t, tree, "a", 3)
			want(t, "Remove", tree.Remove(t.Context(), "a"), nil)
			wantGone(t, tree, "a")
		}},
		{"fresh upload forgets it", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "long and old")
			u := create(t, tree, "a", storage.CreateOptions{})
			if info, err := u.Stat(); err != nil || info.Size != 0 {
				t.Errorf("began with %d bytes, %v; want 0", info.Size, err)
			}
			writeAt(t, u, "new", 0)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "new")
			want(t, "Remove", tree.Remove(t.Context(), "a"), nil)
			wantGone(t, tree, "a")
		}},
		{"remove forgets it", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "half")
			want(t, "Remove", tree.Remove(t.Context(), "a"), nil)
			wantGone(t, tree, "a")
			want(t, "second Remove", tree.Remove(t.Context(), "a"), session.ErrNotExist)
		}},
		{"does not come back after a rename", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "half")
			put(t, tree, "b", "whole")
			want(t, "Rename", tree.Rename(t.Context(), "b", "a", false), nil)
			want(t, "Rename", tree.Rename(t.Context(), "a", "c", false), nil)
			wantGone(t, tree, "a")
			wantContent(t, tree, "c", "whole")
		}},
		{"in a folder", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			interrupt(t, tree, "d/a", "half")
			wantSize(t, tree, "d/a", 4)
			wantGone(t, tree, "a")
			want(t, "Rename", tree.Rename(t.Context(), "d", "e", false), nil)
			wantSize(t, tree, "e/a", 4)
		}},
		{"is told from a file", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "half")
			for _, stat := range []func(context.Context, string) (storage.Info, error){tree.Stat, tree.Lstat} {
				if info, err := stat(t.Context(), "a"); err != nil || !info.Partial {
					t.Errorf("got %+v, %v", info, err)
				}
			}
			put(t, tree, "a", "whole")
			if info, err := tree.Stat(t.Context(), "a"); err != nil || info.Partial {
				t.Errorf("got %+v, %v", info, err)
			}
		}},
		{"exclusive goes on", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "hello ")
			u := create(t, tree, "a", storage.CreateOptions{Keep: 6, Exclusive: true})
			writeAt(t, u, "world", 6)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "hello world")
			_, err := tree.Create(t.Context(), "a", storage.CreateOptions{Keep: 6, Exclusive: true})
			want(t, "again", err, session.ErrExist)
		}},
		{"exclusive begins anew", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "half")
			u := create(t, tree, "a", storage.CreateOptions{Exclusive: true})
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "")
		}},
	}
}
