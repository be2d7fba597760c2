package local

import (
	"errors"
	"io/fs"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gateway/session"
)

// folder is an open folder of the tree. Its methods take single parts of names,
// never "..", and follow no link: whatever others do to the tree meanwhile, they
// act in this folder. It is a bare descriptor, because package os would try to
// give every one that it opens to the poller.
type folder struct {
	fd     int
	owners atomic.Int32 // how many have yet to close it
}

// newFolder takes the descriptor fd over.
func newFolder(fd int) *folder {
	d := &folder{fd: fd}
	d.owners.Store(1)
	return d
}

// share makes the caller one more owner, unless d is closed.
func (d *folder) share() error {
	for {
		n := d.owners.Load()
		if n == 0 {
			return session.ErrClosed
		}
		if d.owners.CompareAndSwap(n, n+1) {
			return nil
		}
	}
}

// Close is called once by each owner.
func (d *folder) Close() error {
	if d.owners.Add(-1) > 0 {
		return nil
	}
	return unix.Close(d.fd)
}

// open opens what has the name base; flag may make it.
func (d *folder) open(base string, flag int, perm fs.FileMode) (fd int, err error) {
	err = uninterrupted(func() (err error) {
		fd, err = unix.Openat(d.fd, base, flag|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(perm))
		return err
	})
	return fd, err
}

// folder opens a folder in d.
func (d *folder) folder(base string) (*folder, error) {
	fd, err := d.open(base, readFolder, 0)
	if err != nil {
		return nil, err
	}
	return newFolder(fd), nil
}

// lstat describes what has the name base.
func (d *folder) lstat(base string) (stat, error) {
	var s unix.Stat_t
	err := uninterrupted(func() error { return unix.Fstatat(d.fd, base, &s, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return stat{}, err
	}
	return statOf(&s), nil
}

// look is lstat where it is no error that nothing has the name: then it is nil.
func (d *folder) look(base string) (*stat, error) {
	s, err := d.lstat(base)
	if errors.Is(err, session.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &s, nil
}

func (d *folder) readlink(base string) (string, error) {
	target := make([]byte, unix.PathMax)
	var n int
	err := uninterrupted(func() (err error) {
		n, err = unix.Readlinkat(d.fd, base, target)
		return err
	})
	if err != nil {
		return "", err
	}
	return string(target[:n]), nil
}

func (d *folder) symlink(target, base string) error {
	return uninterrupted(func() error { return unix.Symlinkat(target, d.fd, base) })
}

// setTimes sets what is not nil, of a link itself if base is one.
func (d *folder) setTimes(base string, access, mod *time.Time) error {
	return uninterrupted(func() error {
		return unix.UtimesNanoAt(d.fd, base, timespecs(access, mod), unix.AT_SYMLINK_NOFOLLOW)
	})
}

// mkdir makes a folder with exactly the mode perm, whatever the umask of the
// process.
func (d *folder) mkdir(base string, perm fs.FileMode) error {
	if err := uninterrupted(func() error { return unix.Mkdirat(d.fd, base, uint32(perm)) }); err != nil {
		return err
	}
	s, err := d.lstat(base)
	if err != nil || s.mode.Perm() == perm {
		return nil // gone again, or as it should be
	}
	fd, err := d.open(base, readFolder, 0)
	if err == nil {
		err = unix.Fchmod(fd, uint32(perm))
		_ = unix.Close(fd)
	}
	if err != nil {
		return errors.Join(err, d.rmdir(base))
	}
	return nil
}

// unlink removes a name that is not a folder, rmdir an empty folder.
func (d *folder) unlink(base string) error {
	return uninterrupted(func() error { return unix.Unlinkat(d.fd, base, 0) })
}

func (d *folder) rmdir(base string) error {
	return uninterrupted(func() error { return unix.Unlinkat(d.fd, base, unix.AT_REMOVEDIR) })
}

// sync puts the entries of d on stable storage.
func (d *folder) sync() error { return uninterrupted(func() error { return unix.Fsync(d.fd) }) }

// same reports whether both are the same folder.
func (d *folder) same(other *folder) (bool, error) {
	s1, err := statFd(d.fd)
	if err != nil {
		return false, err
	}
	s2, err := statFd(other.fd)
	return err == nil && s1.inode == s2.inode, err
}

// rename moves a name between two folders. Without replace it fails with
// session.ErrExist if to exists, in one step. Where the file system cannot do
// that, a file gets its second name and loses the first, which is as safe; for a
// folder the look and the move are two steps.
func rename(fromDir *folder, from string, toDir *folder, to string, replace, isDir bool) error {
	move := func() error {
		return uninterrupted(func() error { return unix.Renameat(fromDir.fd, from, toDir.fd, to) })
	}
	if replace {
		return move()
	}
	err := uninterrupted(func() error {
		return unix.Renameat2(fromDir.fd, from, toDir.fd, to, unix.RENAME_NOREPLACE)
	})
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	if !isDir {
		if err := link(fromDir, from, toDir, to); err != nil {
			return err
		}
		return fromDir.unlink(from)
	}
	if there, err := toDir.look(to); there != nil || err != nil {
		return errors.Join(session.ErrExist, err)
	}
	return move()
}

// link gives a name in one folder a second one in another.
func link(fromDir *folder, from string, toDir *folder, to string) error {
	return uninterrupted(func() error { return unix.Linkat(fromDir.fd, from, toDir.fd, to, 0) })
}

// uninterrupted makes a call again that a signal cut short.
func uninterrupted(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
