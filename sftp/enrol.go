package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

const (
	// enrolFolder and enrolPath are where OpenSSH keeps a user's keys, and where its
	// ssh-copy-id -s puts them.
	enrolFolder = "/.ssh"
	enrolPath   = enrolFolder + "/authorized_keys"
	// maxEnrolment is the most bytes of a file of keys.
	maxEnrolment = 64 << 10
)

// The answers to a file of keys. What is wrong with it is in the record.
var (
	errKeys     = status{codeFailure, "The keys were not accepted"}
	errKeysSize = status{codeFailure, "Too large for a file of keys"}
	errKeysName = status{codePermissionDenied, "Keys are taken as a file that is written in place"}
)

// enrols reports whether name is where the session brings keys for its account.
// There is no such file then: what is written there is not stored in the tree, and
// what the tree has there by that name is not shown. For whoever put it there need
// not have been let in by the password, and ssh-copy-id sends back what it read.
func (f *files) enrols(name string) bool { return f.enrolsAt(name, enrolPath) }

func (f *files) enrolsAt(name, at string) bool {
	if f.enrol == nil || !f.session.MayEnrol() {
		return false
	}
	clean, err := transfer.Resolve("/", name)
	return err == nil && clean == at
}

// enrolment is a file of keys that is being written, which is in memory only.
type enrolment struct {
	files   *files
	content []byte
	changed time.Time
	failed  error // why it must not be taken
}

// openEnrolment begins a file of keys, of which one may be open at a time: it
// takes memory.
func (f *files) openEnrolment() (handle, error) {
	if f.enrolling() != nil {
		return nil, session.ErrTooMany
	}
	return &enrolment{files: f, changed: time.Now()}, nil
}

// enrolling is the file of keys that is open.
func (f *files) enrolling() *enrolment {
	for _, h := range f.handles.open {
		if e, ok := h.(*enrolment); ok {
			return e
		}
	}
	return nil
}

// enrolInfo describes the file of keys that is open, or else the one that was
// taken last: clients look whether what they wrote is there.
func (f *files) enrolInfo() (storage.Info, error) {
	if e := f.enrolling(); e != nil {
		return e.stat()
	}
	if f.enrolled == nil {
		return storage.Info{}, session.ErrNotExist
	}
	return *f.enrolled, nil
}

// enrolSetAttr changes nothing of a file that was taken: it has no attributes.
func (f *files) enrolSetAttr(attr storage.Attr) error {
	if e := f.enrolling(); e != nil {
		return e.setAttr(attr)
	}
	switch {
	case f.enrolled == nil:
		return session.ErrNotExist
	case attr.Size != nil:
		return session.ErrDenied
	}
	return nil
}

func (e *enrolment) stat() (storage.Info, error) {
	return storage.Info{Name: "authorized_keys", Size: int64(len(e.content)), Mode: 0o600, ModTime: e.changed}, nil
}

// setAttr takes a size. Times and modes, which clients send along, mean nothing.
func (e *enrolment) setAttr(attr storage.Attr) error {
	if attr.Perm != nil && *attr.Perm&^fs.ModePerm != 0 {
		return session.ErrDenied
	}
	if attr.Size == nil {
		return nil
	}
	size := *attr.Size
	if size < 0 || size > maxEnrolment {
		return e.fail(errKeysSize)
	}
	e.grow(int(size))
	e.content = e.content[:size]
	return nil
}

func (e *enrolment) grow(size int) {
	if size > len(e.content) {
		e.content = append(e.content, make([]byte, size-len(e.content))...)
	}
}

// sync cannot put on stable storage what is not yet known to be keys.
func (e *enrolment) sync() error { return session.ErrUnsupported }

func (e *enrolment) readAt([]byte, int64) (int, error) { return 0, errWriteOnly }

func (e *enrolment) write(data []byte, offset uint64) error {
	if offset > math.MaxInt64-uint64(len(data)) {
		return e.fail(session.ErrRange)
	}
	end := offset + uint64(len(data))
	if end > maxEnrolment {
		return e.fail(errKeysSize)
	}
	e.grow(int(end))
	copy(e.content[offset:], data)
	e.changed = time.Now()
	return nil
}

func (e *enrolment) fail(err error) error {
	if e.failed == nil {
		e.failed = fmt.Errorf("%w: %w", errWrite, err)
	}
	return err
}

// close gives the keys to the account, if all of the file came.
func (e *enrolment) close(ctx context.Context, cause error) error {
	if cause = errors.Join(cause, e.failed); cause != nil {
		return cause
	}
	switch err := e.files.enrol(ctx, e.files.session, e.content); {
	case err == nil:
		info, _ := e.stat()
		e.files.enrolled = &info
		return nil
	case errors.Is(err, session.ErrUnavailable):
		return err
	default:
		return errKeys
	}
}
