package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
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

// weight is how many bytes go with the name that stat describes: those of a
// file that has no other.
func weight(stat fs.FileInfo) int64 {
	_, _, links, _ := details(stat)
	if !stat.Mode().IsRegular() || links > 1 {
		return 0
	}
	return stat.Size()
}

// lost tells the ledger that the name that stat described is gone.
func (f *FS) lost(l storage.Ledger, stat fs.FileInfo) {
	l.Add(-weight(stat), -1)
	l.Lost(f.info("", stat).ID)
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

type inode struct{ dev, ino uint64 }

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
	err = eachIn(d, func(e fs.DirEntry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.IsDir() {
			u.Files++
			folders = append(folders, path.Join(name, e.Name()))
			return nil
		}
		stat, err := e.Info()
		if errors.Is(err, session.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err == nil {
			u.file(stat)
		}
		return err
	})
	return folders, err
}

func (u *usage) file(stat fs.FileInfo) {
	u.Files++
	if !stat.Mode().IsRegular() {
		return
	}
	dev, ino, links, _ := details(stat)
	if links > 1 {
		if u.seen[inode{dev, ino}] {
			return
		}
		u.seen[inode{dev, ino}] = true
	}
	u.Bytes += stat.Size()
}

// open opens a folder. One that its owner may not read is made readable for the
// time of the count: what is hidden in it takes room all the same.
func (u *usage) open(name string) (*os.File, error) {
	root := u.fs.root
	const need fs.FileMode = 0o500
	if name != "." {
		stat, err := root.Lstat(name)
		if err != nil {
			return nil, err
		}
		if perm := stat.Mode().Perm(); stat.IsDir() && perm&need != need {
			if err := root.Chmod(name, perm|need); err != nil {
				return nil, err
			}
			u.opened = append(u.opened, closedFolder{name, perm})
		}
	}
	return root.OpenFile(name, os.O_RDONLY|openSafely|openFolder, 0)
}

// restore gives folders the permissions back that they had, the innermost first.
func (u *usage) restore() {
	for i := len(u.opened) - 1; i >= 0; i-- {
		_ = u.fs.root.Chmod(u.opened[i].name, u.opened[i].perm)
	}
}
