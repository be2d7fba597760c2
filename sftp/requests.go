package sftp

import (
	"context"
	"errors"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// Requests that name a path and leave nothing open.

func (f *files) stat(r *request) error  { return f.look(r, f.view().Stat) }
func (f *files) lstat(r *request) error { return f.look(r, f.view().Lstat) }

// look describes what a name shows, which for a file that is being written here is
// that file. A link to what is being written stays a link.
func (f *files) look(r *request, at func(context.Context, string) (storage.Info, error)) error {
	if f.enrols(r.path) {
		return f.describe(f.enrolInfo())
	}
	info, err := at(f.ctx, r.path)
	if u := f.underWay(r.path); u != nil && (err != nil || info.Mode.IsRegular()) {
		info, err = u.w.Stat()
	}
	return f.describe(info, err)
}

func (f *files) setstat(r *request) error {
	attr, err := r.attrs.change()
	if err != nil {
		return err
	}
	if f.enrols(r.path) {
		return f.enrolSetAttr(attr)
	}
	if u := f.underWay(r.path); u != nil {
		return u.w.SetAttr(attr)
	}
	err = f.view().SetAttr(f.ctx, r.path, attr)
	if f.enrolsAt(r.path, enrolFolder) && (errors.Is(err, session.ErrNotExist) || errors.Is(err, session.ErrDenied)) {
		// ssh-copy-id gives up if it cannot protect the folder. None is needed: the
		// account may not even be allowed to make one.
		return nil
	}
	return err
}

// remove removes what was written to that name, too.
func (f *files) remove(r *request) error {
	_ = f.show(r.path) // whoever closes it is told
	err := f.view().Remove(f.ctx, r.path)
	if err == nil {
		f.renamed(r.path, "")
	}
	return err
}

func (f *files) rmdir(r *request) error { return f.view().RemoveDir(f.ctx, r.path) }

// mkdir makes a folder; its attributes are ours.
func (f *files) mkdir(r *request) error { return f.view().Mkdir(f.ctx, r.path) }

// rename fails if the new name exists (section 6.5).
func (f *files) rename(r *request) error { return f.move(r, false) }

// move does not put a file where it would look like keys that were taken.
func (f *files) move(r *request, replace bool) error {
	if f.enrols(r.target) {
		return errKeysName
	}
	if err := f.show(r.path); err != nil {
		return err
	}
	_ = f.show(r.target) // whoever closes it is told
	err := f.view().Rename(f.ctx, r.path, r.target, replace)
	if err == nil {
		f.renamed(r.target, "")
		f.renamed(r.path, r.target)
	}
	return err
}

// realpath answers in the tree that the peer sees, whether the file exists or
// not, without following links (section 6.11).
func (f *files) realpath(r *request) error {
	clean, err := transfer.Resolve("/", r.path)
	if err == nil {
		f.name(clean)
	}
	return err
}

func (f *files) readlink(r *request) error {
	target, err := f.view().Readlink(f.ctx, r.path)
	switch {
	case errors.Is(err, session.ErrUnsupported):
		return errNoLink
	case err != nil:
		return err
	case len(target) > transfer.MaxPath:
		return errLongTarget
	}
	f.name(target)
	return nil
}

// errLongTarget is a link whose target is longer than any path taken here, errNoLink
// what is no link.
var (
	errLongTarget = status{codeFailure, "Link too long"}
	errNoLink     = status{codeBadMessage, "Not a link"}
)

// symlink makes a link. The draft names the link first and OpenSSH the target,
// and everybody follows OpenSSH but WinSCP, before a server that does not call
// itself OpenSSH.
func (f *files) symlink(r *request) error {
	target, link := r.path, r.target
	if f.linkFirst {
		target, link = link, target
	}
	return f.view().Symlink(f.ctx, target, link)
}
