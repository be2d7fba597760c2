package local

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"gateway/session"
	"gateway/storage"
)

var _ storage.Copier = (*upload)(nil)

// CopyAt implements storage.Copier by copy_file_range(2), which shares blocks where
// the file system can.
func (u *upload) CopyAt(off int64, from *os.File, at, n int64) (copied int64, err error) {
	if off < 0 || at < 0 || n < 0 {
		return 0, u.fs.fault("copy", u.name, session.ErrRange)
	}
	for copied < n {
		step := 0
		err = onFd(from, func(source int) error {
			return onFd(u.file, func(target int) (err error) {
				// The kernel moves both offsets.
				step, err = unix.CopyFileRange(source, &at, target, &off, int(min(n-copied, copyStep)), 0)
				return err
			})
		})
		if err != nil || step == 0 {
			break
		}
		copied += int64(step)
	}
	if copied == 0 && cannotCopy(err) {
		err = session.ErrUnsupported
	}
	return copied, u.fs.fault("copy", u.name, err)
}

// cannotCopy reports whether err means these files and not this content: they are
// on two file systems, or on one that does not do it.
func cannotCopy(err error) bool {
	return errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) ||
		errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM)
}
