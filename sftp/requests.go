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

// look describes what a name shows, or else the file that is being written to it
// here: sshfs looks at what it has just created before it goes on.
func (f *files) look(r *request, at func(context.Context, string) (storage.Info, error)) error {
	if f.enrols(r.path) {
		return f.describe(f.enrolInfo())
	}
	info, err := at(f.ctx, r.path)
	if errors.Is(err, session.ErrNotExist) {
		if _, u := f.writing(r.path); u != nil {
			info, err = u.stat()
		}
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
	err = f.view().SetAttr(f.ctx, r.path, attr)
	switch {
	case err == nil:
	case f.enrolsAt(r.path, enrolFolder) && (errors.Is(err, session.ErrNotExist) || errors.Is(err, session.ErrDenied)):
		// ssh-copy-id gives up if it cannot protect the folder. None is needed: the
		// account may not even be allowed to make one.
		return nil
	case errors.Is(err, session.ErrNotExist):
		if _, u := f.writing(r.path); u != nil {
			return u.setAttr(attr)
		}
	}
	return err
}

// writing finds the file that is being written to a name by this subsystem, and its
// handle; nobody else may see it yet.
func (f *files) writing(name string) (uint64, *upload) {
	clean, err := transfer.Resolve("/", name)
	if err != nil {
		return 0, nil
	}
	for number, h := range f.handles.open {
		if u, ok := h.(*upload); ok && u.path == clean {
			return number, u
		}
	}
	return 0, nil
}

func (f *files) remove(r *request) error { return f.view().Remove(f.ctx, r.path) }
func (f *files) rmdir(r *request) error  { return f.view().RemoveDir(f.ctx, r.path) }

// mkdir makes a folder; its attributes are ours.
func (f *files) mkdir(r *request) error { return f.view().Mkdir(f.ctx, r.path) }

// rename fails if the new name exists (section 6.5).
func (f *files) rename(r *request) error { return f.move(r, false) }

// move does not put a file where it would look like keys that were taken.
func (f *files) move(r *request, replace bool) error {
	if f.enrols(r.target) {
		return errKeysName
	}
	err := f.view().Rename(f.ctx, r.path, r.target, replace)
	if !errors.Is(err, session.ErrNotExist) {
		return err
	}
	// sshfs does not wait for the close of what it has written, and may rename it before.
	number, u := f.writing(r.path)
	if u == nil {
		return err
	}
	if err := f.show(number, u); err != nil {
		return err
	}
	return f.view().Rename(f.ctx, r.path, r.target, replace)
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
