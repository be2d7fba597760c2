package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"gateway/session"
	"gateway/storage"
)

// fakeFS is a storage.FS over two folders: the tree, and uploads under way.
type fakeFS struct {
	root, parts *os.Root
	dir         string // where the tree lies

	mu      sync.Mutex
	partial map[string]string // name to its interrupted upload in parts
	count   int

	writeFault atomic.Pointer[error] // what WriteAt and Commit fail with
	panics     atomic.Bool           // Mkdir panics
	commits    atomic.Int32
	aborts     atomic.Int32
	block      atomic.Pointer[chan struct{}] // Commit waits for it
}

func newFakeFS(t testing.TB) *fakeFS {
	t.Helper()
	open := func(dir string) *os.Root {
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = root.Close() })
		return root
	}
	dir := t.TempDir()
	return &fakeFS{root: open(dir), parts: open(t.TempDir()), dir: dir, partial: map[string]string{}}
}

// kind turns an error of the operating system into one of the contract.
func kind(err error) error {
	var errno syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("in /secret/place: %w", session.ErrNotExist)
	case errors.Is(err, fs.ErrExist) && errors.As(err, &errno) && errno == syscall.ENOTEMPTY:
		return session.ErrNotEmpty
	case errors.Is(err, fs.ErrExist):
		return session.ErrExist
	case errors.As(err, &errno) && errno == syscall.ENOTDIR:
		return session.ErrNotDirectory
	case errors.As(err, &errno) && errno == syscall.EISDIR:
		return session.ErrIsDirectory
	default:
		return fmt.Errorf("in /secret/place: %w: %w", err, session.ErrDenied)
	}
}

func describe(info fs.FileInfo, name string) storage.Info {
	return storage.Info{Name: path.Base(name), Size: info.Size(), Mode: info.Mode(), ModTime: info.ModTime()}
}

func (f *fakeFS) look(name string, stat func(string) (fs.FileInfo, error)) (storage.Info, error) {
	info, err := stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		f.mu.Lock()
		part, ok := f.partial[name]
		f.mu.Unlock()
		if ok {
			info, err = f.parts.Stat(part)
		}
	}
	if err != nil {
		return storage.Info{}, kind(err)
	}
	return describe(info, name), nil
}

func (f *fakeFS) Stat(_ context.Context, name string) (storage.Info, error) {
	return f.look(name, f.root.Stat)
}

func (f *fakeFS) Lstat(_ context.Context, name string) (storage.Info, error) {
	return f.look(name, f.root.Lstat)
}

func (f *fakeFS) List(_ context.Context, name string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		list, err := fs.ReadDir(f.root.FS(), name)
		if err != nil {
			yield(storage.Info{}, kind(err))
			return
		}
		for _, e := range list {
			info, err := e.Info()
			if err == nil && !yield(describe(info, e.Name()), nil) {
				return
			}
		}
	}
}

type fakeFile struct{ *os.File }

func (f fakeFile) OS() *os.File { return f.File }

func (f fakeFile) Stat() (storage.Info, error) {
	info, err := f.File.Stat()
	if err != nil {
		return storage.Info{}, kind(err)
	}
	return describe(info, info.Name()), nil
}

func (f *fakeFS) Open(_ context.Context, name string) (storage.File, error) {
	file, err := f.root.Open(name)
	if err != nil {
		return nil, kind(err)
	}
	if info, err := file.Stat(); err != nil || info.IsDir() {
		_ = file.Close()
		return nil, session.ErrIsDirectory
	}
	return fakeFile{file}, nil
}

type fakeUpload struct {
	fakeFile
	fs         *fakeFS
	name, part string
}

func (f *fakeFS) Create(ctx context.Context, name string, opts storage.CreateOptions) (storage.Upload, error) {
	if _, err := f.root.Stat(name); err == nil && opts.Exclusive {
		return nil, session.ErrExist
	}
	if _, err := f.Stat(ctx, name); err != nil && opts.Existing {
		return nil, err
	}
	f.mu.Lock()
	f.count++
	part := fmt.Sprint("part", f.count)
	kept, resumed := f.partial[name]
	delete(f.partial, name)
	f.mu.Unlock()
	file, err := f.parts.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, kind(err)
	}
	if opts.Keep != 0 {
		old, err := f.root.Open(name)
		if resumed {
			old, err = f.parts.Open(kept)
		}
		if err == nil {
			_, err = io.Copy(file, old)
			_ = old.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			_ = file.Close()
			return nil, kind(err)
		}
	}
	return &fakeUpload{fakeFile{file}, f, name, part}, nil
}

func (u *fakeUpload) WriteAt(p []byte, off int64) (int, error) {
	if fault := u.fs.writeFault.Load(); fault != nil {
		return 0, *fault
	}
	return u.fakeFile.WriteAt(p, off)
}

func (u *fakeUpload) SetAttr(attr storage.Attr) error {
	if attr.Size != nil {
		if err := u.Truncate(*attr.Size); err != nil {
			return err
		}
	}
	if attr.Perm != nil {
		if err := u.Chmod(*attr.Perm); err != nil {
			return err
		}
	}
	if attr.ModTime != nil {
		return u.fs.parts.Chtimes(u.part, *attr.Access, *attr.ModTime)
	}
	return nil
}

func (u *fakeUpload) Commit(context.Context) error {
	u.fs.commits.Add(1)
	if block := u.fs.block.Load(); block != nil {
		<-*block
	}
	if fault := u.fs.writeFault.Load(); fault != nil {
		_ = u.Close()
		return *fault
	}
	defer u.Close()
	return kind(os.Rename(u.File.Name(), path.Join(u.fs.dir, u.name)))
}

func (u *fakeUpload) Abort(resumable bool) error {
	u.fs.aborts.Add(1)
	if resumable {
		u.fs.mu.Lock()
		u.fs.partial[u.name] = u.part
		u.fs.mu.Unlock()
	}
	return u.Close()
}

func (f *fakeFS) Mkdir(_ context.Context, name string) error {
	if f.panics.Load() {
		panic("a fault of ours")
	}
	return kind(f.root.Mkdir(name, 0o750))
}

func (f *fakeFS) Remove(_ context.Context, name string) error {
	if info, err := f.root.Lstat(name); err == nil && info.IsDir() {
		return session.ErrIsDirectory
	}
	return kind(f.root.Remove(name))
}

func (f *fakeFS) RemoveDir(_ context.Context, name string) error { return kind(f.root.Remove(name)) }

func (f *fakeFS) Rename(_ context.Context, from, to string, overwrite bool) error {
	if _, err := f.root.Lstat(to); err == nil && !overwrite {
		return session.ErrExist
	}
	return kind(f.root.Rename(from, to))
}

func (f *fakeFS) SetAttr(_ context.Context, name string, attr storage.Attr) error {
	if attr.Perm != nil {
		if err := f.root.Chmod(name, *attr.Perm); err != nil {
			return kind(err)
		}
	}
	if attr.ModTime != nil {
		return kind(f.root.Chtimes(name, *attr.Access, *attr.ModTime))
	}
	return nil
}

func (f *fakeFS) LsetAttr(ctx context.Context, name string, attr storage.Attr) error {
	info, err := f.Lstat(ctx, name)
	switch {
	case err != nil:
		return err
	case info.Mode&fs.ModeSymlink != 0:
		return session.ErrUnsupported // there is no os.Root.Lchtimes
	}
	return f.SetAttr(ctx, name, attr)
}

func (f *fakeFS) Readlink(_ context.Context, name string) (string, error) {
	target, err := f.root.Readlink(name)
	return target, kind(err)
}

func (f *fakeFS) Symlink(_ context.Context, target, name string) error {
	return kind(f.root.Symlink(target, name))
}

func (f *fakeFS) Link(_ context.Context, old, new string) error { return kind(f.root.Link(old, new)) }

func (f *fakeFS) Space(context.Context) (storage.Space, error) {
	return storage.Space{Total: 1 << 30, Free: 1 << 29, Available: 1 << 29, Files: 100, FilesFree: 50}, nil
}

func (f *fakeFS) Usage(context.Context) (storage.Usage, error) {
	return storage.Usage{}, session.ErrUnsupported
}

func (f *fakeFS) Close() error { return nil }
