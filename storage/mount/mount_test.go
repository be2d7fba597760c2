package mount_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/local"
	"gateway/storage/mount"
	"gateway/storage/storagetest"
)

func folder(t *testing.T) *local.FS {
	t.Helper()
	tree, err := local.Open(t.TempDir(), local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return tree
}

func opens(tree storage.FS) func(context.Context) (storage.FS, error) {
	return func(context.Context) (storage.FS, error) { return tree, nil }
}

// beside hides the mount point from the suite, to which the tree is then as the base.
type beside struct{ *mount.FS }

func (b beside) List(ctx context.Context, name string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for info, err := range b.FS.List(ctx, name) {
			if (info.Name != "zz-mounted" || name != ".") && !yield(info, err) {
				return
			}
		}
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) storage.FS {
		return beside{mount.New(folder(t), mount.Mount{Point: "zz-mounted/deep", Open: opens(folder(t))})}
	})
}

func put(t *testing.T, tree storage.FS, name, content string) {
	t.Helper()
	u, err := tree.Create(t.Context(), name, storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, tree storage.FS, name string) string {
	t.Helper()
	f, err := tree.Open(t.Context(), name)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// list is the entries of a folder, folders with a slash.
func list(t *testing.T, tree storage.FS, name string) string {
	t.Helper()
	var out []string
	for info, err := range tree.List(t.Context(), name) {
		if err != nil {
			return err.Error()
		}
		entry := info.Name
		if info.IsDir() {
			entry += "/"
		}
		out = append(out, entry)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestTwoTreesAreOne(t *testing.T) {
	t.Parallel()
	base, old, deep := folder(t), folder(t), folder(t)
	put(t, base, "a", "base")
	put(t, base, "archive", "hidden, and a file at that")
	put(t, old, "a", "old")
	put(t, deep, "b", "deep")
	tree := mount.New(base, mount.Mount{Point: "archive", Open: opens(old)}, mount.Mount{Point: "data/2019/all", Open: opens(deep)})
	for name, want := range map[string]string{
		".": "a archive/ data/", "archive": "a", "data": "2019/", "data/2019": "all/", "data/2019/all": "b",
	} {
		if got := list(t, tree, name); got != want {
			t.Errorf("list %s: got %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"a": "base", "archive/a": "old", "data/2019/all/b": "deep"} {
		if got := get(t, tree, name); got != want {
			t.Errorf("get %s: got %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"archive", "data", "data/2019", "data/2019/all"} {
		if info, err := tree.Stat(t.Context(), name); err != nil || !info.IsDir() || info.Name != name[strings.LastIndexByte(name, '/')+1:] {
			t.Errorf("stat %s: got %+v, %v, want a folder", name, info, err)
		}
	}
	// A folder on the way to a mount point comes to be in the base when something is put there.
	put(t, tree, "data/2019/beside", "x")
	if got := list(t, tree, "data/2019"); got != "all/ beside" {
		t.Errorf("got %q", got)
	}
	if got := list(t, base, "data/2019"); got != "beside" {
		t.Errorf("the base has %q", got)
	}
	if err := tree.Rename(t.Context(), "archive/a", "archive/c", false); err != nil || list(t, old, ".") != "c" {
		t.Errorf("rename within a mount: %v, %q", err, list(t, old, "."))
	}
	if !tree.Uncounted("archive/c") || tree.Uncounted("a") || tree.Uncounted("data/2019/beside") {
		t.Error("what is counted is not what is in the base")
	}
}

// A mount point stays where it is, and nothing goes over the border.
func TestBorders(t *testing.T) {
	t.Parallel()
	base, old := folder(t), folder(t)
	put(t, base, "a", "base")
	put(t, old, "a", "old")
	if err := base.Mkdir(t.Context(), "data"); err != nil {
		t.Fatal(err)
	}
	tree := mount.New(base, mount.Mount{Point: "data/old", Open: opens(old)})
	ctx := t.Context()
	for name, tc := range map[string]struct {
		err  error
		kind error
	}{
		"out":                         {tree.Rename(ctx, "data/old/a", "b", false), syscall.EXDEV},
		"out, as FTP says it":         {tree.Rename(ctx, "data/old/a", "b", false), session.ErrUnsupported},
		"in":                          {tree.Rename(ctx, "a", "data/old/b", true), syscall.EXDEV},
		"second name over the border": {tree.Link(ctx, "a", "data/old/b"), syscall.EXDEV},
		"link over the border":        {tree.Symlink(ctx, "data/old/a", "l"), syscall.EXDEV},
		"link out":                    {tree.Symlink(ctx, "../../a", "data/old/l"), syscall.EXDEV},
		"the point is moved":          {tree.Rename(ctx, "data/old", "x", false), session.ErrDenied},
		"what is above is moved":      {tree.Rename(ctx, "data", "x", true), session.ErrDenied},
		"the point is replaced":       {tree.Rename(ctx, "a", "data/old", true), session.ErrDenied},
		"the point is taken":          {tree.Rename(ctx, "a", "data/old", false), session.ErrExist},
		"the point is removed":        {tree.RemoveDir(ctx, "data/old"), session.ErrDenied},
		"what is above is removed":    {tree.RemoveDir(ctx, "data"), session.ErrNotEmpty},
		"the point as a file":         {tree.Remove(ctx, "data/old"), session.ErrIsDirectory},
		"the point is made":           {tree.Mkdir(ctx, "data/old"), session.ErrExist},
		"the point is written":        {second(tree.Create(ctx, "data/old", storage.CreateOptions{})), session.ErrIsDirectory},
		"the point is read":           {second(tree.Open(ctx, "data/old")), session.ErrIsDirectory},
		"a name with dots":            {second(tree.Open(ctx, "data/old/../../a")), session.ErrName},
	} {
		if !errors.Is(tc.err, tc.kind) {
			t.Errorf("%s: got %v, want %v", name, tc.err, tc.kind)
		}
	}
	if err := tree.Symlink(ctx, "a", "data/old/l"); err != nil || get(t, tree, "data/old/l") != "old" {
		t.Errorf("a link within: %v, %q", err, get(t, tree, "data/old/l"))
	}
	if err := tree.Symlink(ctx, "/data/old/a", "data/old/m"); err != nil || get(t, tree, "data/old/m") != "old" {
		t.Errorf("a link from the root: %v, %q", err, get(t, tree, "data/old/m"))
	}
	if target, err := tree.Readlink(ctx, "data/old/m"); err != nil || target != "a" {
		t.Errorf("it leads to %q, %v", target, err)
	}
}

func second[T any](_ T, err error) error { return err }

// A tree that cannot be reached takes nothing else with it, is not asked for at each look, and
// comes back.
func TestTreeThatIsAway(t *testing.T) {
	t.Parallel()
	base, old := folder(t), folder(t)
	put(t, base, "a", "base")
	put(t, old, "a", "old")
	synctest.Test(t, func(t *testing.T) {
		away, asked := true, 0
		tree := mount.New(base, mount.Mount{Point: "archive", Open: func(context.Context) (storage.FS, error) {
			if asked++; away {
				return nil, errors.New("no route to host")
			}
			return old, nil
		}})
		if got := list(t, tree, "."); got != "a archive/" || asked != 0 {
			t.Errorf("got %q, asked %d times", got, asked)
		}
		for range 3 {
			if err := second(tree.Open(t.Context(), "archive/a")); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("got %v, want unavailable", err)
			}
		}
		if got := get(t, tree, "a"); got != "base" || asked != 1 {
			t.Errorf("got %q, asked %d times, want once", got, asked)
		}
		away = false
		time.Sleep(time.Minute)
		if got := get(t, tree, "archive/a"); got != "old" || asked != 2 {
			t.Errorf("got %q, asked %d times", got, asked)
		}
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
		if err := second(tree.Open(t.Context(), "archive/a")); err == nil {
			t.Error("it is open after Close")
		}
	})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for points, good := range map[string]bool{
		"a": true, "a b": true, "a/b a/c": true, ".": false, "/a": false, "a/": false, "a/../b": false, "a a": false, "a a/b": false, "a/b/c a": false, "ab a": true,
	} {
		if err := mount.Check(strings.Fields(points)...); (err == nil) != good {
			t.Errorf("%s: got %v, want good: %v", points, err, good)
		}
	}
}
