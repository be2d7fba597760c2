package audit

import (
	"errors"

	"golang.org/x/sys/unix"
)

// datasync leaves out the times of the file, which nobody reads: on most file
// systems that saves a write of the journal.
func (f segmentFile) datasync() error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

func (f segmentFile) allocate(size int64) error {
	for {
		switch err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size); {
		case err == unix.EINTR:
		case err == unix.EOPNOTSUPP, err == unix.ENOSYS:
			return errors.ErrUnsupported
		default:
			return err
		}
	}
}
