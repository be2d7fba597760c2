//go:build linux

package local

import (
	"context"
	"errors"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"gateway/session"
)

// maxLinks is how many links one name may lead through.
const maxLinks = 40

// resolve returns the name that name leads to when every link in it is
// followed. The last part need not exist. The answer may be out of date at once,
// so it serves to find a place, never to decide that it is safe: that is seen to
// when the place is used.
func (f *FS) resolve(name string) (string, error) {
	todo := strings.Split(name, "/")
	done := "."
	links := 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		if part == "." || part == "" {
			continue
		}
		if part == ".." {
			if done == "." {
				return "", f.escaped()
			}
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, part)
		s, err := f.lstat(next)
		if errors.Is(err, session.ErrNotExist) && len(todo) == 0 {
			return next, nil
		}
		if err != nil {
			return "", err
		}
		if !s.isLink() {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", unix.ELOOP
		}
		target, err := f.readlink(next)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			return "", f.escaped()
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return done, checkName(done)
}

// lstat describes what name stands for, readlink tells where it leads; both
// follow the links before the last part.
func (f *FS) lstat(name string) (stat, error) {
	dir, err := f.folder(path.Dir(name))
	if err != nil {
		return stat{}, err
	}
	defer dir.Close()
	return dir.lstat(path.Base(name))
}

func (f *FS) readlink(name string) (string, error) {
	dir, err := f.folder(path.Dir(name))
	if err != nil {
		return "", err
	}
	defer dir.Close()
	return dir.readlink(path.Base(name))
}

func (f *FS) escaped() error {
	if f.escape != nil {
		return f.escape
	}
	return session.ErrDenied
}

// inTree joins a link's target to the folder that the link is in, and reports
// whether that is inside the tree.
func inTree(folder, target string) (string, bool) {
	if path.IsAbs(target) {
		return "", false
	}
	at := path.Join(folder, target)
	return at, at != ".." && !strings.HasPrefix(at, "../")
}

// Symlink implements storage.FS. An absolute target is a path as the peer sees
// it, from the root of the tree. What is stored is clean and relative, so that it
// means the same to other programs, wherever the tree lies.
func (f *FS) Symlink(ctx context.Context, target, name string) error {
	return f.change(ctx, "symlink", name, func(dir *folder, base string) error {
		folder, err := f.resolve(path.Dir(name))
		if err != nil {
			return err
		}
		stored, err := storedTarget(folder, target)
		if err != nil {
			return err
		}
		return f.adding(func() error { return dir.symlink(stored, base) })
	})
}

// storedTarget turns the target that a peer asked for into the one to store in
// a link in folder.
func storedTarget(folder, target string) (string, error) {
	if target == "" {
		return "", session.ErrName
	}
	if strings.HasPrefix(target, "/") {
		at := path.Clean(target)[1:]
		if at == "" {
			at = "."
		}
		if err := checkName(at); err != nil {
			return "", err
		}
		return filepath.Rel(folder, at)
	}
	at, inside := inTree(folder, target)
	if !inside {
		return "", session.ErrDenied
	}
	return path.Clean(target), checkName(at)
}

// Readlink implements storage.FS: it returns what is stored, relative to the
// folder of the link. A link that leaves the tree, made by another program, is
// not told: it would show where the tree lies.
func (f *FS) Readlink(ctx context.Context, name string) (string, error) {
	if err := f.checkLook(ctx, "readlink", name); err != nil {
		return "", err
	}
	s, err := f.lstat(name)
	if err != nil {
		return "", f.fault("readlink", name, err)
	}
	if !s.isLink() {
		return "", f.fault("readlink", name, session.ErrUnsupported)
	}
	target, err := f.readlink(name)
	if err != nil {
		return "", f.fault("readlink", name, err)
	}
	folder, err := f.resolve(path.Dir(name))
	if err != nil {
		return "", f.fault("readlink", name, err)
	}
	at, inside := inTree(folder, target)
	if !inside || checkName(at) != nil {
		return "", f.fault("readlink", name, session.ErrDenied)
	}
	return target, nil
}

// Link implements storage.FS. It follows a link at old, and takes regular files
// only.
func (f *FS) Link(ctx context.Context, old, new string) error {
	if err := f.checkChange(ctx, "link", old); err != nil {
		return err
	}
	return f.change(ctx, "link", new, func(dir *folder, base string) error {
		real, err := f.resolve(old)
		if err != nil {
			return err
		}
		from, err := f.folder(path.Dir(real))
		if err != nil {
			return err
		}
		defer from.Close()
		s, err := from.lstat(path.Base(real))
		switch {
		case err != nil:
			return err
		case s.isDir():
			return session.ErrIsDirectory
		case !s.isRegular():
			return session.ErrDenied
		}
		return f.adding(func() error { return link(from, path.Base(real), dir, base) })
	})
}
