// Package mount makes one tree of several: a base, and others that appear at folders of it.
//
// A mount point is always there and is always a folder, whatever the base has in its place, and
// whether or not the tree behind it can be reached: that tree is opened when something below
// the point is first used, and if it cannot be, only that fails. Nothing is moved or linked from
// one tree to another. Which tree a name is in hangs on the name alone: a link of the base that
// leads to a mount point leads to what the base has there.
package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"gateway/session"
	"gateway/storage"
)

// retryAfter is how long a tree that could not be opened is not tried again: every look at the
// mount point would wait for it.
const retryAfter = 5 * time.Second

// folderMode is that of folders that are only there because a mount point is, or is below them.
const folderMode = fs.ModeDir | 0o755

// A Mount is a tree with the place where it appears.
type Mount struct {
	// Point is a name as storage.FS has it, and not the root.
	Point string
	// Open opens the tree. It may take time, and is called again after it failed.
	Open func(ctx context.Context) (storage.FS, error)
}

// Check is an error unless the points are names of folders, each once, and none within another.
func Check(points ...string) error {
	for i, p := range points {
		if p == "." || !fs.ValidPath(p) || strings.ContainsAny(p, "\x00\r\n") {
			return fmt.Errorf("%q is not a folder below the root in its shortest form, such as \"archive\"", p)
		}
		for _, other := range points[:i] {
			if p == other || below(p, other) || below(other, p) {
				return fmt.Errorf("%q and %q are one within the other", other, p)
			}
		}
	}
	return nil
}

// below reports whether name is in the folder, at any depth.
func below(name, folder string) bool {
	return folder == "." && name != "." || strings.HasPrefix(name, folder+"/")
}

// FS is the tree of them all.
type FS struct {
	base   storage.FS
	mounts []*mounted
	made   time.Time
}

var (
	_ storage.FS        = (*FS)(nil)
	_ storage.Uncounted = (*FS)(nil)
)

// New returns base with mounts in it, of which Check must be nil. Close closes base, and what
// was opened.
func New(base storage.FS, mounts ...Mount) *FS {
	f := &FS{base: base, made: time.Now()}
	for _, m := range mounts {
		f.mounts = append(f.mounts, &mounted{Mount: m})
	}
	return f
}

// mounted is a Mount and, once it is open, its tree.
type mounted struct {
	Mount

	mu     sync.Mutex
	tree   storage.FS
	failed error // the last try
	at     time.Time
	closed bool
}

// open returns the tree, and opens it if that is not done.
func (m *mounted) open(ctx context.Context) (storage.FS, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return nil, session.ErrClosed
	case m.tree != nil:
		return m.tree, nil
	case m.failed != nil && time.Since(m.at) < retryAfter:
		return nil, m.failed
	}
	tree, err := m.Open(ctx)
	if err != nil {
		if !errors.Is(err, session.ErrDenied) {
			err = fmt.Errorf("%w: %w", session.ErrUnavailable, err)
		}
		m.failed, m.at = fmt.Errorf("open what is mounted at %q: %w", m.Point, err), time.Now()
		return nil, m.failed
	}
	m.tree, m.failed = tree, nil
	return tree, nil
}

func (m *mounted) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.tree == nil {
		return nil
	}
	return m.tree.Close()
}

// Close implements storage.FS.
func (f *FS) Close() error {
	errs := []error{f.base.Close()}
	for _, m := range f.mounts {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

// at returns the mount that a name is at or below, and the name there; nil for the base.
func (f *FS) at(name string) (m *mounted, rest string) {
	for _, m := range f.mounts {
		switch {
		case name == m.Point:
			return m, "."
		case below(name, m.Point):
			return m, name[len(m.Point)+1:]
		}
	}
	return nil, name
}

// tree returns the tree that a name is in, and the name there.
func (f *FS) tree(ctx context.Context, name string) (storage.FS, string, error) {
	m, rest := f.at(name)
	if m == nil {
		return f.base, name, nil
	}
	tree, err := m.open(ctx)
	return tree, rest, err
}

// fixed reports whether a name is a mount point or above one: it stays what it is. Of the root
// the base says so itself.
func (f *FS) fixed(name string) bool {
	return name != "." && slices.ContainsFunc(f.mounts, func(m *mounted) bool { return m.Point == name || below(m.Point, name) })
}

// isPoint reports whether a name is a mount point.
func (f *FS) isPoint(name string) bool {
	return slices.ContainsFunc(f.mounts, func(m *mounted) bool { return m.Point == name })
}

// folder describes one that is there for the sake of a mount point.
func (f *FS) folder(name string) storage.Info {
	return storage.Info{Name: path.Base(name), Mode: folderMode, ModTime: f.made}
}

// errApart is what cannot be done from one tree to another, in the words of both front-ends.
var errApart = fmt.Errorf("not from one storage to another: %w: %w", session.ErrUnsupported, syscall.EXDEV)

// fault says what was being done when something could not be.
func fault(op, name string, err error) error { return fmt.Errorf("%s %q: %w", op, name, err) }

// Uncounted implements storage.Uncounted: a Ledger is of the base.
func (f *FS) Uncounted(name string) bool {
	m, _ := f.at(name)
	return m != nil
}

// Space implements storage.FS, of the base.
func (f *FS) Space(ctx context.Context) (storage.Space, error) { return f.base.Space(ctx) }

// Usage implements storage.FS, of the base.
func (f *FS) Usage(ctx context.Context) (storage.Usage, error) { return f.base.Usage(ctx) }
