//go:build linux

package local

import (
	"context"
	"errors"
	"path"
	"strings"
	"syscall"

	"gateway/session"
)

// Mkdir implements storage.FS.
func (f *FS) Mkdir(ctx context.Context, name string) error {
	return f.change(ctx, "mkdir", name, func(dir *folder, base string) error {
		return f.adding(func() error { return dir.mkdir(base, f.cfg.FolderMode&^f.cfg.Umask) })
	})
}

// Remove implements storage.FS. An interrupted upload of the name goes with the
// file: it would appear in its place.
func (f *FS) Remove(ctx context.Context, name string) error {
	return f.change(ctx, "remove", name, func(dir *folder, base string) error {
		s, err := dir.lstat(base)
		if err == nil && s.isDir() {
			return session.ErrIsDirectory
		}
		if err == nil {
			if err = dir.unlink(base); err == nil {
				f.lost(f.ledger, &s)
			}
		}
		if err != nil && !errors.Is(err, session.ErrNotExist) {
			return err
		}
		gone, dropErr := dropPart(dir, partName(base), f.ledger)
		if gone {
			return nil
		}
		return errors.Join(err, dropErr)
	})
}

// RemoveDir implements storage.FS. It fails with session.ErrBusy while an upload
// into the folder is under way and nothing else is in it.
func (f *FS) RemoveDir(ctx context.Context, name string) error {
	return f.change(ctx, "rmdir", name, func(dir *folder, base string) error {
		s, err := dir.lstat(base)
		if err != nil {
			return err
		}
		if !s.isDir() {
			return session.ErrNotDirectory
		}
		err = dir.rmdir(base)
		if errors.Is(err, syscall.ENOTEMPTY) {
			if err = f.emptyOfParts(dir, base); err == nil {
				err = dir.rmdir(base)
			}
		}
		if err == nil {
			f.ledger.Add(0, -1)
		}
		return err
	})
}

// emptyOfParts removes the interrupted uploads in the folder base if nothing
// else is in it.
func (f *FS) emptyOfParts(dir *folder, base string) error {
	d, err := dir.folder(base)
	if err != nil {
		return err
	}
	defer d.Close()
	only := func(e entry) error {
		if !strings.HasPrefix(e.name, partPrefix) {
			return session.ErrNotEmpty
		}
		return nil
	}
	if err := d.each(only); err != nil {
		return err
	}
	return d.each(func(e entry) error {
		if err := only(e); err != nil {
			return err
		}
		gone, err := dropPart(d, e.name, f.ledger)
		if err == nil && !gone {
			err = session.ErrBusy
		}
		return err
	})
}

// Rename implements storage.FS. A link that would lead out of the tree from its
// new place is not moved. Links inside a folder that is moved are not looked at:
// where one leads out of the tree afterwards, its use is refused.
func (f *FS) Rename(ctx context.Context, from, to string, overwrite bool) error {
	if err := f.checkChange(ctx, "rename", from); err != nil {
		return err
	}
	return f.change(ctx, "rename", to, func(toDir *folder, toBase string) error {
		fromDir := toDir
		if path.Dir(from) != path.Dir(to) {
			var err error
			if fromDir, err = f.folder(path.Dir(from)); err != nil {
				return err
			}
			defer fromDir.Close()
		}
		err := f.move(fromDir, path.Base(from), toDir, toBase, path.Dir(to), overwrite)
		if err != nil || fromDir == toDir {
			return err
		}
		return fromDir.sync()
	})
}

// move renames in folders that are open; toFolder is the name of toDir.
func (f *FS) move(fromDir *folder, from string, toDir *folder, to, toFolder string, overwrite bool) error {
	source, err := fromDir.lstat(from)
	if err != nil {
		return err
	}
	if source.isLink() {
		if err := f.movable(fromDir, from, toFolder); err != nil {
			return err
		}
	}
	target, err := toDir.look(to)
	if err != nil {
		return err
	}
	if target != nil && !overwrite {
		return session.ErrExist
	}
	if target != nil && source.inode == target.inode {
		// rename(2) does nothing for two names of one file.
		if same, err := fromDir.same(toDir); err != nil || same && from == to || source.isDir() {
			return err
		}
		err := fromDir.unlink(from)
		if err == nil {
			f.ledger.Add(0, -1)
		}
		return err
	}
	if target != nil && target.isDir() && !source.isDir() {
		return session.ErrIsDirectory
	}
	err = rename(fromDir, from, toDir, to, overwrite, source.isDir())
	if errors.Is(err, syscall.EINVAL) && source.isDir() {
		return errInside
	}
	if err != nil {
		return err
	}
	if target != nil {
		f.lost(f.ledger, target)
	}
	if !source.isDir() {
		// An interrupted upload would appear in the place of what has left.
		if _, err := dropPart(fromDir, partName(from), f.ledger); err != nil {
			return err
		}
	}
	return nil
}

// movable refuses to move a link to where it would lead out of the tree.
func (f *FS) movable(dir *folder, base, toFolder string) error {
	target, err := dir.readlink(base)
	if err != nil {
		return err
	}
	folder, err := f.resolve(toFolder)
	if err != nil {
		return err
	}
	if _, inside := inTree(folder, target); !inside {
		return f.escaped()
	}
	return nil
}
