package local

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"gateway/session"
	"gateway/storage"
)

// newFile makes a file that can be handed out of the descriptor fd, which it
// takes over, if that is of a regular file or a folder. The name is in the errors
// of the file, so it is one that the peer may read. It tells package os nothing
// that would make it try the poller.
func newFile(fd int, name string) (*os.File, stat, error) {
	s, err := statFd(fd)
	if err == nil && !s.isDir() && !s.isRegular() {
		err = session.ErrDenied
	}
	if err == nil {
		err = clearFlags(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, stat{}, err
	}
	return os.NewFile(uintptr(fd), name), s, nil
}

// clearFlags undoes O_NONBLOCK of openSafely.
func clearFlags(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0)
	return err
}

// tryLock locks all of a file for writing, or returns errLocked. The lock belongs
// to the open file, not to the process, and ends with its last descriptor.
func tryLock(fd int) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	err := uninterrupted(func() error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock) })
	if err == unix.EAGAIN || err == unix.EACCES {
		return errLocked
	}
	return err
}

// isLocked reports whether somebody else holds a lock on a file. It takes none
// itself, so that looking at an upload never disturbs it.
func isLocked(fd int) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	err := uninterrupted(func() error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lock) })
	return lock.Type != unix.F_UNLCK, err
}

// setTimes sets what is not nil.
func setTimes(file *os.File, access, mod *time.Time) error {
	if access == nil && mod == nil {
		return nil
	}
	times := timespecs(access, mod)
	return onFd(file, func(fd int) error { return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH) })
}

func timespecs(access, mod *time.Time) []unix.Timespec {
	return []unix.Timespec{timespec(access), timespec(mod)}
}

func timespec(t *time.Time) unix.Timespec {
	if t == nil {
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// space implements FS.Space.
func space(d *folder) (s storage.Space, err error) {
	var st unix.Statfs_t
	err = uninterrupted(func() error { return unix.Fstatfs(d.fd, &st) })
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
		acted = uninterrupted(func() error { return act(int(fd)) })
	})
	return errors.Join(acted, err)
}
