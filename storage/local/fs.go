//go:build linux

package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync/atomic"

	"gateway/session"
	"gateway/storage"
)

// FS is one account's folder. It implements storage.FS.
type FS struct {
	root *os.Root
	// top is the folder of root. Whoever uses it shares it, so that Close cannot
	// give its number away meanwhile.
	top     *folder
	beneath bool // openat2 is there
	closed  atomic.Bool
	cfg     Config
	dev     uint64 // of the root; see id
	// ledger is never nil.
	ledger storage.Ledger
	// escape is what os.Root answers for a name that leaves it; package os does not
	// export it.
	escape error
}

var _ storage.FS = (*FS)(nil)

// newFS takes root over, unless it fails.
func newFS(root *os.Root, cfg Config) (*FS, error) {
	if cfg.KeepPartial <= 0 {
		cfg.KeepPartial = defaultKeepPartial
	}
	cfg.FileMode, cfg.FolderMode = cmp.Or(cfg.FileMode, fileMode), cmp.Or(cfg.FolderMode, folderMode)
	if (cfg.FileMode|cfg.FolderMode|cfg.Umask)&^fs.ModePerm != 0 {
		return nil, fmt.Errorf("modes of files and folders: setuid, setgid and sticky: %w", session.ErrUnsupported)
	}
	f := &FS{root: root, cfg: cfg, ledger: cfg.Ledger}
	if f.ledger == nil {
		f.ledger = noLedger{}
	}
	var err error
	if f.top, f.beneath, err = openTop(root); err != nil {
		return nil, f.fault("open", ".", err)
	}
	s, err := statFd(f.top.fd)
	if err != nil {
		_ = f.top.Close()
		return nil, f.fault("open", ".", err)
	}
	f.dev = s.dev
	_, err = root.Lstat("../.")
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		f.escape = pe.Err
	}
	return f, nil
}

// Close implements storage.FS.
func (f *FS) Close() error {
	if f.closed.Swap(true) {
		return nil
	}
	return errors.Join(f.root.Close(), f.top.Close())
}

// parent opens the folder that name is in, following links inside the tree. The
// caller closes it.
func (f *FS) parent(name string) (dir *folder, base string, err error) {
	dir, err = f.folder(path.Dir(name))
	return dir, path.Base(name), err
}

// folder opens the folder name for calls with the names in it, which costs
// nothing where that is the root. The caller closes it.
func (f *FS) folder(name string) (*folder, error) {
	if name == "." {
		return f.top, f.top.share()
	}
	return f.openFolder(name)
}

// openFolder opens the folder name for the caller alone, who may read the entries.
func (f *FS) openFolder(name string) (*folder, error) {
	fd, err := f.open(name, readFolder)
	if err != nil {
		return nil, err
	}
	return newFolder(fd), nil
}

// change is what the methods that change a single name have in common: it checks
// the name, runs act in the folder of name with the ledger locked, and puts the
// folder on stable storage.
func (f *FS) change(ctx context.Context, op, name string, act func(dir *folder, base string) error) error {
	if err := f.checkChange(ctx, op, name); err != nil {
		return err
	}
	dir, base, err := f.parent(name)
	if err != nil {
		return f.fault(op, name, err)
	}
	defer dir.Close()
	if err := f.booked(func() error { return act(dir, base) }); err != nil {
		return f.fault(op, name, err)
	}
	return f.fault(op, name, dir.sync())
}

// checkChange refuses names that are not allowed, the root, and a ctx that is
// over.
func (f *FS) checkChange(ctx context.Context, op, name string) error {
	if err := ctx.Err(); err != nil {
		return f.fault(op, name, err)
	}
	if err := checkName(name); err != nil {
		return f.fault(op, name, err)
	}
	if name == "." {
		return f.fault(op, name, session.ErrDenied)
	}
	return nil
}
