package transfer

import (
	"context"
	"errors"
	"iter"
	"sync"

	"gateway/session"
	"gateway/storage"
)

// A Listing is a folder being listed. Close it once.
type Listing struct {
	fs     storage.FS
	op     *session.Op
	folder string // as the storage knows it

	once  sync.Once
	state error // how the listing went so far; nil is to its end
	begun bool
}

// ErrCutListing is a listing that was not gone through to its end, such as one whose
// data connection never came or broke; or it was, and the peer did not ask for the
// rest.
var ErrCutListing = errors.New("not listed to the end")

// errListedTwice is a fault of ours.
var errListedTwice = errors.New("a listing is gone through once")

// List begins to list the folder name: whether that is allowed and possible is
// known when it returns.
func (f *Files) List(ctx context.Context, name string) (*Listing, error) {
	clean, tree, err := inTree(name)
	if err != nil {
		return nil, err
	}
	op, err := f.begin(ctx, session.List, clean, "")
	if err != nil {
		return nil, err
	}
	if err := f.straight(ctx, tree, true); err != nil {
		return nil, op.End(ctx, err)
	}
	info, err := f.fs.Stat(ctx, tree)
	if err == nil && !info.IsDir() {
		err = session.ErrNotDirectory
	}
	if err != nil {
		return nil, op.End(ctx, err)
	}
	return &Listing{fs: f.fs, op: op, folder: tree, state: ErrCutListing}, nil
}

// Entries yields what is in the folder, and can be gone through once. An error
// ends it. It and Close are called one after the other.
func (l *Listing) Entries(ctx context.Context) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if l.begun {
			yield(storage.Info{}, errListedTwice)
			return
		}
		l.begun = true
		for info, err := range l.fs.List(ctx, l.folder) {
			if err != nil {
				l.state = err
				yield(info, err)
				return
			}
			if !yield(info, nil) {
				return
			}
		}
		l.state = nil
	}
}

// Carried says over which connection the entries go, if not over that of the
// session.
func (l *Listing) Carried(ch session.Channel) { l.op.Carrier = &ch }

// Close records how the listing went: err is nil if the peer got what it was
// shown. It returns err, or why the folder was not listed to its end. Only the
// first call counts; later ones return their err.
func (l *Listing) Close(ctx context.Context, err error) error {
	l.once.Do(func() {
		if err == nil {
			err = l.state
		}
		err = l.op.End(ctx, err)
	})
	return err
}
