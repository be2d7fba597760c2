package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"gateway/session"
	"gateway/storage"
)

// What session.Session.Begin cannot decide by the path alone, because it hangs on
// what is there, is decided here, where possible by the storage itself: a look
// before would be out of date.

var (
	// errHidden is what may be neither listed nor read.
	errHidden = fmt.Errorf("neither to be listed nor to be read: %w", session.ErrNotExist)
	// errNoOverwrite and errNoCreate are refusals that depend on what is there.
	errNoOverwrite = fmt.Errorf("what is there may not be replaced: %w", session.ErrDenied)
	errNoCreate    = fmt.Errorf("nothing new may be made: %w", session.ErrDenied)
	errNoRead      = fmt.Errorf("what is written may not be read: %w", session.ErrDenied)
	errMade        = fmt.Errorf("somebody else made the file meanwhile: %w", session.ErrBusy)
	errBelowKept   = fmt.Errorf("opened for appending: %w", session.ErrDenied)
)

// Rights are what an account may do with an entry of a folder, and with what is in
// that: the content of a file, or the entries of a folder.
type Rights struct{ Entry, Content session.Permissions }

// Rights tells what the account may do with each entry of folder. It decides
// nothing: listings show it.
func (f *Files) Rights(folder string) func(entry string) Rights {
	access := f.sess.Identity().Access
	inside := access.At(folder)
	if access.Uniform() {
		return func(string) Rights { return Rights{inside, inside} }
	}
	return func(entry string) Rights {
		name := path.Join(folder, entry)
		may := Rights{inside, access.At(name)}
		if access.Fixed(name) {
			may.Entry &^= session.MayDelete | session.MayRename
		}
		return may
	}
}

// shown decides whether the account may know what a look at name has found. What
// may be neither listed nor read does not exist, but for its own interrupted
// uploads, so that it finds out where to resume, and folders on the way to where
// it may do something.
func (f *Files) shown(ctx context.Context, name string, info storage.Info, err error) error {
	access := f.sess.Identity().Access
	entry := access.Entry(name)
	switch {
	case !hidden(access, name):
		return err
	case err != nil:
		if ctx.Err() != nil {
			return err
		}
		return errHidden
	case info.Partial && entry&(session.MayCreate|session.MayAppend) != 0:
		return nil
	case info.IsDir() && access.Visible(name):
		return nil
	default:
		return errHidden
	}
}

// hidden reports whether the account may know nothing of a file at name.
func hidden(access session.Access, name string) bool {
	return access.Entry(name)&session.MayList == 0 && access.At(name)&session.MayRead == 0
}

// errLink is a link where it matters what is where.
var errLink = fmt.Errorf("a link, and not the same holds everywhere: %w", session.ErrDenied)

// straight refuses a name that leads through links, and with last one that is a
// link, where not the same holds everywhere: the rules for the name would then be
// taken for another place. Such an account cannot make links, so that a look
// before is enough.
func (f *Files) straight(ctx context.Context, tree string, last bool) error {
	if f.sess.Identity().Access.Uniform() {
		return nil
	}
	for end := 0; end < len(tree); end++ {
		next := strings.IndexByte(tree[end:], '/')
		if next < 0 {
			if !last {
				return nil
			}
			next = len(tree) - end
		}
		end += next
		info, err := f.fs.Lstat(ctx, tree[:end])
		if err != nil {
			return nil // what is about to be done will find the same
		}
		if info.Mode&fs.ModeSymlink != 0 {
			return errLink
		}
	}
	return nil
}

// writing is how a file comes to be written.
type writing struct {
	verb session.Verb
	// existing is what may be done to a file that is there.
	existing session.Permissions
}

// restrict makes opts ask for no more than the account may do at name, and
// returns how the storage's refusals are then meant.
func (w writing) restrict(access session.Access, name string, opts *storage.CreateOptions) func(error) error {
	entry := access.Entry(name)
	exclusive, replacing := false, false
	if entry&w.existing == 0 && !opts.Exclusive {
		opts.Exclusive, exclusive = true, true
	}
	if entry&session.MayCreate == 0 {
		opts.Replacing, replacing = true, true
	}
	return func(err error) error {
		switch {
		case exclusive && errors.Is(err, session.ErrExist) && opts.Existing && hidden(access, name):
			return errHidden // whoever makes nothing leaves no trace of having looked for a name
		case exclusive && errors.Is(err, session.ErrExist):
			return errNoOverwrite
		case replacing && errors.Is(err, session.ErrNotExist):
			return errNoCreate
		case opts.Append && !opts.Exclusive && errors.Is(err, session.ErrExist):
			return errMade
		default:
			return err
		}
	}
}

// rename decides a move, as far as it hangs on what is there, and does it.
func (f *Files) rename(ctx context.Context, at string, from, to string, overwrite bool) error {
	target := f.sess.Identity().Access.Entry(at)
	const everything = session.MayCreate | session.MayMkdir | session.MayOverwrite
	if target&everything == everything {
		return f.fs.Rename(ctx, from, to, overwrite)
	}
	source, err := f.fs.Lstat(ctx, from)
	if err != nil {
		return err
	}
	need := session.MayCreate
	if source.IsDir() {
		need = session.MayMkdir
	}
	if target&session.MayOverwrite == 0 {
		if target&need == 0 {
			return errNoCreate
		}
		err := f.fs.Rename(ctx, from, to, false)
		if overwrite && errors.Is(err, session.ErrExist) {
			err = errNoOverwrite
		}
		return err
	}
	if target&need == 0 {
		if info, err := f.fs.Lstat(ctx, to); err != nil || info.Partial || !overwrite {
			return errNoCreate
		}
	}
	return f.fs.Rename(ctx, from, to, overwrite)
}
