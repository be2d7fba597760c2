package ftpfiles

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/ftpclient"
	"gateway/storage/remote/upstream"
)

// Mkdir implements storage.FS.
func (f *FS) Mkdir(ctx context.Context, name string) error {
	c, err := f.notRoot(ctx, name, upstream.Brief)
	if err != nil {
		return fault("mkdir", name, err)
	}
	defer c.Return()
	_, there, err := f.lookup(ctx, c, name)
	switch {
	case err != nil:
	case there:
		err = session.ErrExist
	default:
		err = c.Conn.MakeFolder(ctx, f.path(name))
	}
	return fault("mkdir", name, err)
}

// Remove implements storage.FS.
func (f *FS) Remove(ctx context.Context, name string) error {
	c, err := f.notRoot(ctx, name, upstream.Brief)
	if err != nil {
		return fault("remove", name, err)
	}
	defer c.Return()
	full := f.path(name)
	e, there, err := f.lookup(ctx, c, name)
	switch {
	case err != nil:
	case !there && f.server.uploads.UnderWay(full):
		err = session.ErrNotExist
	case !there:
		if err = c.Conn.Remove(ctx, upstream.Part(full)); refused(err) {
			err = session.ErrNotExist
		}
	case e.Kind == ftpclient.Folder:
		err = session.ErrIsDirectory
	default:
		if err = c.Conn.Remove(ctx, full); err == nil {
			f.forget(ctx, c, full)
		}
	}
	return fault("remove", name, err)
}

func refused(err error) bool {
	_, no := ftpclient.Code(err)
	return no
}

// forget removes what an interrupted upload of a path left, which is none of whatever has
// the name next.
func (f *FS) forget(ctx context.Context, c lease, full string) {
	if f.server.uploads.Take(full) {
		_ = c.Conn.Remove(ctx, upstream.Part(full)) // mostly there is none
		f.server.uploads.Free(full)
	}
}

// RemoveDir implements storage.FS.
func (f *FS) RemoveDir(ctx context.Context, name string) error {
	c, err := f.notRoot(ctx, name, upstream.Brief)
	if err != nil {
		return fault("rmdir", name, err)
	}
	defer c.Return()
	if err = f.folder(ctx, c, name); err == nil {
		err = f.emptied(ctx, c, f.path(name))
	}
	if err == nil {
		err = c.Conn.RemoveFolder(ctx, f.path(name))
	}
	return fault("rmdir", name, err)
}

// emptied removes interrupted uploads from a folder that has nothing else.
func (f *FS) emptied(ctx context.Context, c lease, full string) error {
	list, err := c.Conn.List(ctx, full, upstream.MaxEntries)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Name, upstream.Hidden) || strings.ContainsAny(e.Name, "/\r\x00") {
			return session.ErrNotEmpty
		}
	}
	for _, e := range list {
		left := path.Join(full, e.Name)
		if f.server.uploads.UnderWay(upstream.Whole(left)) {
			return session.ErrBusy
		}
		if err := c.Conn.Remove(ctx, left); err != nil {
			return err
		}
	}
	return nil
}

// Rename implements storage.FS.
func (f *FS) Rename(ctx context.Context, from, to string, overwrite bool) error {
	if to == "." {
		return fault("rename", to, session.ErrDenied)
	}
	if err := check(to); err != nil {
		return fault("rename", to, err)
	}
	c, err := f.notRoot(ctx, from, upstream.Brief)
	if err != nil {
		return fault("rename", from, err)
	}
	defer c.Return()
	f.server.uploads.Naming.Lock()
	defer f.server.uploads.Naming.Unlock()
	if err := f.rename(ctx, c, from, to, overwrite); err != nil {
		return fault("rename", from, err)
	}
	if from != to {
		f.forget(ctx, c, f.path(to))
	}
	return nil
}

func (f *FS) rename(ctx context.Context, c lease, from, to string, overwrite bool) error {
	e, err := f.existing(ctx, c, from)
	if err != nil {
		return err
	}
	folder := e.Kind == ftpclient.Folder
	if folder && strings.HasPrefix(to, from+"/") {
		return session.ErrName
	}
	target, there, err := f.lookup(ctx, c, to)
	switch {
	case err != nil:
		return err
	case !there:
		return c.Conn.Rename(ctx, f.path(from), f.path(to))
	case !overwrite:
		return session.ErrExist
	case from == to:
		return nil
	case folder && target.Kind != ftpclient.Folder:
		return session.ErrNotDirectory
	case !folder && target.Kind == ftpclient.Folder:
		return session.ErrIsDirectory
	case folder:
		if err := c.Conn.RemoveFolder(ctx, f.path(to)); err != nil {
			if refused(err) {
				err = session.ErrNotEmpty
			}
			return err
		}
		return c.Conn.Rename(ctx, f.path(from), f.path(to))
	}
	return replace(ctx, c, f.path(from), f.path(to))
}

// replace gives a file the name of another, which it replaces. A server that does not do so
// at once is asked to move the other aside first: for that moment nothing has the name, and
// if all ends there, what had it is beside it, under a hidden name.
func replace(ctx context.Context, c lease, from, to string) error {
	err := c.Conn.Rename(ctx, from, to)
	if !refused(err) {
		return err
	}
	if _, there := stat(ctx, c, to); there != nil {
		return err // that was not why
	}
	aside := upstream.OwnPart(to)
	if err := c.Conn.Rename(ctx, to, aside); err != nil {
		return err
	}
	if err := c.Conn.Rename(ctx, from, to); err != nil {
		return errors.Join(err, c.Conn.Rename(context.WithoutCancel(ctx), aside, to))
	}
	_ = c.Conn.Remove(context.WithoutCancel(ctx), aside) // what it is about is done
	return nil
}

// SetAttr implements storage.FS. The time of last access goes unsaid where that of the last
// change is set as well: FTP has no word for it. Nothing cuts a file.
func (f *FS) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	return f.setAttr(ctx, name, attr, session.ErrDenied)
}

// LsetAttr implements storage.FS.
func (f *FS) LsetAttr(ctx context.Context, name string, attr storage.Attr) error {
	return f.setAttr(ctx, name, attr, session.ErrUnsupported)
}

// setAttr is both; ofLink is the error for a link.
func (f *FS) setAttr(ctx context.Context, name string, attr storage.Attr, ofLink error) error {
	c, err := f.notRoot(ctx, name, upstream.Brief)
	if err != nil {
		return fault("setattr", name, err)
	}
	defer c.Return()
	e, err := f.existing(ctx, c, name)
	if err == nil && e.Kind == ftpclient.Link {
		err = ofLink
	}
	if err == nil {
		err = settable(attr, e)
	}
	if err == nil {
		err = set(ctx, c, f.path(name), attr)
	}
	return fault("setattr", name, err)
}

// settable is an error for what cannot be set.
func settable(attr storage.Attr, e ftpclient.Entry) error {
	switch {
	case attr.Perm != nil && *attr.Perm&^fs.ModePerm != 0:
		return session.ErrDenied
	case attr.Size != nil && *attr.Size < 0:
		return session.ErrRange
	case attr.Size != nil && e.Kind == ftpclient.Folder:
		return session.ErrIsDirectory
	case attr.Size != nil && e.Moded && e.Perm&upstream.OwnerMayWrite == 0:
		return session.ErrDenied
	case attr.Size != nil && *attr.Size != e.Size, attr.Access != nil && attr.ModTime == nil:
		return session.ErrUnsupported
	}
	return nil
}

func set(ctx context.Context, c lease, full string, attr storage.Attr) error {
	if attr.Perm != nil {
		if err := c.Conn.Chmod(ctx, full, *attr.Perm); err != nil {
			return err
		}
	}
	if attr.ModTime != nil {
		return c.Conn.SetModTime(ctx, full, *attr.ModTime)
	}
	return nil
}

// Readlink implements storage.FS.
func (f *FS) Readlink(_ context.Context, name string) (string, error) {
	return "", fault("readlink", name, cmp.Or(check(name), session.ErrUnsupported))
}

// Symlink implements storage.FS.
func (f *FS) Symlink(_ context.Context, _, name string) error {
	return fault("symlink", name, cmp.Or(check(name), session.ErrUnsupported))
}

// Link implements storage.FS.
func (f *FS) Link(_ context.Context, old, name string) error {
	return fault("link", name, cmp.Or(check(old), check(name), session.ErrUnsupported))
}
