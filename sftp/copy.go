package sftp

import (
	"errors"
	"io"
	"math"

	"gateway/session"
	"gateway/transfer"
)

// copyPiece is how much is copied between two looks at whether to go on.
const copyPiece = 16 << 20

// errSameHandle is a copy from a handle to itself, errSameFile one from another handle
// of what is written: the copy might follow its own end for ever.
var (
	errSameHandle = status{codeFailure, "Same handle"}
	errSameFile   = status{codeFailure, "Same file"}
)

// copyData copies from one open file to another (draft-ietf-secsh-filexfer-extensions-00,
// section 7). Without a length it copies to the end; if that comes before the length
// is reached the answer is SSH_FX_EOF, as OpenSSH's.
func (f *files) copyData(r *request) error {
	from, to, err := f.ends(r)
	if err != nil {
		return err
	}
	if r.offset > math.MaxInt64 || r.at > math.MaxInt64 {
		return session.ErrRange
	}
	if err := f.out.send(); err != nil { // what was answered must not wait
		return err
	}
	at, off := int64(r.offset), int64(r.at)
	whole := r.count == 0
	for left := r.count; whole || left > 0; {
		if err := f.step(); err != nil {
			return to.fail(err)
		}
		n := min(copyPiece, math.MaxInt64-at)
		if !whole {
			n = int64(min(uint64(n), left))
		}
		copied, err := to.copy(from, at, off, n)
		switch {
		case errors.Is(err, io.EOF) && whole:
			return nil
		case err != nil:
			return err
		}
		at, off, left = at+copied, off+copied, left-uint64(copied)
	}
	return nil
}

// ends are the two files of a copy.
func (f *files) ends(r *request) (transfer.Source, *writing, error) {
	from, err := f.file(r)
	if err != nil {
		return nil, nil, err
	}
	_, into := f.handles.get(r.into)
	to, writes := into.(*writing)
	switch _, reads := into.(*download); {
	case reads:
		return nil, nil, errReadOnly
	case !writes:
		return nil, nil, errHandle
	case from == file(to):
		return nil, nil, errSameHandle
	}
	source, err := sourceOf(from)
	if err != nil {
		return nil, nil, err
	}
	u, err := to.writable()
	if err == nil && source == transfer.Source(u.w) {
		err = errSameFile
	}
	return source, to, err
}

// sourceOf is what can be read through a handle.
func sourceOf(open file) (transfer.Source, error) {
	switch open := open.(type) {
	case *download:
		return open.r, nil
	case *writing:
		u, err := open.readable()
		if err != nil {
			return nil, err
		}
		return u.w, nil
	default:
		return nil, errHandle
	}
}

// copy puts n bytes of from at off. It fails with io.EOF where from has ended. A copy
// that failed leaves a hole, like a write.
func (h *writing) copy(from transfer.Source, at, off, n int64) (int64, error) {
	u, off, err := h.place(uint64(off), n)
	if err != nil {
		return 0, err
	}
	copied, err := u.w.CopyAt(off, from, at, n)
	if err == io.EOF {
		return 0, err
	}
	if err == nil && copied == 0 {
		return 0, io.EOF // cut short meanwhile
	}
	return copied, h.fail(err)
}
