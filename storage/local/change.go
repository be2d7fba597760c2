package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"gateway/session"
	"gateway/storage"
)

// Mkdir implements storage.FS.
func (f *FS) Mkdir(ctx context.Context, name string) error {
	return f.change(ctx, "mkdir", name, func(dir *os.Root, base string) error {
		return f.adding(func() error { return mkdir(dir, base, f.cfg.FolderMode&^f.cfg.Umask) })
	})
}

// mkdir makes a folder with exactly the mode perm, whatever the umask of the
// process.
func mkdir(dir *os.Root, base string, perm fs.FileMode) error {
	if err := dir.Mkdir(base, perm); err != nil {
		return err
	}
	stat, err := dir.Lstat(base)
	if err != nil || stat.Mode().Perm() == perm {
		return nil // gone again, or as it should be
	}
	if err := dir.Chmod(base, perm); err != nil {
		return errors.Join(err, removeFolder(dir, base))
	}
	return nil
}

// Remove implements storage.FS. An interrupted upload of the name goes with the
// file: it would appear in its place.
func (f *FS) Remove(ctx context.Context, name string) error {
	return f.change(ctx, "remove", name, func(dir *os.Root, base string) error {
		stat, err := dir.Lstat(base)
		if err == nil && stat.IsDir() {
			return session.ErrIsDirectory
		}
		if err == nil {
			if err = unlink(dir, base); err == nil {
				f.lost(f.ledger, stat)
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
	return f.change(ctx, "rmdir", name, func(dir *os.Root, base string) error {
		stat, err := dir.Lstat(base)
		if err != nil {
			return err
		}
		if !stat.IsDir() {
			return session.ErrNotDirectory
		}
		err = removeFolder(dir, base)
		if errors.Is(err, syscall.ENOTEMPTY) {
			if err = f.emptyOfParts(dir, base); err == nil {
				err = removeFolder(dir, base)
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
func (f *FS) emptyOfParts(dir *os.Root, base string) error {
	folder, err := dir.OpenRoot(base)
	if err != nil {
		return err
	}
	defer folder.Close()
	only := func(e fs.DirEntry) error {
		if !strings.HasPrefix(e.Name(), partPrefix) {
			return session.ErrNotEmpty
		}
		return nil
	}
	if err := eachEntry(folder, only); err != nil {
		return err
	}
	return eachEntry(folder, func(e fs.DirEntry) error {
		if err := only(e); err != nil {
			return err
		}
		gone, err := dropPart(folder, e.Name(), f.ledger)
		if err == nil && !gone {
			err = session.ErrBusy
		}
		return err
	})
}

// eachEntry calls visit for what is in folder until it fails.
func eachEntry(folder *os.Root, visit func(fs.DirEntry) error) error {
	d, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return eachIn(d, visit)
}

// eachIn is eachEntry of an open folder.
func eachIn(d *os.File, visit func(fs.DirEntry) error) error {
	for {
		entries, err := d.ReadDir(listBatch)
		for _, e := range entries {
			if err := visit(e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Rename implements storage.FS. A link that would lead out of the tree from its
// new place is not moved. Links inside a folder that is moved are not looked at:
// where one leads out of the tree afterwards, its use is refused.
func (f *FS) Rename(ctx context.Context, from, to string, overwrite bool) error {
	if err := f.checkChange(ctx, "rename", from); err != nil {
		return err
	}
	if strings.HasPrefix(to, from+"/") {
		return f.fault("rename", from, errInside)
	}
	return f.change(ctx, "rename", to, func(toDir *os.Root, toBase string) error {
		fromDir, fromBase, err := f.parent("rename", from)
		if err != nil {
			return err
		}
		defer fromDir.Close()
		if err := f.move(fromDir, fromBase, toDir, toBase, path.Dir(to), overwrite); err != nil {
			return err
		}
		return syncFolder(fromDir)
	})
}

// move renames in folders that are open; toFolder is the name of toDir.
func (f *FS) move(fromDir *os.Root, from string, toDir *os.Root, to, toFolder string, overwrite bool) error {
	source, err := fromDir.Lstat(from)
	if err != nil {
		return err
	}
	if source.Mode()&fs.ModeSymlink != 0 {
		if err := f.movable(fromDir, from, toFolder); err != nil {
			return err
		}
	}
	target, err := toDir.Lstat(to)
	if err == nil && !overwrite {
		return session.ErrExist
	}
	if err == nil && os.SameFile(source, target) {
		// rename(2) does nothing for two names of one file.
		if same, err := sameFolder(fromDir, toDir); err != nil || same && from == to || source.IsDir() {
			return err
		}
		err := unlink(fromDir, from)
		if err == nil {
			f.ledger.Add(0, -1)
		}
		return err
	}
	if err == nil && target.IsDir() && !source.IsDir() {
		return session.ErrIsDirectory
	}
	err = rename(fromDir, from, toDir, to, overwrite, source.IsDir())
	if errors.Is(err, syscall.EINVAL) && source.IsDir() {
		return errInside
	}
	if err != nil {
		return err
	}
	if target != nil {
		f.lost(f.ledger, target)
	}
	if !source.IsDir() {
		// An interrupted upload would appear in the place of what has left.
		if _, err := dropPart(fromDir, partName(from), f.ledger); err != nil {
			return err
		}
	}
	return nil
}

// movable refuses to move a link to where it would lead out of the tree.
func (f *FS) movable(dir *os.Root, base, toFolder string) error {
	target, err := dir.Readlink(base)
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

func sameFolder(a, b *os.Root) (bool, error) {
	sa, err := a.Stat(".")
	if err != nil {
		return false, err
	}
	sb, err := b.Stat(".")
	return err == nil && os.SameFile(sa, sb), err
}

// SetAttr implements storage.FS. It follows links. A file that its owner may not
// write cannot be cut.
func (f *FS) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	if err := f.checkChange(ctx, "setattr", name); err != nil {
		return err
	}
	if err := checkAttr(attr); err != nil {
		return f.fault("setattr", name, err)
	}
	return f.fault("setattr", name, f.setAttr(name, attr))
}

func (f *FS) setAttr(name string, attr storage.Attr) error {
	flag := os.O_RDONLY
	if attr.Size != nil {
		flag = os.O_RDWR
	}
	file, err := f.root.OpenFile(name, flag|openSafely, 0)
	if errors.Is(err, os.ErrPermission) && attr.Perm != nil && attr.Size == nil {
		// A file without permissions cannot be opened, but must be able to get them back.
		if stat, lerr := f.root.Lstat(name); lerr == nil && (stat.IsDir() || stat.Mode().IsRegular()) {
			if err = f.root.Chmod(name, *attr.Perm); err == nil {
				file, err = f.root.OpenFile(name, flag|openSafely, 0)
			}
		}
	}
	if err != nil {
		return err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return err
	}
	if !stat.IsDir() && !stat.Mode().IsRegular() {
		return session.ErrDenied
	}
	if attr.Size != nil && !writable(stat) {
		return session.ErrDenied
	}
	if attr.Perm != nil {
		if err := file.Chmod(*attr.Perm); err != nil {
			return err
		}
	}
	if attr.Size != nil {
		if err := f.booked(func() error { return f.resize(file, *attr.Size) }); err != nil {
			return err
		}
	}
	if err := setTimes(file, attr.Access, attr.ModTime); err != nil {
		return err
	}
	return file.Sync()
}

// resize cuts or lengthens a file.
func (f *FS) resize(file *os.File, size int64) error {
	stat, err := file.Stat()
	if err != nil {
		return err
	}
	more := size - stat.Size()
	if _, _, links, _ := details(stat); links == 0 {
		more = 0 // it has lost its name meanwhile, and was told of
	}
	if err := f.ledger.Take(more, 0); err != nil {
		return err
	}
	if err := file.Truncate(size); err != nil {
		f.ledger.Add(-more, 0)
		return err
	}
	if more < 0 {
		f.ledger.Lost(f.info("", stat).ID)
	}
	return nil
}

// writable reports whether the file's owner, as whom the gateway acts, may write
// it. It is asked explicitly because an upload replaces the file, for which the
// kernel asks the folder only.
func writable(stat fs.FileInfo) bool { return stat.Mode().Perm()&0o200 != 0 }

func checkAttr(attr storage.Attr) error {
	if attr.Size != nil && *attr.Size < 0 {
		return session.ErrRange
	}
	if attr.Perm != nil && *attr.Perm&^fs.ModePerm != 0 {
		return session.ErrDenied
	}
	return nil
}

// apply sets size and times of an open file, the times last: cutting sets them
// too.
func apply(file *os.File, attr storage.Attr) error {
	if attr.Size != nil {
		if err := file.Truncate(*attr.Size); err != nil {
			return err
		}
	}
	return setTimes(file, attr.Access, attr.ModTime)
}
