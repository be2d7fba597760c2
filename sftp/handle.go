package sftp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"gateway/session"
	"gateway/storage"
)

const (
	// handleSize is the length of a handle, which tells the peer nothing.
	handleSize = 8
	// maxFolders is how many folders one subsystem may have open for listing. Files
	// are bounded by transfer.Limits.
	maxFolders = 64
	// maxAhead is of how many of them the next answer is prepared, which takes maxNames
	// of memory.
	maxAhead = 4
	// maxHandles is how many handles one subsystem may have, of which several may stand
	// for one file that is being written.
	maxHandles = 1024
)

// errHandle is a handle that was not given out, or is closed, or is of another
// kind than the request; errNoHandle is the same of CLOSE and fsync, for which
// OpenSSH has another code.
var (
	errHandle   = status{codeFailure, "No such handle"}
	errNoHandle = status{codeNoSuchFile, "No such handle"}
)

// handle is a file or folder that is open.
type handle interface {
	// close ends it. A cause says why it was not closed by the peer.
	close(ctx context.Context, cause error) error
}

// file is a handle that a file hides behind.
type file interface {
	handle
	stat() (storage.Info, error)
	setAttr(storage.Attr) error
	sync() error
	// readAt is io.ReaderAt.
	readAt(p []byte, off int64) (int, error)
}

// handles are what is open in one subsystem.
type handles struct {
	open    map[uint64]handle
	next    func() uint64
	folders int
	ahead   int // folders whose next answer is prepared, or is being
	writing int // handles of files that are being written
}

func newHandles() handles { return handles{open: make(map[uint64]handle), next: randomHandle} }

func randomHandle() uint64 {
	var b [handleSize]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

func (t *handles) get(name []byte) (uint64, handle) {
	if len(name) != handleSize {
		return 0, nil
	}
	number := binary.BigEndian.Uint64(name)
	return number, t.open[number]
}

// add gives h a name that no other has.
func (t *handles) add(h handle) uint64 {
	number := t.next()
	for t.open[number] != nil {
		number = t.next()
	}
	t.open[number] = h
	t.count(h, +1)
	return number
}

func (t *handles) remove(number uint64, h handle) {
	delete(t.open, number)
	t.count(h, -1)
}

func (t *handles) count(h handle, n int) {
	switch h.(type) {
	case *folder:
		t.folders += n
	case *writing:
		t.writing += n
	}
}

// file returns the file that a request names.
func (f *files) file(r *request) (file, error) {
	_, h := f.handles.get(r.handle)
	if open, ok := h.(file); ok {
		return open, nil
	}
	return nil, errHandle
}

// opened answers with a handle for what open returns, unless no more may be
// opened.
func (f *files) opened(open func() (handle, error)) error {
	if len(f.handles.open) >= maxHandles {
		return session.ErrTooMany
	}
	if !f.busy.opened() {
		return session.ErrShutdown
	}
	h, err := open()
	if err != nil {
		f.busy.closed()
		return err
	}
	b := begin(f.out.free(), typeHandle, f.id)
	b = binary.BigEndian.AppendUint32(b, handleSize)
	f.reply(binary.BigEndian.AppendUint64(b, f.handles.add(h)))
	return nil
}

// close answers SSH_FXP_CLOSE, by whose status the peer knows whether what it
// wrote is there.
func (f *files) close(r *request) error {
	number, h := f.handles.get(r.handle)
	if h == nil {
		return errNoHandle
	}
	var cause error
	if f.over() {
		cause = session.ErrClosed
	}
	return f.end(number, h, cause)
}

// end closes a handle, which must also happen when the session or the connection
// is over.
func (f *files) end(number uint64, h handle, cause error) error {
	f.handles.remove(number, h)
	defer f.busy.closed()
	return h.close(context.WithoutCancel(f.ctx), cause)
}

// closeAll ends what is open when no request comes any more. A panic in one does
// not keep the others from being ended.
func (f *files) closeAll(cause error) {
	cause = fmt.Errorf("connection ended: %w", cause)
	for number, h := range f.handles.open {
		func() {
			defer func() {
				if v := recover(); v != nil {
					f.panicked(v)
				}
			}()
			f.busy.begin()
			defer f.busy.end()
			_ = f.end(number, h, cause) // recorded
		}()
	}
}

// errReadOnly and errWriteOnly are uses of a handle that it was not opened for, with
// the code that OpenSSH has for EBADF.
var (
	errReadOnly  = status{codeNoSuchFile, "Opened for reading only"}
	errWriteOnly = status{codeNoSuchFile, "Opened for writing only"}
)
