package local

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gateway/session"
	"gateway/storage"
)

const supported = true

// openSafely are the flags that keep the opening of a FIFO or a terminal from
// waiting or from doing something.
const openSafely = unix.O_NONBLOCK | unix.O_NOCTTY

// openFolder makes the opening of anything but a folder fail.
const openFolder = unix.O_DIRECTORY

func device(stat fs.FileInfo) uint64 {
	dev, _, _, _ := details(stat)
	return dev
}

func details(stat fs.FileInfo) (dev, ino, links uint64, access time.Time) {
	s, ok := stat.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, 0, time.Time{}
	}
	return uint64(s.Dev), s.Ino, uint64(s.Nlink), time.Unix(s.Atim.Unix())
}

// tryLock locks all of file for writing, or returns errLocked. The lock belongs
// to the open file, not to the process, and ends with its last descriptor.
func tryLock(file *os.File) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	err := onFd(file, func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock) })
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errLocked
	}
	return err
}

// isLocked reports whether somebody else holds a lock on file. It takes none
// itself, so that looking at an upload never disturbs it.
func isLocked(file *os.File) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	err := onFd(file, func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lock) })
	return lock.Type != unix.F_UNLCK, err
}

// rename moves a name between two folders. Without replace it fails with
// session.ErrExist if to exists, in one step. Where the file system cannot do
// that, a file gets its second name and loses the first, which is as safe; for a
// folder the look and the move are two steps.
func rename(fromDir *os.Root, from string, toDir *os.Root, to string, replace, folder bool) error {
	return inFolders(fromDir, toDir, func(fd1, fd2 int) error {
		if replace {
			return unix.Renameat(fd1, from, fd2, to)
		}
		err := unix.Renameat2(fd1, from, fd2, to, unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
		if !folder {
			if err := unix.Linkat(fd1, from, fd2, to, 0); err != nil {
				return err
			}
			return unix.Unlinkat(fd1, from, 0)
		}
		var there unix.Stat_t
		if err := unix.Fstatat(fd2, to, &there, unix.AT_SYMLINK_NOFOLLOW); !errors.Is(err, unix.ENOENT) {
			return errors.Join(session.ErrExist, err)
		}
		return unix.Renameat(fd1, from, fd2, to)
	})
}

// link gives a name in one folder a second one in another; a link is not
// followed.
func link(fromDir *os.Root, from string, toDir *os.Root, to string) error {
	return inFolders(fromDir, toDir, func(fd1, fd2 int) error { return unix.Linkat(fd1, from, fd2, to, 0) })
}

// unlink removes a name that is not a folder, removeFolder an empty folder:
// Root.Remove does either, whichever it meets.
func unlink(dir *os.Root, base string) error {
	return inFolders(dir, dir, func(fd, _ int) error { return unix.Unlinkat(fd, base, 0) })
}

func removeFolder(dir *os.Root, base string) error {
	return inFolders(dir, dir, func(fd, _ int) error { return unix.Unlinkat(fd, base, unix.AT_REMOVEDIR) })
}

// inFolders hands out the descriptors of two folders; single names used with
// them, not followed, cannot leave them.
func inFolders(dir1, dir2 *os.Root, act func(fd1, fd2 int) error) error {
	d1, err := dir1.Open(".")
	if err != nil {
		return err
	}
	defer d1.Close()
	d2, err := dir2.Open(".")
	if err != nil {
		return err
	}
	defer d2.Close()
	return onFd(d1, func(fd1 int) error {
		return onFd(d2, func(fd2 int) error { return act(fd1, fd2) })
	})
}

// setTimes sets what is not nil.
func setTimes(file *os.File, access, mod *time.Time) error {
	if access == nil && mod == nil {
		return nil
	}
	times := []unix.Timespec{timespec(access), timespec(mod)}
	return onFd(file, func(fd int) error { return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH) })
}

func timespec(t *time.Time) unix.Timespec {
	if t == nil {
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// renamed gives file another name in its errors: an os.Root names what it opens
// by the path of the tree, which must not be told. It closes file.
func renamed(file *os.File, name string) (*os.File, error) {
	defer file.Close()
	var dup int
	err := onFd(file, func(fd int) (err error) {
		dup, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), name), nil
}

// space implements FS.Space.
func space(folder *os.File) (s storage.Space, err error) {
	var st unix.Statfs_t
	err = onFd(folder, func(fd int) error { return unix.Fstatfs(fd, &st) })
	if err != nil {
		return s, err
	}
	unit := uint64(st.Frsize)
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	return storage.Space{
		Total: st.Blocks * unit, Free: st.Bfree * unit, Available: st.Bavail * unit,
		Files: st.Files, FilesFree: st.Ffree,
	}, nil
}

// onFd uses the descriptor of file while it cannot be closed.
func onFd(file *os.File, act func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var acted error
	err = raw.Control(func(fd uintptr) {
		for {
			if acted = act(int(fd)); !errors.Is(acted, unix.EINTR) {
				return
			}
		}
	})
	return errors.Join(acted, err)
}
