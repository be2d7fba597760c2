package transfer

import (
	"context"
	"errors"
	"os"
	"sync/atomic"

	"gateway/session"
	"gateway/storage"
)

// Reader is a file being sent. ReadAt may be called at the same time from any
// goroutine. Close it once.
type Reader struct {
	files *Files
	file  storage.File
	op    *session.Op
	moved atomic.Int64
}

// Open opens a regular file for reading.
func (f *Files) Open(ctx context.Context, name string) (*Reader, error) {
	clean, tree, err := inTree(name)
	if err != nil {
		return nil, err
	}
	op, err := f.begin(ctx, session.Read, clean, "")
	if err != nil {
		return nil, err
	}
	if err := f.straight(ctx, tree, true); err != nil {
		return nil, op.End(ctx, err)
	}
	if err := f.acquire(); err != nil {
		return nil, op.End(ctx, err)
	}
	file, err := f.fs.Open(ctx, tree)
	if err != nil {
		f.release()
		return nil, op.End(ctx, err)
	}
	return &Reader{files: f, file: file, op: op}, nil
}

// ReadAt reads and counts.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.file.ReadAt(p, off)
	r.moved.Add(int64(n))
	return n, err
}

// Stat describes the open file.
func (r *Reader) Stat() (storage.Info, error) { return r.file.Stat() }

// OS is the file under the reader, for the kernel to send; nil if there is
// none. What is read from it must be told to Count.
func (r *Reader) OS() *os.File { return r.file.OS() }

// Count adds n bytes that did not pass through ReadAt.
func (r *Reader) Count(n int64) { r.moved.Add(n) }

// Allow says how many of the next want bytes may go to the peer now, and waits
// until at least one may. Without a limit that is all of them, at once. It fails
// with the cause if ctx is over.
func (r *Reader) Allow(ctx context.Context, want int64) (int64, error) {
	return r.files.out.wait(ctx, want)
}

// Carried says over which connection the content goes, if not over that of the
// session.
func (r *Reader) Carried(ch session.Channel) { r.op.Carrier = &ch }

// Close records how the reading went: err is nil if the peer got what it asked
// for. It returns err, or what went wrong in closing.
func (r *Reader) Close(ctx context.Context, err error) error {
	err = errors.Join(err, r.file.Close())
	r.files.release()
	r.op.Bytes = r.moved.Load()
	return r.op.End(ctx, err)
}
