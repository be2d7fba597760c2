// Package transfer is one session's view of a tree of files: each call is
// decided and recorded by the session, counted and bounded, and then done by a
// storage.FS.
//
// What depends on what is there, such as whether a file is created or replaced, is
// decided here, by asking the storage for no more than is allowed. Quotas and
// bandwidth belong to all sessions of an account together: see Shares.
//
// It stands around the files and not in their way: a reader or writer hands out
// the *os.File under it, so that a front-end can let the kernel move the bytes.
package transfer

import (
	"context"
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
	// Bandwidth is shared with the other sessions of the listener. Nil is no limit.
	Bandwidth *Bandwidth
}

const defaultOpenFiles = 128

// Files is a session's tree, as one kind of request sees it (see For). Paths are those of the peer: absolute, "/" between
// parts, or relative to the root. Its methods may be called at the same time
// from any goroutine. Errors are those of storage.FS and session.Session.Begin,
// and session.ErrTooMany at the limit of open files.
type Files struct {
	*held
	request string
	over    session.ChannelKind
}

// held is what all Files of a session are made of.
type held struct {
	sess   *session.Session
	fs     storage.FS
	limits Limits
	share  *share // nil without a quota
	leave  func() // may be nil
	in     pace   // from the peer to us
	out    pace

	mu   sync.Mutex
	open int
}

// New returns the view that s has of tree. Close closes the tree. Quota and
// bandwidth of the account are not looked at: see Shares.Open.
func New(s *session.Session, tree storage.FS, limits Limits) *Files {
	if limits.OpenFiles == 0 {
		limits.OpenFiles = defaultOpenFiles
	}
	f := &Files{held: &held{sess: s, fs: tree, limits: limits}}
	f.in, f.out = paces(limits.Bandwidth)
	return f
}

// For returns the same files for what the peer calls request, which is carried over such a
// connection: every action begun through them says so (session.Action).
func (f *Files) For(request string, over session.ChannelKind) *Files {
	return &Files{f.held, request, over}
}

// begin begins an action on a name, or two.
func (f *Files) begin(ctx context.Context, verb session.Verb, object, target string) (*session.Op, error) {
	return f.sess.Begin(ctx, session.Action{Verb: verb, Object: object, Target: target, Request: f.request, Over: f.over})
}

// MaxOpen is how many files the session may have open at once, readers and
// writers together.
func (f *Files) MaxOpen() int { return f.limits.OpenFiles }

// Paced reports whether bandwidth is limited, so that Reader.Allow, Writer.Allow
// and Writer.Pace may wait.
func (f *Files) Paced() bool { return len(f.in) > 0 }

// Close gives the tree back. Open readers and writers stay usable.
func (f *Files) Close() error {
	if f.leave != nil {
		f.leave()
	}
	return f.fs.Close()
}

// do decides, does and records one action on name.
func (f *Files) do(ctx context.Context, verb session.Verb, name string, act func(tree string) error) error {
	return f.on(ctx, verb, name, func(_, tree string) error {
		if err := f.straight(ctx, tree, false); err != nil {
			return err
		}
		return act(tree)
	})
}

// on is do for an action that must know the path as the peer sees it, and sees to
// links by itself.
func (f *Files) on(ctx context.Context, verb session.Verb, name string, act func(clean, tree string) error) error {
	clean, tree, err := inTree(name)
	if err != nil {
		return err
	}
	op, err := f.begin(ctx, verb, clean, "")
	if err != nil {
		return err
	}
	return op.End(ctx, act(clean, tree))
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
	op, err := f.begin(ctx, verb, cleanFrom, cleanTo)
	if err != nil {
		return err
	}
	for _, tree := range []string{treeFrom, treeTo} {
		if err := f.straight(ctx, tree, false); err != nil {
			return op.End(ctx, err)
		}
	}
	return op.End(ctx, act(treeFrom, treeTo))
}

// Stat describes what name leads to. What may be neither listed nor read does not
// exist.
func (f *Files) Stat(ctx context.Context, name string) (storage.Info, error) {
	return f.look(ctx, name, true, f.fs.Stat)
}

// Lstat describes name, a link itself if it is one.
func (f *Files) Lstat(ctx context.Context, name string) (storage.Info, error) {
	return f.look(ctx, name, false, f.fs.Lstat)
}

func (f *Files) look(ctx context.Context, name string, follows bool, look func(context.Context, string) (storage.Info, error)) (info storage.Info, err error) {
	err = f.on(ctx, session.Stat, name, func(clean, tree string) error {
		var found storage.Info
		err := f.straight(ctx, tree, follows)
		if err == nil {
			found, err = look(ctx, tree)
		}
		if err = f.shown(ctx, clean, found, err); err == nil {
			info = found
		}
		return err
	})
	return info, err
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
// Where the account may not overwrite or not create, neither may a rename.
func (f *Files) Rename(ctx context.Context, from, to string, overwrite bool) error {
	at, _, err := inTree(to)
	if err != nil {
		return err
	}
	return f.do2(ctx, session.Rename, from, to, func(from, to string) error {
		return f.rename(ctx, at, from, to, overwrite)
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
	op, err := f.begin(ctx, session.Link, target, clean)
	if err != nil {
		return err
	}
	return op.End(ctx, f.fs.Symlink(ctx, target, tree))
}

// Readlink returns the target of a link as it was given to Symlink.
func (f *Files) Readlink(ctx context.Context, name string) (target string, err error) {
	err = f.on(ctx, session.Stat, name, func(clean, tree string) error {
		var found string
		err := f.straight(ctx, tree, false)
		if err == nil {
			found, err = f.fs.Readlink(ctx, tree)
		}
		if err = f.shown(ctx, clean, storage.Info{}, err); err == nil {
			target = found
		}
		return err
	})
	return target, err
}

// SetAttr changes attributes of what name leads to. Where the account may not
// overwrite, it may not change the size.
func (f *Files) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	return f.setAttr(ctx, name, true, attr, f.fs.SetAttr)
}

// LsetAttr is SetAttr for name itself, a link if it is one.
func (f *Files) LsetAttr(ctx context.Context, name string, attr storage.Attr) error {
	return f.setAttr(ctx, name, false, attr, f.fs.LsetAttr)
}

func (f *Files) setAttr(ctx context.Context, name string, follows bool, attr storage.Attr, set func(context.Context, string, storage.Attr) error) error {
	return f.on(ctx, session.SetAttr, name, func(clean, tree string) error {
		if err := f.straight(ctx, tree, follows); err != nil {
			return err
		}
		if attr.Size != nil && f.sess.Identity().Access.Entry(clean)&session.MayOverwrite == 0 {
			return errNoOverwrite
		}
		return set(ctx, tree, attr)
	})
}

// Space says how much room there is, on the disk and within the quotas of the
// account.
func (f *Files) Space(ctx context.Context) (space storage.Space, err error) {
	err = f.do(ctx, session.Stat, "/", func(string) error {
		space, err = f.fs.Space(ctx)
		if err == nil && f.share != nil {
			f.share.within(&space)
		}
		return err
	})
	return space, err
}

// acquire takes one of the open files that the session may have.
func (f *held) acquire() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open >= f.limits.OpenFiles {
		return session.ErrTooMany
	}
	f.open++
	return nil
}

func (f *held) release() {
	f.mu.Lock()
	f.open--
	f.mu.Unlock()
}
