package local

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path"

	"gateway/session"
	"gateway/storage"
)

// listBatch is how many entries of a folder are in memory at once.
const listBatch = 256

// Stat implements storage.FS.
func (f *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := f.checkLook(ctx, "stat", name); err != nil {
		return storage.Info{}, err
	}
	stat, err := f.root.Stat(name)
	if err == nil {
		return f.info(path.Base(name), stat), nil
	}
	if !errors.Is(err, session.ErrNotExist) {
		return storage.Info{}, f.fault("stat", name, err)
	}
	real, err := f.resolve(name)
	if err != nil {
		return storage.Info{}, f.fault("stat", name, err)
	}
	info, err := f.interrupted(real)
	if err != nil {
		return storage.Info{}, f.fault("stat", name, err)
	}
	info.Name = path.Base(name)
	return info, nil
}

// Lstat implements storage.FS.
func (f *FS) Lstat(ctx context.Context, name string) (storage.Info, error) {
	if err := f.checkLook(ctx, "lstat", name); err != nil {
		return storage.Info{}, err
	}
	stat, err := f.root.Lstat(name)
	if err == nil {
		return f.info(path.Base(name), stat), nil
	}
	if !errors.Is(err, session.ErrNotExist) {
		return storage.Info{}, f.fault("lstat", name, err)
	}
	info, err := f.interrupted(name)
	return info, f.fault("lstat", name, err)
}

// interrupted describes the interrupted upload of name.
func (f *FS) interrupted(name string) (storage.Info, error) {
	dir, err := f.folder(path.Dir(name))
	if err != nil {
		return storage.Info{}, err
	}
	defer dir.Close()
	return f.partInfo(dir, path.Base(name))
}

// List implements storage.FS. Entries with names that a peer could not use are
// left out.
func (f *FS) List(ctx context.Context, name string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if err := f.checkLook(ctx, "list", name); err != nil {
			yield(storage.Info{}, err)
			return
		}
		d, err := f.root.OpenFile(name, os.O_RDONLY|openSafely|openFolder, 0)
		if err != nil {
			yield(storage.Info{}, f.fault("list", name, err))
			return
		}
		defer d.Close()
		for {
			entries, err := d.ReadDir(listBatch)
			for _, e := range entries {
				if !sayable(e.Name()) {
					continue
				}
				stat, err := e.Info()
				if errors.Is(err, session.ErrNotExist) {
					continue // removed meanwhile
				}
				if err != nil {
					yield(storage.Info{}, f.fault("list", name, err))
					return
				}
				if !yield(f.info(e.Name(), stat), nil) {
					return
				}
			}
			if err == nil {
				err = ctx.Err()
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(storage.Info{}, f.fault("list", name, err))
				return
			}
		}
	}
}

// Open implements storage.FS.
func (f *FS) Open(ctx context.Context, name string) (storage.File, error) {
	if err := f.checkLook(ctx, "open", name); err != nil {
		return nil, err
	}
	file, err := f.openRegular(name, os.O_RDONLY)
	if err != nil {
		return nil, f.fault("open", name, err)
	}
	return &reader{fs: f, name: name, file: file}, nil
}

// openRegular opens name, following links, if it is a regular file.
func (f *FS) openRegular(name string, flag int) (*os.File, error) {
	file, err := f.root.OpenFile(name, flag|openSafely, 0)
	if err != nil {
		return nil, err
	}
	stat, err := file.Stat()
	switch {
	case err != nil:
	case stat.IsDir():
		err = session.ErrIsDirectory
	case !stat.Mode().IsRegular():
		err = session.ErrDenied
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return renamed(file, name)
}

// Space implements storage.FS.
func (f *FS) Space(ctx context.Context) (storage.Space, error) {
	if err := f.checkLook(ctx, "space", "."); err != nil {
		return storage.Space{}, err
	}
	root, err := f.root.Open(".")
	if err != nil {
		return storage.Space{}, f.fault("space", ".", err)
	}
	defer root.Close()
	s, err := space(root)
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
	stat, err := r.file.Stat()
	if err != nil {
		return storage.Info{}, r.fs.fault("stat", r.name, err)
	}
	return r.fs.info(path.Base(r.name), stat), nil
}

func (r *reader) OS() *os.File { return r.file }

func (r *reader) Close() error { return r.fs.fault("close", r.name, r.file.Close()) }
