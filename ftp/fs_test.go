package ftp_test

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gateway/session"
	"gateway/storage"
)

// tree is a storage.FS over a temporary folder. Uploads lie in a folder beside
// it until they are committed.
type tree struct {
	dir   string
	root  *os.Root
	parts *os.Root

	mu     sync.Mutex
	space  uint64
	commit error // what Commit returns, if set
	open   func(storage.File) storage.File
	create func(context.Context) error // what Create does first, if set
}

func newTree(t testing.TB) *tree {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = root.Close(), parts.Close() })
	return &tree{dir: dir, root: root, parts: parts, space: 1 << 40}
}

func (f *tree) put(t testing.TB, name, content string) {
	t.Helper()
	if err := f.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.root.WriteFile(name, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

func (f *tree) get(t testing.TB, name string) string {
	t.Helper()
	b, err := f.root.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (f *tree) has(name string) bool { _, err := f.root.Lstat(name); return err == nil }

func partName(name string) string { return strings.ReplaceAll(name, "/", "%") }

func info(i fs.FileInfo) storage.Info {
	return storage.Info{Name: i.Name(), Size: i.Size(), Mode: i.Mode(), ModTime: i.ModTime(), ID: 7, Links: 1}
}

func (f *tree) stat(name string, follow bool) (storage.Info, error) {
	look := f.root.Lstat
	if follow {
		look = f.root.Stat
	}
	i, err := look(name)
	if errors.Is(err, fs.ErrNotExist) {
		i, err = f.parts.Stat(partName(name))
	}
	if errors.Is(err, syscall.ENAMETOOLONG) {
		return storage.Info{}, session.ErrName
	}
	if err != nil {
		return storage.Info{}, err
	}
	got := info(i)
	got.Name = path.Base(name)
	return got, nil
}

func (f *tree) Stat(_ context.Context, name string) (storage.Info, error) { return f.stat(name, true) }
func (f *tree) Lstat(_ context.Context, name string) (storage.Info, error) {
	return f.stat(name, false)
}

func (f *tree) List(_ context.Context, name string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		entries, err := fs.ReadDir(f.root.FS(), name)
		if err != nil {
			yield(storage.Info{}, err)
			return
		}
		for _, e := range entries {
			i, err := e.Info()
			if err == nil && !yield(info(i), nil) {
				return
			}
		}
	}
}

type file struct{ *os.File }

func (f file) Stat() (storage.Info, error) {
	i, err := f.File.Stat()
	if err != nil {
		return storage.Info{}, err
	}
	return info(i), nil
}
func (f file) OS() *os.File { return f.File }

func (f *tree) Open(_ context.Context, name string) (storage.File, error) {
	opened, err := f.root.Open(name)
	if err != nil {
		return nil, err
	}
	if i, err := opened.Stat(); err != nil || !i.Mode().IsRegular() {
		_ = opened.Close()
		return nil, session.ErrIsDirectory
	}
	if f.open != nil {
		return f.open(file{opened}), nil
	}
	return file{opened}, nil
}

type upload struct {
	file
	tree *tree
	name string
}

func (f *tree) Create(ctx context.Context, name string, opts storage.CreateOptions) (storage.Upload, error) {
	if f.create != nil {
		if err := f.create(ctx); err != nil {
			return nil, err
		}
	}
	if i, err := f.root.Stat(path.Dir(name)); err != nil {
		return nil, err
	} else if !i.IsDir() {
		return nil, session.ErrNotDirectory
	}
	if i, err := f.root.Stat(name); err == nil && i.IsDir() {
		return nil, session.ErrIsDirectory
	} else if err == nil && opts.Exclusive {
		return nil, session.ErrExist
	}
	var kept []byte
	if opts.Keep != 0 {
		var err error
		if kept, err = f.root.ReadFile(name); err != nil {
			kept, _ = f.parts.ReadFile(partName(name))
		}
		if opts.Keep > int64(len(kept)) {
			return nil, session.ErrRange
		}
		if opts.Keep != storage.KeepAll {
			kept = kept[:opts.Keep]
		}
	}
	part, err := f.parts.OpenFile(partName(name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return nil, err
	}
	if _, err := part.Write(kept); err != nil {
		return nil, err
	}
	return &upload{file{part}, f, name}, nil
}

func (u *upload) SetAttr(storage.Attr) error { return nil }

func (u *upload) Commit(context.Context) error {
	u.tree.mu.Lock()
	err := u.tree.commit
	u.tree.mu.Unlock()
	if err != nil {
		return errors.Join(err, u.Abort(false))
	}
	defer u.Close()
	content, err := u.tree.parts.ReadFile(partName(u.name))
	if err != nil {
		return err
	}
	return errors.Join(u.tree.root.WriteFile(u.name, content, 0o640), u.tree.parts.Remove(partName(u.name)))
}

func (u *upload) Abort(resumable bool) error {
	err := u.Close()
	if !resumable {
		err = errors.Join(err, u.tree.parts.Remove(partName(u.name)))
	}
	return err
}

func (f *tree) Mkdir(_ context.Context, name string) error     { return f.root.Mkdir(name, 0o755) }
func (f *tree) Remove(_ context.Context, name string) error    { return f.root.Remove(name) }
func (f *tree) RemoveDir(_ context.Context, name string) error { return f.root.Remove(name) }
func (f *tree) Rename(_ context.Context, from, to string, overwrite bool) error {
	if !overwrite && f.has(to) {
		return session.ErrExist
	}
	return f.root.Rename(from, to)
}
func (f *tree) LsetAttr(ctx context.Context, name string, attr storage.Attr) error {
	return f.SetAttr(ctx, name, attr) // no front-end here asks for it
}

func (f *tree) SetAttr(_ context.Context, name string, attr storage.Attr) error {
	if attr.Perm != nil && *attr.Perm&^fs.ModePerm != 0 {
		return session.ErrDenied
	}
	if attr.Perm != nil {
		if err := f.root.Chmod(name, *attr.Perm); err != nil {
			return err
		}
	}
	if attr.ModTime != nil {
		return f.root.Chtimes(name, *attr.ModTime, *attr.ModTime)
	}
	return nil
}
func (f *tree) Readlink(_ context.Context, name string) (string, error) { return f.root.Readlink(name) }
func (f *tree) Symlink(_ context.Context, target, name string) error {
	return f.root.Symlink(target, name)
}
func (f *tree) Link(context.Context, string, string) error { return session.ErrUnsupported }
func (f *tree) Space(context.Context) (storage.Space, error) {
	return storage.Space{Available: f.space}, nil
}
func (f *tree) Usage(context.Context) (storage.Usage, error) {
	return storage.Usage{}, session.ErrUnsupported
}

func (f *tree) Close() error { return nil }
