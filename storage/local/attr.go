//go:build linux

package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"gateway/session"
	"gateway/storage"
)

// SetAttr implements storage.FS. It follows links. A file that its owner may not
// write cannot be cut.
func (f *FS) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	if err := f.checkChange(ctx, "setattr", name); err != nil {
		return err
	}
	if err := checkAttr(attr); err != nil {
		return f.fault("setattr", name, err)
	}
	return f.fault("setattr", name, f.setAttr(name, attr))
}

// LsetAttr implements storage.FS.
func (f *FS) LsetAttr(ctx context.Context, name string, attr storage.Attr) error {
	if err := f.checkChange(ctx, "setattr", name); err != nil {
		return err
	}
	if err := checkAttr(attr); err != nil {
		return f.fault("setattr", name, err)
	}
	return f.fault("setattr", name, f.lsetAttr(name, attr))
}

func (f *FS) lsetAttr(name string, attr storage.Attr) error {
	dir, err := f.folder(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	base := path.Base(name)
	s, err := dir.lstat(base)
	switch {
	case err != nil:
		return err
	case !s.isLink():
		return f.setAttr(name, attr)
	case attr.Size != nil || attr.Perm != nil:
		return session.ErrUnsupported
	}
	return dir.setTimes(base, attr.Access, attr.ModTime)
}

func (f *FS) setAttr(name string, attr storage.Attr) error {
	flag := unix.O_RDONLY
	if attr.Size != nil {
		flag = unix.O_RDWR
	}
	fd, err := f.open(name, flag|openSafely)
	if errors.Is(err, os.ErrPermission) && attr.Perm != nil && attr.Size == nil {
		// A file without permissions cannot be opened, but must be able to get them back.
		if s, lerr := f.lstat(name); lerr == nil && (s.isDir() || s.isRegular()) {
			if err = f.root.Chmod(name, *attr.Perm); err == nil {
				fd, err = f.open(name, flag|openSafely)
			}
		}
	}
	if err != nil {
		return err
	}
	file, s, err := newFile(fd, name)
	if err != nil {
		return err
	}
	defer file.Close()
	if attr.Size != nil && !s.writable() {
		return session.ErrDenied
	}
	if attr.Perm != nil {
		if err := file.Chmod(*attr.Perm); err != nil {
			return err
		}
	}
	if attr.Size != nil {
		if err := f.booked(func() error { return f.resize(file, *attr.Size) }); err != nil {
			return err
		}
	}
	if err := setTimes(file, attr.Access, attr.ModTime); err != nil {
		return err
	}
	return file.Sync()
}

// resize cuts or lengthens a file.
func (f *FS) resize(file *os.File, size int64) error {
	s, err := statFile(file)
	if err != nil {
		return err
	}
	more := size - s.size
	if s.links == 0 {
		more = 0 // it has lost its name meanwhile, and was told of
	}
	if err := f.ledger.Take(more, 0); err != nil {
		return err
	}
	if err := file.Truncate(size); err != nil {
		f.ledger.Add(-more, 0)
		return err
	}
	if more < 0 {
		f.ledger.Lost(f.id(&s))
	}
	return nil
}

func checkAttr(attr storage.Attr) error {
	if attr.Size != nil && *attr.Size < 0 {
		return session.ErrRange
	}
	if attr.Perm != nil && *attr.Perm&^fs.ModePerm != 0 {
		return session.ErrDenied
	}
	return nil
}

// apply sets size and times of an open file, the times last: cutting sets them
// too.
func apply(file *os.File, attr storage.Attr) error {
	if attr.Size != nil {
		if err := file.Truncate(*attr.Size); err != nil {
			return err
		}
	}
	return setTimes(file, attr.Access, attr.ModTime)
}
