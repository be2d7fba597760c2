package sftp

import (
	"gateway/transfer"
)

// Requests that name a path and leave nothing open.

func (f *files) stat(r *request) error  { return f.describe(f.view().Stat(f.ctx, r.path)) }
func (f *files) lstat(r *request) error { return f.describe(f.view().Lstat(f.ctx, r.path)) }

func (f *files) setstat(r *request) error {
	attr, err := r.attrs.change()
	if err != nil {
		return err
	}
	return f.view().SetAttr(f.ctx, r.path, attr)
}

func (f *files) remove(r *request) error { return f.view().Remove(f.ctx, r.path) }
func (f *files) rmdir(r *request) error  { return f.view().RemoveDir(f.ctx, r.path) }

// mkdir makes a folder; its attributes are ours.
func (f *files) mkdir(r *request) error { return f.view().Mkdir(f.ctx, r.path) }

// rename fails if the new name exists (section 6.5).
func (f *files) rename(r *request) error { return f.view().Rename(f.ctx, r.path, r.target, false) }

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
	case err != nil:
		return err
	case len(target) > transfer.MaxPath:
		return errLongTarget
	}
	f.name(target)
	return nil
}

// errLongTarget is a link whose target is longer than any path taken here.
var errLongTarget = status{codeFailure, "Link too long"}

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
