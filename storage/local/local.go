// Package local keeps each account's files in a folder of the operating system.
//
// Every name is resolved by an os.Root, so that neither "..", nor a link, nor a
// folder that is swapped for a link at the wrong moment leads out of the folder.
// What os.Root does not look at is refused here: names that hold line ends,
// devices, sockets and FIFOs, setuid bits, links that would leave the tree.
//
// An upload is written to a hidden name in the folder where the file is to
// appear, and becomes visible by one rename when it is complete and on stable
// storage. A file is never changed in place by an upload: whoever reads the old
// content reads it to its end. See partial.go for the hidden names.
//
// It needs Linux: open file description locks, renameat2, utimensat.
package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"gateway/session"
	"gateway/storage"
)

// Config says how a tree is kept. The zero value is ready for use.
type Config struct {
	// KeepPartial is how long an interrupted upload stays resumable before Sweep
	// removes it. Zero means 168h (7 days).
	KeepPartial time.Duration
	// FileMode and FolderMode are the permission bits of what a peer makes without
	// asking for others. Zero means 0640 and 0750.
	FileMode, FolderMode fs.FileMode
	// Umask are the bits that nothing gets when it is made, whoever asks for them.
	// What is there already can be given any permission bits.
	Umask fs.FileMode
	// Ledger is told of what comes into the tree and goes. Nil means that nobody
	// counts.
	Ledger storage.Ledger
}

// defaultKeepPartial is the KeepPartial of the zero Config.
const defaultKeepPartial = 7 * 24 * time.Hour

// FileMode and FolderMode of the zero Config.
const (
	fileMode   fs.FileMode = 0o640
	folderMode fs.FileMode = 0o750
)

// FS is one account's folder. It implements storage.FS.
type FS struct {
	root *os.Root
	cfg  Config
	dev  uint64 // of the root; see info
	// ledger is never nil.
	ledger storage.Ledger
	// escape is what os.Root answers for a name that leaves it; package os does not
	// export it.
	escape error
}

var _ storage.FS = (*FS)(nil)

// Open opens the tree in the folder dir, which must exist and belong to the
// account alone.
func Open(dir string, cfg Config) (*FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err // dir is the operator's word, so it may be in the text
	}
	f, err := newFS(root, cfg)
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return f, nil
}

// newFS takes root over, unless it fails.
func newFS(root *os.Root, cfg Config) (*FS, error) {
	if !supported {
		return nil, session.ErrUnsupported
	}
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
	stat, err := root.Stat(".")
	if err != nil {
		return nil, f.fault("open", ".", err)
	}
	f.dev = device(stat)
	_, err = root.Lstat("../.")
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		f.escape = pe.Err
	}
	return f, nil
}

// Close implements storage.FS.
func (f *FS) Close() error { return f.root.Close() }

// parent opens the folder that name is in, following links inside the tree. The
// caller closes it. Single names used on it cannot leave it.
func (f *FS) parent(op, name string) (dir *os.Root, base string, err error) {
	dir, err = f.folder(path.Dir(name))
	if err != nil {
		return nil, "", f.fault(op, name, err)
	}
	return dir, path.Base(name), nil
}

// folder opens the folder name. For what is no folder os.Root has an error of
// its own that cannot be told apart.
func (f *FS) folder(name string) (*os.Root, error) {
	dir, err := f.root.OpenRoot(name)
	if err == nil {
		return dir, nil
	}
	if stat, serr := f.root.Stat(name); serr == nil && !stat.IsDir() {
		return nil, session.ErrNotDirectory
	}
	return nil, err
}

// change is what the methods that change a single name have in common: it checks
// the name, runs act in the folder of name with the ledger locked, and puts the
// folder on stable storage.
func (f *FS) change(ctx context.Context, op, name string, act func(dir *os.Root, base string) error) error {
	if err := f.checkChange(ctx, op, name); err != nil {
		return err
	}
	dir, base, err := f.parent(op, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := f.booked(func() error { return act(dir, base) }); err != nil {
		return f.fault(op, name, err)
	}
	return f.fault(op, name, syncFolder(dir))
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

// syncFolder puts the entries of dir on stable storage.
func syncFolder(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
