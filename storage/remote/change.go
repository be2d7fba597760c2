package remote

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/upstream"
)

// Mkdir implements storage.FS.
func (f *FS) Mkdir(ctx context.Context, name string) error {
	c, full, err := f.notRoot(ctx, name)
	defer c.giveBack()
	if err == nil {
		if _, there := c.Lstat(full); there == nil {
			err = session.ErrExist
		} else if err = c.Mkdir(full); err == nil {
			err = c.Chmod(full, upstream.FolderPerm)
		}
	}
	return fault("mkdir", name, err)
}

// Remove implements storage.FS.
func (f *FS) Remove(ctx context.Context, name string) error {
	c, full, err := f.notRoot(ctx, name)
	defer c.giveBack()
	if err != nil {
		return fault("remove", name, err)
	}
	info, err := c.Lstat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !f.server.uploads.UnderWay(full):
		err = c.Remove(upstream.Part(full))
	case err != nil:
	case info.IsDir():
		err = session.ErrIsDirectory
	default:
		if err = c.Remove(full); err == nil {
			f.forget(c, full)
		}
	}
	return fault("remove", name, err)
}

// forget removes what an interrupted upload of a path left, which is none of whatever has
// the name next.
func (f *FS) forget(c *client, full string) {
	if f.server.uploads.Take(full) {
		_ = c.Remove(upstream.Part(full)) // mostly there is none
		f.server.uploads.Free(full)
	}
}

// RemoveDir implements storage.FS.
func (f *FS) RemoveDir(ctx context.Context, name string) error {
	c, full, err := f.notRoot(ctx, name)
	defer c.giveBack()
	if err == nil {
		err = f.folder(c, full)
	}
	if err == nil {
		err = f.emptied(ctx, c, full)
	}
	if err == nil {
		err = c.RemoveDirectory(full)
	}
	return fault("rmdir", name, err)
}

// emptied removes interrupted uploads from a folder that has nothing else.
func (f *FS) emptied(ctx context.Context, c *client, full string) error {
	list, err := c.ReadDirContext(ctx, full)
	if err != nil {
		return err
	}
	for _, i := range list {
		if !strings.HasPrefix(i.Name(), upstream.Hidden) {
			return session.ErrNotEmpty
		}
	}
	for _, i := range list {
		left := path.Join(full, i.Name())
		if f.server.uploads.UnderWay(upstream.Whole(left)) {
			return session.ErrBusy
		}
		if err := c.Remove(left); err != nil {
			return err
		}
	}
	return nil
}

// Rename implements storage.FS.
func (f *FS) Rename(ctx context.Context, from, to string, overwrite bool) error {
	c, old, err := f.notRoot(ctx, from)
	defer c.giveBack()
	if err != nil {
		return fault("rename", from, err)
	}
	other, target, err := f.notRoot(ctx, to)
	defer other.giveBack()
	if err != nil {
		return fault("rename", to, err)
	}
	f.server.uploads.Naming.Lock()
	defer f.server.uploads.Naming.Unlock()
	if err := rename(c, from, to, old, target, overwrite); err != nil {
		return fault("rename", from, err)
	}
	if from != to {
		f.forget(c, target)
	}
	return nil
}

func rename(c *client, from, to, old, target string, overwrite bool) error {
	info, err := c.Lstat(old)
	if err != nil {
		return err
	}
	if strings.HasPrefix(to, from+"/") {
		return session.ErrName
	}
	there, err := c.Lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c.PosixRename(old, target)
	case err != nil:
		return err
	case !overwrite:
		return session.ErrExist
	case from == to:
		return nil
	case info.IsDir() && !there.IsDir():
		return session.ErrNotDirectory
	case !info.IsDir() && there.IsDir():
		return session.ErrIsDirectory
	}
	if err := c.PosixRename(old, target); err == nil || !there.IsDir() {
		return err
	}
	// Not every server replaces a folder, empty as it may be.
	if err := c.RemoveDirectory(target); err != nil {
		return session.ErrNotEmpty
	}
	return c.PosixRename(old, target)
}

// SetAttr implements storage.FS. What a link leads to is not changed.
func (f *FS) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	c, full, err := f.notRoot(ctx, name)
	defer c.giveBack()
	if err != nil {
		return fault("setattr", name, err)
	}
	info, err := c.Lstat(full)
	switch {
	case err != nil:
	case info.Mode()&fs.ModeSymlink != 0:
		err = session.ErrDenied
	case attr.Size != nil && *attr.Size < 0:
		err = session.ErrRange
	case attr.Size != nil && info.IsDir():
		err = session.ErrIsDirectory
	case attr.Size != nil && info.Mode().Perm()&upstream.OwnerMayWrite == 0:
		err = session.ErrDenied
	default:
		err = setAttr(attr, info.ModTime(), func(size int64) error { return c.Truncate(full, size) },
			func(m fs.FileMode) error { return c.Chmod(full, m) }, func(access, modified time.Time) error { return c.Chtimes(full, access, modified) })
	}
	return fault("setattr", name, err)
}

// setAttr changes what attr says.
func setAttr(attr storage.Attr, modified time.Time, truncate func(int64) error, chmod func(fs.FileMode) error, chtimes func(access, modified time.Time) error) error {
	if attr.Perm != nil && *attr.Perm&^fs.ModePerm != 0 {
		return session.ErrDenied
	}
	if attr.Size != nil {
		if *attr.Size < 0 {
			return session.ErrRange
		}
		if err := truncate(*attr.Size); err != nil {
			return err
		}
	}
	if attr.Perm != nil {
		if err := chmod(attr.Perm.Perm()); err != nil {
			return err
		}
	}
	if attr.ModTime == nil && attr.Access == nil {
		return nil
	}
	access := time.Now()
	if attr.Access != nil {
		access = *attr.Access
	}
	if attr.ModTime != nil {
		modified = *attr.ModTime
	}
	return chtimes(access, modified)
}

// LsetAttr implements storage.FS.
func (f *FS) LsetAttr(ctx context.Context, name string, attr storage.Attr) error {
	info, err := f.lstat(ctx, name)
	if err == nil && info.Mode&fs.ModeSymlink != 0 {
		err = session.ErrUnsupported
	}
	if err != nil {
		return fault("setattr", name, err)
	}
	return f.SetAttr(ctx, name, attr)
}

// Readlink implements storage.FS: what a link says is a path of the server's.
func (f *FS) Readlink(_ context.Context, name string) (string, error) {
	return "", fault("readlink", name, cmp.Or(upstream.CheckName(name), session.ErrUnsupported))
}

// Symlink implements storage.FS.
func (f *FS) Symlink(_ context.Context, _, name string) error {
	return fault("symlink", name, cmp.Or(upstream.CheckName(name), session.ErrUnsupported))
}

// Link implements storage.FS.
func (f *FS) Link(_ context.Context, old, name string) error {
	return fault("link", name, cmp.Or(upstream.CheckName(old), upstream.CheckName(name), session.ErrUnsupported))
}

// Space implements storage.FS.
func (f *FS) Space(ctx context.Context) (storage.Space, error) {
	c, full, err := f.at(ctx, ".")
	defer c.giveBack()
	if err == nil {
		if _, can := c.HasExtension(extStatVFS); !can {
			err = session.ErrUnsupported
		}
	}
	if err != nil {
		return storage.Space{}, fault("statvfs", ".", err)
	}
	v, err := c.StatVFS(full)
	if err != nil {
		return storage.Space{}, fault("statvfs", ".", err)
	}
	return storage.Space{
		Total: v.Frsize * v.Blocks, Free: v.Frsize * v.Bfree, Available: v.Frsize * v.Bavail, Files: v.Files, FilesFree: v.Ffree,
	}, nil
}

// Usage implements storage.FS.
func (f *FS) Usage(ctx context.Context) (storage.Usage, error) {
	var out storage.Usage
	c, full, err := f.at(ctx, ".")
	defer c.giveBack()
	if err != nil {
		return out, fault("usage", ".", err)
	}
	folders := []string{full}
	for len(folders) > 0 {
		next := folders[len(folders)-1]
		folders = folders[:len(folders)-1]
		list, err := c.ReadDirContext(ctx, next)
		if err != nil {
			return out, fault("usage", ".", err)
		}
		for _, i := range list {
			out.Files++
			switch {
			case i.IsDir():
				folders = append(folders, path.Join(next, path.Base(i.Name())))
			case i.Mode().IsRegular():
				out.Bytes += i.Size()
			}
		}
	}
	return out, nil
}
