//go:build linux

package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"gateway/session"
)

// errInside is a folder that was to be moved into itself.
var errInside = fmt.Errorf("folder into itself: %w", session.ErrName)

// fault words an error for whoever called a method of storage.FS: one of the
// kinds of package session where there is one, and never with the path of the
// tree, which the errors of package os carry.
func (f *FS) fault(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", op, name, f.kind(err))
}

func (f *FS) kind(err error) error {
	if f.escape != nil && errors.Is(err, f.escape) {
		return fmt.Errorf("leads out of the tree: %w", session.ErrDenied)
	}
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return errnoKind(no)
	}
	for _, bare := range [...]error{
		context.Canceled, context.DeadlineExceeded, os.ErrClosed, os.ErrNotExist, os.ErrExist, os.ErrPermission, io.EOF,
	} {
		if errors.Is(err, bare) && hasPath(err) {
			return bare
		}
	}
	if !hasPath(err) {
		return err
	}
	return innermost(err)
}

// errnoKind keeps the number where no kind fits: its text names no path.
func errnoKind(no syscall.Errno) error {
	switch no {
	case syscall.ENOENT, syscall.ESTALE:
		return session.ErrNotExist
	case syscall.ELOOP: // links that lead nowhere
		return fmt.Errorf("%w (%w)", session.ErrNotExist, no)
	case syscall.EEXIST:
		return session.ErrExist
	case syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENXIO, syscall.ENODEV:
		return fmt.Errorf("%w (%w)", session.ErrDenied, no)
	case syscall.ENAMETOOLONG, syscall.EILSEQ:
		return session.ErrName
	case syscall.EISDIR:
		return session.ErrIsDirectory
	case syscall.ENOTDIR:
		return session.ErrNotDirectory
	case syscall.ENOTEMPTY:
		return session.ErrNotEmpty
	case syscall.ENOSPC, syscall.EFBIG:
		return session.ErrNoSpace
	case syscall.EDQUOT:
		return session.ErrQuota
	case syscall.EBUSY, syscall.ETXTBSY:
		return session.ErrBusy
	case syscall.EMFILE, syscall.ENFILE, syscall.EMLINK:
		return session.ErrTooMany
	case syscall.EXDEV, syscall.ENOSYS, syscall.EOPNOTSUPP:
		return fmt.Errorf("%w (%w)", session.ErrUnsupported, no)
	default:
		return no
	}
}

func hasPath(err error) bool {
	var pathError *os.PathError
	var linkError *os.LinkError
	return errors.As(err, &pathError) || errors.As(err, &linkError)
}

// innermost drops every wrapping, and the paths with it.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
