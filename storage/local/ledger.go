//go:build linux

package local

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"gateway/session"
	"gateway/storage"
)

// noLedger is that of a tree in which nobody counts.
type noLedger struct{}

func (noLedger) Lock()                 {}
func (noLedger) Unlock()               {}
func (noLedger) Take(_, _ int64) error { return nil }
func (noLedger) Add(_, _ int64)        {}
func (noLedger) Lost(uint64)           {}

// booked runs a change with the ledger locked.
func (f *FS) booked(change func() error) error {
	f.ledger.Lock()
	defer f.ledger.Unlock()
	return change()
}

// adding makes one more name, if there may be one.
func (f *FS) adding(change func() error) error {
	if err := f.ledger.Take(0, 1); err != nil {
		return err
	}
	err := change()
	if err != nil {
		f.ledger.Add(0, -1)
	}
	return err
}

// lost tells the ledger that the name that was of what s describes is gone.
func (f *FS) lost(l storage.Ledger, s *stat) {
	l.Add(-s.weight(), -1)
	l.Lost(f.id(s))
}

// Usage implements storage.FS.
func (f *FS) Usage(ctx context.Context) (storage.Usage, error) {
	u := usage{fs: f, seen: make(map[inode]bool)}
	defer u.restore()
	for todo := []string{"."}; len(todo) > 0; {
		name := todo[len(todo)-1]
		folders, err := u.folder(ctx, name)
		if err != nil && !errors.Is(err, session.ErrNotExist) {
			return storage.Usage{}, f.fault("count", name, err)
		}
		todo = append(todo[:len(todo)-1], folders...)
	}
	return u.Usage, nil
}

// usage is a count under way.
type usage struct {
	storage.Usage
	fs     *FS
	seen   map[inode]bool // files with several names
	opened []closedFolder
}

// closedFolder is a folder that its owner could not read.
type closedFolder struct {
	name string
	perm fs.FileMode
}

// folder counts what is in the folder name and returns the folders in it.
func (u *usage) folder(ctx context.Context, name string) (folders []string, err error) {
	d, err := u.open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	err = d.each(func(e entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.mode.IsDir() {
			u.Files++
			folders = append(folders, path.Join(name, e.name))
			return nil
		}
		s, err := d.look(e.name)
		if s != nil {
			u.file(s)
		}
		return err // nil if it was removed meanwhile
	})
	return folders, err
}

func (u *usage) file(s *stat) {
	u.Files++
	if !s.isRegular() {
		return
	}
	if s.links > 1 {
		if u.seen[s.inode] {
			return
		}
		u.seen[s.inode] = true
	}
	u.Bytes += s.size
}

// open opens a folder. One that its owner may not read is made readable for the
// time of the count: what is hidden in it takes room all the same.
func (u *usage) open(name string) (*folder, error) {
	const need fs.FileMode = 0o500
	if name != "." {
		s, err := u.fs.lstat(name)
		if err != nil {
			return nil, err
		}
		if perm := s.mode.Perm(); s.isDir() && perm&need != need {
			if err := u.fs.root.Chmod(name, perm|need); err != nil {
				return nil, err
			}
			u.opened = append(u.opened, closedFolder{name, perm})
		}
	}
	return u.fs.openFolder(name)
}

// restore gives folders the permissions back that they had, the innermost first.
func (u *usage) restore() {
	for i := len(u.opened) - 1; i >= 0; i-- {
		_ = u.fs.root.Chmod(u.opened[i].name, u.opened[i].perm)
	}
}
