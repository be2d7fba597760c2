//go:build linux

package local

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gateway/session"
	"gateway/storage"
)

// Stat implements storage.FS.
func (f *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := f.checkLook(ctx, "stat", name); err != nil {
		return storage.Info{}, err
	}
	info, err := f.describe(name)
	return info, f.fault("stat", name, err)
}

// describe looks at a link's target, and at an interrupted upload where there is
// nothing else.
func (f *FS) describe(name string) (storage.Info, error) {
	dir, base, err := f.parent(name)
	if err != nil {
		return storage.Info{}, err
	}
	defer dir.Close()
	s, err := dir.look(base)
	if s != nil && s.isLink() {
		return f.describeTarget(name)
	}
	if s == nil && err == nil {
		return f.partInfo(dir, base)
	}
	if err != nil {
		return storage.Info{}, err
	}
	return f.info(base, s), nil
}

// describeTarget describes what the link name leads to.
func (f *FS) describeTarget(name string) (storage.Info, error) {
	s, err := f.stat(name)
	if err == nil {
		return f.info(path.Base(name), &s), nil
	}
	if !errors.Is(err, session.ErrNotExist) {
		return storage.Info{}, err
	}
	real, err := f.resolve(name)
	if err != nil {
		return storage.Info{}, err
	}
	dir, base, err := f.parent(real)
	if err != nil {
		return storage.Info{}, err
	}
	defer dir.Close()
	info, err := f.partInfo(dir, base)
	info.Name = path.Base(name)
	return info, err
}

// Lstat implements storage.FS.
func (f *FS) Lstat(ctx context.Context, name string) (storage.Info, error) {
	if err := f.checkLook(ctx, "lstat", name); err != nil {
		return storage.Info{}, err
	}
	dir, base, err := f.parent(name)
	if err != nil {
		return storage.Info{}, f.fault("lstat", name, err)
	}
	defer dir.Close()
	s, err := dir.look(base)
	if err != nil {
		return storage.Info{}, f.fault("lstat", name, err)
	}
	if s != nil {
		return f.info(base, s), nil
	}
	info, err := f.partInfo(dir, base)
	return info, f.fault("lstat", name, err)
}

// List implements storage.FS. Entries with names that a peer could not use are
// left out.
func (f *FS) List(ctx context.Context, name string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		err := f.checkLook(ctx, "list", name)
		if err == nil {
			err = f.fault("list", name, f.list(ctx, name, yield))
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(storage.Info{}, err)
		}
	}
}

// errStopped is a listing of which no more was wanted.
var errStopped = errors.New("listing stopped")

func (f *FS) list(ctx context.Context, name string, yield func(storage.Info, error) bool) error {
	d, err := f.openFolder(name)
	if err != nil {
		return err
	}
	defer d.Close()
	var looks []looked
	return d.some(func(list []entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(e entry) bool { return !sayable(e.name) })
		looks = slices.Grow(looks[:0], len(list))[:len(list)]
		d.lookAt(list, looks)
		for i, l := range looks {
			if errors.Is(l.err, session.ErrNotExist) {
				continue // removed meanwhile
			}
			if l.err != nil {
				return l.err
			}
			if !yield(f.info(list[i].name, &l.stat), nil) {
				return errStopped
			}
		}
		return nil
	})
}

const (
	// lookShare is how many entries a goroutine looks at before it takes more.
	lookShare = 32
	// maxLookers is how many goroutines look at the entries of one folder, and no more
	// than there are processors.
	maxLookers = 4
)

// looked is what lstat tells of an entry.
type looked struct {
	stat stat
	err  error
}

// lookAt looks at each entry of list. That is most of what a listing costs, so that a
// long list is shared out.
func (d *folder) lookAt(list []entry, looks []looked) {
	var taken atomic.Int64
	work := func() {
		for {
			end := int(taken.Add(lookShare))
			if end-lookShare >= len(list) {
				return
			}
			for i := end - lookShare; i < min(end, len(list)); i++ {
				looks[i].stat, looks[i].err = d.lstat(list[i].name)
			}
		}
	}
	var others sync.WaitGroup
	for range min(maxLookers, runtime.GOMAXPROCS(0), len(list)/lookShare) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}

// Open implements storage.FS.
func (f *FS) Open(ctx context.Context, name string) (storage.File, error) {
	if err := f.checkLook(ctx, "open", name); err != nil {
		return nil, err
	}
	file, err := f.openRegular(name)
	if err != nil {
		return nil, f.fault("open", name, err)
	}
	return &reader{fs: f, name: name, file: file}, nil
}

// openRegular opens name, following links, if it is a regular file.
func (f *FS) openRegular(name string) (*os.File, error) {
	fd, err := f.open(name, unix.O_RDONLY|openSafely)
	if err != nil {
		return nil, err
	}
	file, s, err := newFile(fd, name)
	if err == nil && s.isDir() {
		_ = file.Close()
		return nil, session.ErrIsDirectory
	}
	return file, err
}

// Space implements storage.FS.
func (f *FS) Space(ctx context.Context) (storage.Space, error) {
	if err := f.checkLook(ctx, "space", "."); err != nil {
		return storage.Space{}, err
	}
	top, err := f.folder(".")
	if err != nil {
		return storage.Space{}, f.fault("space", ".", err)
	}
	defer top.Close()
	s, err := space(top)
	return s, f.fault("space", ".", err)
}

func (f *FS) checkLook(ctx context.Context, op, name string) error {
	if err := ctx.Err(); err != nil {
		return f.fault(op, name, err)
	}
	return f.fault(op, name, checkName(name))
}

// reader is a storage.File.
type reader struct {
	fs   *FS
	name string
	file *os.File
}

func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, r.fs.fault("read", r.name, session.ErrRange)
	}
	n, err := r.file.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = r.fs.fault("read", r.name, err)
	}
	return n, err
}

func (r *reader) Stat() (storage.Info, error) {
	s, err := statFile(r.file)
	if err != nil {
		return storage.Info{}, r.fs.fault("stat", r.name, err)
	}
	return r.fs.info(path.Base(r.name), &s), nil
}

func (r *reader) OS() *os.File { return r.file }

func (r *reader) Close() error { return r.fs.fault("close", r.name, r.file.Close()) }
