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
	op, err := f.sess.Begin(ctx, session.Action{Verb: session.Read, Object: clean})
	if err != nil {
		return nil, err
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

// Close records how the reading went: err is nil if the peer got what it asked
// for. It returns err, or what went wrong in closing.
func (r *Reader) Close(ctx context.Context, err error) error {
	err = errors.Join(err, r.file.Close())
	r.files.release()
	r.op.Bytes = r.moved.Load()
	return r.op.End(ctx, err)
}

// Writer is a file being received; nobody sees it under its name before Commit.
// ReadAt and WriteAt may be called at the same time from any goroutine. End it
// once, by Commit or Abort.
type Writer struct {
	files  *Files
	upload storage.Upload
	op     *session.Op
	moved  atomic.Int64
}

// Create begins to write name. The record says append for opts.Keep =
// storage.KeepAll, write otherwise.
func (f *Files) Create(ctx context.Context, name string, opts storage.CreateOptions) (*Writer, error) {
	clean, tree, err := inTree(name)
	if err != nil {
		return nil, err
	}
	verb := session.Write
	if opts.Keep == storage.KeepAll {
		verb = session.Append
	}
	op, err := f.sess.Begin(ctx, session.Action{Verb: verb, Object: clean})
	if err != nil {
		return nil, err
	}
	if err := f.acquire(); err != nil {
		return nil, op.End(ctx, err)
	}
	upload, err := f.fs.Create(ctx, tree, opts)
	if err != nil {
		f.release()
		return nil, op.End(ctx, err)
	}
	return &Writer{files: f, upload: upload, op: op}, nil
}

// WriteAt writes and counts.
func (w *Writer) WriteAt(p []byte, off int64) (int, error) {
	n, err := w.upload.WriteAt(p, off)
	w.moved.Add(int64(n))
	return n, err
}

// ReadAt reads what was written or kept.
func (w *Writer) ReadAt(p []byte, off int64) (int, error) { return w.upload.ReadAt(p, off) }

// Stat describes what was written so far.
func (w *Writer) Stat() (storage.Info, error) { return w.upload.Stat() }

// OS is the file under the writer, for the kernel to fill; nil if there is
// none. What is written to it must be told to Count.
func (w *Writer) OS() *os.File { return w.upload.OS() }

// Count adds n bytes that did not pass through WriteAt.
func (w *Writer) Count(n int64) { w.moved.Add(n) }

// SetAttr changes attributes of the file being written.
func (w *Writer) SetAttr(attr storage.Attr) error { return w.upload.SetAttr(attr) }

// Sync puts what was written on stable storage, still unseen.
func (w *Writer) Sync() error { return w.upload.Sync() }

// Commit returns nil when content and name are on stable storage and in the
// record: only then may the peer be told that the file arrived.
func (w *Writer) Commit(ctx context.Context) error { return w.end(ctx, w.upload.Commit(ctx)) }

// errAborted is the cause of an Abort that was given none: the record must not
// say that the file arrived.
var errAborted = errors.New("aborted")

// Abort ends the upload because of cause and returns it. What was written is
// kept for its owner to resume if resumable is set.
func (w *Writer) Abort(ctx context.Context, cause error, resumable bool) error {
	if cause == nil {
		cause = errAborted
	}
	return w.end(ctx, errors.Join(cause, w.upload.Abort(resumable)))
}

func (w *Writer) end(ctx context.Context, err error) error {
	w.files.release()
	w.op.Bytes = w.moved.Load()
	return w.op.End(ctx, err)
}
