package storagetest

import (
	"testing"

	"gateway/session"
	"gateway/storage"
)

// renameCases are the matrix of what is moved onto what.
func renameCases() []testCase {
	// prepare makes: a file f, a folder d with d/in, an empty folder e.
	prepare := func(t *testing.T, tree storage.FS) {
		put(t, tree, "f", "file")
		mkdir(t, tree, "d")
		put(t, tree, "d/in", "inside")
		mkdir(t, tree, "e")
	}
	matrix := []struct {
		name, from, to string
		overwrite      bool
		want           error
	}{
		{"file to nothing", "f", "g", false, nil},
		{"file to nothing, overwriting", "f", "g", true, nil},
		{"file into a folder", "f", "d/g", false, nil},
		{"file over a file", "f", "d/in", false, session.ErrExist},
		{"file over a file, overwriting", "f", "d/in", true, nil},
		{"file over a folder", "f", "e", false, session.ErrExist},
		{"file over a folder, overwriting", "f", "e", true, session.ErrIsDirectory},
		{"file onto itself", "f", "f", false, session.ErrExist},
		{"file onto itself, overwriting", "f", "f", true, nil},
		{"file under a file", "f", "d/in/g", true, session.ErrNotDirectory},
		{"file under nothing", "f", "none/g", true, session.ErrNotExist},
		{"file into itself", "f", "f/g", true, session.ErrNotDirectory},
		{"folder to nothing", "d", "g", false, nil},
		{"folder into a folder", "d", "e/d", false, nil},
		{"folder over an empty folder", "d", "e", false, session.ErrExist},
		{"folder over an empty folder, overwriting", "d", "e", true, nil},
		{"folder over a full folder, overwriting", "e", "d", true, session.ErrNotEmpty},
		{"folder over a file", "d", "f", false, session.ErrExist},
		{"folder over a file, overwriting", "d", "f", true, session.ErrNotDirectory},
		{"folder onto itself, overwriting", "d", "d", true, nil},
		{"folder into itself", "d", "d/g", false, session.ErrName},
		{"folder over its own file", "d", "d/in", true, session.ErrName},
		{"file over its own folder, overwriting", "d/in", "d", true, session.ErrIsDirectory},
		{"nothing to nothing", "none", "g", false, session.ErrNotExist},
		{"nothing over a file", "none", "f", true, session.ErrNotExist},
	}
	cases := []testCase{
		{"folder into itself through a link", func(t *testing.T, tree storage.FS) {
			prepare(t, tree)
			symlink(t, tree, "d", "l")
			want(t, "Rename", tree.Rename(t.Context(), "d", "l/g", false), session.ErrName)
			wantContent(t, tree, "d/in", "inside")
		}},
		{"file onto itself through a link", func(t *testing.T, tree storage.FS) {
			prepare(t, tree)
			symlink(t, tree, "d", "l")
			want(t, "Rename", tree.Rename(t.Context(), "d/in", "l/in", true), nil)
			wantContent(t, tree, "d/in", "inside")
		}},
		{"interrupted upload is not a file yet", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "half")
			want(t, "Rename", tree.Rename(t.Context(), "a", "b", false), session.ErrNotExist)
			wantSize(t, tree, "a", 4)
		}},
	}
	for _, m := range matrix {
		cases = append(cases, testCase{m.name, func(t *testing.T, tree storage.FS) {
			prepare(t, tree)
			before, existed := tree.Lstat(t.Context(), m.from)
			want(t, "Rename", tree.Rename(t.Context(), m.from, m.to, m.overwrite), m.want)
			if m.want != nil {
				wantContent(t, tree, "f", "file")
				wantContent(t, tree, "d/in", "inside")
				return
			}
			after, err := tree.Lstat(t.Context(), m.to)
			if existed != nil || err != nil || after.Size != before.Size || after.Mode != before.Mode || after.ID != before.ID {
				t.Errorf("moved %+v to %+v, %v", before, after, err)
			}
			if m.from != m.to {
				wantGone(t, tree, m.from)
			}
		}})
	}
	return cases
}
