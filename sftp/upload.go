package sftp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// upload is a file that is being written. Nobody else sees it before it is closed; to
// whoever writes it, its name stands for it from the start: sshfs does not wait for the
// answer to a CLOSE and goes on by the name, which may come before it.
//
// There is one for a name, however many handles it has. The first of those to be closed
// that writes shows the file, so that a CLOSE that went well always means that what was
// written is there; who writes on by another begins an upload of what is shown.
type upload struct {
	w       *transfer.Writer
	appends bool  // w was made by Append
	failed  error // why the file must not be shown
}

// finish shows the file, if all of it came, and returns when it is on stable storage.
// Else what came is kept, unseen, for its owner to resume.
func (u *upload) finish(ctx context.Context, cause error) error {
	if cause = errors.Join(cause, u.failed); cause != nil {
		return u.w.Abort(ctx, cause, true)
	}
	return u.w.Commit(ctx)
}

// underWay finds the file that is being written to a name here; nil if there is none, or
// a write to it failed.
func (f *files) underWay(name string) *upload {
	if f.handles.writing == 0 {
		return nil
	}
	clean, err := transfer.Resolve("/", name)
	if err != nil {
		return nil
	}
	for _, open := range f.handles.open {
		if h, ok := open.(*writing); ok && h.path == clean && h.upload != nil && h.upload.failed == nil {
			return h.upload
		}
	}
	return nil
}

// openWriting opens a file to be written: without TRUNC what is there stays, an
// interrupted upload included; without CREAT there must be something. With APPEND
// what is there stays as it is.
func (f *files) openWriting(r *request) (handle, error) {
	perm, err := r.attrs.permissions()
	if err != nil {
		return nil, err
	}
	clean, err := transfer.Resolve("/", r.path)
	if err != nil {
		return nil, err
	}
	h := &writing{files: f, path: clean, flags: r.flags}
	exclusive := r.flags&(openCreate|openExclusive) == openCreate|openExclusive
	if u := f.underWay(clean); u != nil {
		switch {
		case exclusive:
			return nil, session.ErrExist
		case r.flags&openTruncate == 0 && (!u.appends || r.flags&openAppend != 0):
			h.upload = u
			return h, nil
		}
		_ = f.show(clean) // whoever closes it is told
	}
	h.upload, err = f.begin(clean, r.flags, storage.CreateOptions{
		Perm: perm, Existing: r.flags&openCreate == 0, Exclusive: exclusive,
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// begin begins an upload.
func (f *files) begin(clean string, flags uint32, opts storage.CreateOptions) (*upload, error) {
	u := &upload{appends: flags&(openTruncate|openAppend) == openAppend}
	start := f.view().Create
	if u.appends {
		start = f.view().Append
	}
	if flags&openTruncate == 0 {
		opts.Keep = storage.KeepAll
	}
	var err error
	u.w, err = start(f.ctx, clean, opts)
	return u, err
}

// show ends the upload to a name, if there is one, before a request that needs the file
// under it.
func (f *files) show(name string) error {
	if u := f.underWay(name); u != nil {
		return f.ended(u, nil)
	}
	return nil
}

// ended ends an upload and tells its handles how that went. Those that only read stand
// for what is shown then.
func (f *files) ended(u *upload, cause error) error {
	err := u.finish(context.WithoutCancel(f.ctx), cause)
	for number, open := range f.handles.open {
		h, ok := open.(*writing)
		if !ok || h.upload != u {
			continue
		}
		h.upload, h.result = nil, err
		if h.writes() || err != nil {
			continue
		}
		var shown handle
		if shown, h.result = f.download(h.path); h.result == nil {
			f.handles.open[number] = shown
			f.handles.count(h, -1)
		}
	}
	return err
}

// renamed notes that what had a name has another now, "" if none, and so has what was
// below it; what had that other name before has none.
func (f *files) renamed(from, to string) {
	from, err := transfer.Resolve("/", from)
	if err == nil && to != "" {
		to, err = transfer.Resolve("/", to)
	}
	if err != nil || from == to {
		return // and what did not resolve was not renamed
	}
	for _, open := range f.handles.open {
		h, ok := open.(*writing)
		if !ok {
			continue
		}
		below, moved := strings.CutPrefix(h.path, from)
		switch {
		case moved && (below == "" || below[0] == '/'):
			h.path = to + below
		case h.path == to:
			h.path = ""
		}
	}
}

// writing is a handle of an upload.
type writing struct {
	files  *files
	path   string // clean; "" when there is no such name any more
	flags  uint32 // of SSH_FXP_OPEN
	upload *upload
	result error // how the upload ended, once it is nil
}

func (h *writing) writes() bool { return h.flags&(openWrite|openAppend|openCreate|openTruncate) != 0 }

// current returns the upload, beginning another if that was shown meanwhile.
func (h *writing) current() (*upload, error) {
	switch {
	case h.upload != nil:
		return h.upload, nil
	case h.result != nil:
		return nil, h.result
	case h.path == "":
		return nil, session.ErrNotExist
	}
	u := h.files.underWay(h.path)
	if u == nil || u.appends && h.flags&openAppend == 0 {
		var err error
		if err = h.files.show(h.path); err == nil {
			u, err = h.files.begin(h.path, h.flags&openAppend, storage.CreateOptions{Existing: true})
		}
		if err != nil {
			return nil, err
		}
	}
	h.upload = u
	return u, nil
}

func (h *writing) readable() (*upload, error) {
	if h.flags&openRead == 0 {
		return nil, errWriteOnly
	}
	return h.current()
}

func (h *writing) writable() (*upload, error) {
	if !h.writes() {
		return nil, errReadOnly
	}
	return h.current()
}

func (h *writing) stat() (storage.Info, error) {
	u, err := h.current()
	if err != nil {
		return storage.Info{}, err
	}
	return u.w.Stat()
}

func (h *writing) sync() error {
	u, err := h.current()
	if err != nil {
		return err
	}
	return u.w.Sync()
}

func (h *writing) setAttr(attr storage.Attr) error {
	if !h.writes() {
		return session.ErrDenied // as of a download
	}
	u, err := h.current()
	if err != nil {
		return err
	}
	return u.w.SetAttr(attr)
}

// readAt reads what was written so far.
func (h *writing) readAt(p []byte, off int64) (int, error) {
	u, err := h.readable()
	if err != nil {
		return 0, err
	}
	return u.w.ReadAt(p, off)
}

// write puts data at offset. A write that failed leaves a hole, so that the file
// is not shown when it is closed.
func (h *writing) write(data []byte, offset uint64) error {
	u, off, err := h.place(offset, int64(len(data)))
	if err != nil {
		return err
	}
	if err = errors.Join(h.files.beforeWait(), u.w.Pace(h.files.pace, int64(len(data)))); err == nil {
		_, err = u.w.WriteAt(data, off)
	}
	return h.fail(err)
}

// place is where n bytes that are meant for offset are to be written: who appends writes
// at the end.
func (h *writing) place(offset uint64, n int64) (*upload, int64, error) {
	u, err := h.writable()
	if err != nil {
		return nil, 0, err
	}
	if h.flags&openAppend != 0 {
		info, err := u.w.Stat()
		if err != nil {
			return nil, 0, h.fail(err)
		}
		offset = uint64(info.Size)
	}
	if offset > uint64(math.MaxInt64-n) {
		return nil, 0, h.fail(session.ErrRange)
	}
	return u, int64(offset), nil
}

// errWrite is why a file is not shown.
var errWrite = errors.New("a write failed")

func (h *writing) fail(err error) error {
	if u := h.upload; err != nil && u != nil && u.failed == nil {
		u.failed = fmt.Errorf("%w: %w", errWrite, err)
	}
	return err
}

// close ends the upload, if h writes to it. If it has ended already, the peer is told how.
func (h *writing) close(_ context.Context, cause error) error {
	if h.upload == nil || !h.writes() {
		return h.result
	}
	return h.files.ended(h.upload, cause)
}
