// Package transfer is one session's view of a tree of files: each call is
// decided and recorded by the session, counted and bounded, and then done by a
// storage.FS.
//
// It stands around the files and not in their way: a reader or writer hands out
// the *os.File under it, so that a front-end can let the kernel move the bytes.
package transfer

import (
	"context"
	"errors"
	"iter"
	"sync"

	"gateway/session"
	"gateway/storage"
)

// Opener opens the tree of whoever logged in; a front-end's Config holds one.
type Opener func(ctx context.Context, s *session.Session) (*Files, error)

// Limits bound what one session may hold.
type Limits struct {
	// OpenFiles is how many files a session may have open at once, readers and
	// writers together. Zero means 128.
	OpenFiles int
}

const defaultOpenFiles = 128

// Files is a session's tree. Paths are those of the peer: absolute, "/" between
// parts, or relative to the root. Its methods may be called at the same time
// from any goroutine. Errors are those of storage.FS and session.Session.Begin,
// and session.ErrTooMany at the limit of open files.
type Files struct {
	sess   *session.Session
	fs     storage.FS
	limits Limits

	mu   sync.Mutex
	open int
}

// New returns the view that s has of tree. Close closes the tree.
func New(s *session.Session, tree storage.FS, limits Limits) *Files {
	if limits.OpenFiles == 0 {
		limits.OpenFiles = defaultOpenFiles
	}
	return &Files{sess: s, fs: tree, limits: limits}
}

// MaxOpen is how many files the session may have open at once, readers and
// writers together.
func (f *Files) MaxOpen() int { return f.limits.OpenFiles }

// Close gives the tree back. Open readers and writers stay usable.
func (f *Files) Close() error { return f.fs.Close() }

// do decides, does and records one action on name.
func (f *Files) do(ctx context.Context, verb session.Verb, name string, act func(tree string) error) error {
	clean, tree, err := inTree(name)
	if err != nil {
		return err
	}
	op, err := f.sess.Begin(ctx, session.Action{Verb: verb, Object: clean})
	if err != nil {
		return err
	}
	return op.End(ctx, act(tree))
}

// do2 is do for an action on two names.
func (f *Files) do2(ctx context.Context, verb session.Verb, from, to string, act func(from, to string) error) error {
	cleanFrom, treeFrom, err := inTree(from)
	if err != nil {
		return err
	}
	cleanTo, treeTo, err := inTree(to)
	if err != nil {
		return err
	}
	op, err := f.sess.Begin(ctx, session.Action{Verb: verb, Object: cleanFrom, Target: cleanTo})
	if err != nil {
		return err
	}
	return op.End(ctx, act(treeFrom, treeTo))
}

// Stat describes what name leads to.
func (f *Files) Stat(ctx context.Context, name string) (info storage.Info, err error) {
	err = f.do(ctx, session.Stat, name, func(tree string) error {
		info, err = f.fs.Stat(ctx, tree)
		return err
	})
	return info, err
}

// Lstat describes name, a link itself if it is one.
func (f *Files) Lstat(ctx context.Context, name string) (info storage.Info, err error) {
	err = f.do(ctx, session.Stat, name, func(tree string) error {
		info, err = f.fs.Lstat(ctx, tree)
		return err
	})
	return info, err
}

// errCutListing is a listing whose reader stopped before its end, such as one
// whose data connection never came or broke.
var errCutListing = errors.New("not listed to the end")

// List yields what is in the folder name. Whether that is allowed and possible
// is known when List returns; an error later ends the sequence. The sequence must
// be run, once: the record of the listing is written at its end.
func (f *Files) List(ctx context.Context, name string) (iter.Seq2[storage.Info, error], error) {
	clean, tree, err := inTree(name)
	if err != nil {
		return nil, err
	}
	op, err := f.sess.Begin(ctx, session.Action{Verb: session.List, Object: clean})
	if err != nil {
		return nil, err
	}
	info, err := f.fs.Stat(ctx, tree)
	if err == nil && !info.IsDir() {
		err = session.ErrNotDirectory
	}
	if err != nil {
		return nil, op.End(ctx, err)
	}
	return func(yield func(storage.Info, error) bool) {
		var failed error
		defer func() { _ = op.End(ctx, failed) }()
		for info, err := range f.fs.List(ctx, tree) {
			failed = err
			if !yield(info, err) && err == nil {
				failed = errCutListing
			}
			if failed != nil {
				return
			}
		}
	}, nil
}

// Mkdir makes a folder.
func (f *Files) Mkdir(ctx context.Context, name string) error {
	return f.do(ctx, session.Mkdir, name, func(tree string) error { return f.fs.Mkdir(ctx, tree) })
}

// Remove removes a file or a link.
func (f *Files) Remove(ctx context.Context, name string) error {
	return f.do(ctx, session.Remove, name, func(tree string) error { return f.fs.Remove(ctx, tree) })
}

// RemoveDir removes an empty folder.
func (f *Files) RemoveDir(ctx context.Context, name string) error {
	return f.do(ctx, session.Rmdir, name, func(tree string) error { return f.fs.RemoveDir(ctx, tree) })
}

// Rename moves from to to; overwrite says whether it may replace what is there.
func (f *Files) Rename(ctx context.Context, from, to string, overwrite bool) error {
	return f.do2(ctx, session.Rename, from, to, func(from, to string) error {
		return f.fs.Rename(ctx, from, to, overwrite)
	})
}

// Link gives old the second name new.
func (f *Files) Link(ctx context.Context, old, new string) error {
	return f.do2(ctx, session.Link, old, new, func(old, new string) error { return f.fs.Link(ctx, old, new) })
}

// Symlink makes a link at name to target, a path as the peer sees it or
// relative to the folder of name. The backend refuses targets outside the tree.
func (f *Files) Symlink(ctx context.Context, target, name string) error {
	clean, tree, err := inTree(name)
	if err != nil {
		return err
	}
	if _, err := Resolve("/", target); err != nil {
		return err
	}
	op, err := f.sess.Begin(ctx, session.Action{Verb: session.Link, Object: target, Target: clean})
	if err != nil {
		return err
	}
	return op.End(ctx, f.fs.Symlink(ctx, target, tree))
}

// Readlink returns the target of a link as it was given to Symlink.
func (f *Files) Readlink(ctx context.Context, name string) (target string, err error) {
	err = f.do(ctx, session.Stat, name, func(tree string) error {
		target, err = f.fs.Readlink(ctx, tree)
		return err
	})
	return target, err
}

// SetAttr changes attributes of name.
func (f *Files) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	return f.do(ctx, session.SetAttr, name, func(tree string) error { return f.fs.SetAttr(ctx, tree, attr) })
}

// Space says how much room there is.
func (f *Files) Space(ctx context.Context) (space storage.Space, err error) {
	err = f.do(ctx, session.Stat, "/", func(string) error {
		space, err = f.fs.Space(ctx)
		return err
	})
	return space, err
}

// acquire takes one of the open files that the session may have.
func (f *Files) acquire() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open >= f.limits.OpenFiles {
		return session.ErrTooMany
	}
	f.open++
	return nil
}

func (f *Files) release() {
	f.mu.Lock()
	f.open--
	f.mu.Unlock()
}
