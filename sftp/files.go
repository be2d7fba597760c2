package sftp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// open answers SSH_FXP_OPEN (section 6.3).
func (f *files) open(r *request) error {
	writes := r.flags&(openWrite|openAppend|openCreate|openTruncate) != 0
	switch {
	case writes && f.enrols(r.path):
		return f.opened(f.openEnrolment)
	case f.enrols(r.path):
		return session.ErrNotExist
	case writes:
		return f.opened(func() (handle, error) { return f.openWriting(r) })
	case r.flags&openRead != 0:
		return f.opened(func() (handle, error) {
			reader, err := f.view().Open(f.ctx, r.path)
			if err != nil {
				return nil, err
			}
			return &download{r: reader}, nil
		})
	default:
		return errMalformed
	}
}

// openWriting begins an upload: without TRUNC what is there stays, an
// interrupted upload included; without CREAT there must be something. With APPEND
// what is there stays as it is.
func (f *files) openWriting(r *request) (handle, error) {
	perm, err := r.attrs.permissions()
	if err != nil {
		return nil, err
	}
	opts := storage.CreateOptions{
		Perm: perm, Existing: r.flags&openCreate == 0,
		Exclusive: r.flags&(openCreate|openExclusive) == openCreate|openExclusive,
	}
	begin := f.view().Create
	if r.flags&openTruncate == 0 {
		opts.Keep = storage.KeepAll
		if r.flags&openAppend != 0 {
			begin = f.view().Append
		}
	}
	w, err := begin(f.ctx, r.path, opts)
	if err != nil {
		return nil, err
	}
	clean, err := transfer.Resolve("/", r.path)
	if err != nil {
		return nil, w.Abort(f.ctx, err, true)
	}
	u := &upload{w: w, path: clean, append: r.flags&openAppend != 0, readable: r.flags&openRead != 0}
	if u.append {
		info, err := w.Stat()
		if err != nil {
			return nil, w.Abort(f.ctx, err, true)
		}
		u.end = info.Size
	}
	return u, nil
}

// read answers SSH_FXP_READ: the data is read to where it is sent from.
func (f *files) read(r *request) error {
	from, err := f.file(r)
	if err != nil {
		return err
	}
	length := min(r.length, maxData)
	if r.offset > math.MaxInt64-uint64(length) {
		return session.ErrRange
	}
	if length, err = f.paced(from, length); err != nil {
		return err
	}
	free := f.out.free()
	b := free[:dataHeader+int(length)]
	n, err := from.readAt(b[dataHeader:], int64(r.offset))
	if n == 0 && err != nil {
		return err
	}
	b = begin(free, typeData, f.id)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	f.reply(b[:dataHeader+n])
	return nil
}

// paced waits until some of the length bytes to be read may go, and returns how
// many: where the bandwidth is limited, an answer may be short.
func (f *files) paced(from file, length uint32) (uint32, error) {
	d, ok := from.(*download)
	if !ok {
		return length, nil
	}
	if err := f.beforeWait(); err != nil {
		return 0, err
	}
	may, err := d.r.Allow(f.pace, int64(length))
	return uint32(may), err
}

// beforeWait sends the answers to earlier requests, which must not wait with
// this one.
func (f *files) beforeWait() error {
	if !f.tree.Paced() {
		return nil
	}
	return f.out.send()
}

// write answers SSH_FXP_WRITE.
func (f *files) write(r *request) error {
	_, h := f.handles.get(r.handle)
	switch u := h.(type) {
	case *upload:
		if err := errors.Join(f.beforeWait(), u.w.Pace(f.pace, int64(len(r.data)))); err != nil {
			return u.fail(err)
		}
		return u.write(r.data, r.offset)
	case *enrolment:
		return u.write(r.data, r.offset)
	case *download:
		return errReadOnly
	default:
		return errHandle
	}
}

// fstat answers SSH_FXP_FSTAT, of the open file, whatever its name shows by now.
func (f *files) fstat(r *request) error {
	open, err := f.file(r)
	if err != nil {
		return err
	}
	return f.describe(open.stat())
}

// fsetstat answers SSH_FXP_FSETSTAT.
func (f *files) fsetstat(r *request) error {
	open, err := f.file(r)
	if err != nil {
		return err
	}
	attr, err := r.attrs.change()
	if err != nil {
		return err
	}
	return open.setAttr(attr)
}

// download is a file open for reading.
type download struct{ r *transfer.Reader }

func (d *download) stat() (storage.Info, error)             { return d.r.Stat() }
func (d *download) readAt(p []byte, off int64) (int, error) { return d.r.ReadAt(p, off) }
func (d *download) sync() error                             { return nil }

// setAttr refuses: the tree can change a file by its name only, and that may be
// another's by now.
func (d *download) setAttr(storage.Attr) error { return session.ErrDenied }

func (d *download) close(ctx context.Context, cause error) error {
	return d.r.Close(ctx, cause)
}

// upload is a file open for writing.
type upload struct {
	w        *transfer.Writer
	path     string // clean
	append   bool
	readable bool
	end      int64 // where the next write goes, if append is set
	failed   error // why the file must not be shown
}

func (u *upload) stat() (storage.Info, error) { return u.w.Stat() }
func (u *upload) sync() error                 { return u.w.Sync() }

func (u *upload) setAttr(attr storage.Attr) error {
	err := u.w.SetAttr(attr)
	if err == nil && attr.Size != nil {
		u.end = *attr.Size
	}
	return err
}

// readAt reads what was written so far.
func (u *upload) readAt(p []byte, off int64) (int, error) {
	if !u.readable {
		return 0, errWriteOnly
	}
	return u.w.ReadAt(p, off)
}

// write puts data at offset. A write that failed leaves a hole, so that the file
// is not shown when it is closed.
func (u *upload) write(data []byte, offset uint64) error {
	if u.append {
		offset = uint64(u.end)
	}
	if offset > math.MaxInt64-uint64(len(data)) {
		return u.fail(session.ErrRange)
	}
	n, err := u.w.WriteAt(data, int64(offset))
	u.end += int64(n)
	return u.fail(err)
}

func (u *upload) fail(err error) error {
	if err != nil && u.failed == nil {
		u.failed = fmt.Errorf("%w: %w", errWrite, err)
	}
	return err
}

// close shows the file under its name, if all of it came, and returns when it is
// on stable storage. Else what came is kept, unseen, for its owner to resume.
func (u *upload) close(ctx context.Context, cause error) error {
	if cause = errors.Join(cause, u.failed); cause != nil {
		return u.w.Abort(ctx, cause, true)
	}
	return u.w.Commit(ctx)
}

// shown is a file that was written and is under its name before the peer closed it:
// there is nothing left to do but to tell how that went.
type shown struct{ err error }

func (s shown) close(context.Context, error) error { return s.err }

// show ends the upload with that handle now.
func (f *files) show(number uint64, u *upload) error {
	f.handles.remove(number, u)
	err := u.close(context.WithoutCancel(f.ctx), nil)
	f.handles.put(number, shown{err})
	return err
}
