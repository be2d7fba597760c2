package sftp

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"sync"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// maxFolders is how many folders one subsystem may have open for listing. Files
// are bounded by transfer.Limits.
const maxFolders = 64

// files is one run of the subsystem: the tree, and what is open in it. Its
// methods are called by several goroutines of the request server, none of which
// survives a panic, so that each call is run by do.
type files struct {
	ctx      context.Context // of the connection
	tree     *transfer.Files
	busy     *activity
	session  *session.Session
	panicked func(any)
	order    *order

	mu      sync.Mutex
	open    []handle
	folders int
}

// handle is an open file. Requests that name a handle reach it by its path,
// since the request server hands on no more: the latest that was opened counts.
type handle interface {
	name() string
	stat() (storage.Info, error)
	setAttr(storage.Attr) error
}

// do runs one request: counted, ended with the session, its panics kept from the
// process, and its error turned into what the peer is told.
func (f *files) do(act func() error) (err error) {
	f.busy.begin()
	defer f.busy.end()
	defer func() {
		if v := recover(); v != nil {
			f.panicked(v)
			err = session.ErrUnavailable
		}
		err = answer(err)
	}()
	if f.over() {
		return session.ErrClosed
	}
	return act()
}

// over reports whether the session ended, by whomever.
func (f *files) over() bool {
	select {
	case <-f.session.Done():
		return true
	default:
		return false
	}
}

// add counts h among the open files.
func (f *files) add(h handle) {
	f.mu.Lock()
	f.open = append(f.open, h)
	f.mu.Unlock()
}

func (f *files) remove(h handle) {
	f.mu.Lock()
	for i, other := range f.open {
		if other == h {
			f.open = append(f.open[:i], f.open[i+1:]...)
			break
		}
	}
	f.mu.Unlock()
	f.busy.closed()
}

// opened returns the file that was last opened under that name, or nil.
func (f *files) opened(name string) handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.open) - 1; i >= 0; i-- {
		if f.open[i].name() == name {
			return f.open[i]
		}
	}
	return nil
}

// read opens a file for reading.
func (f *files) read(name string) (*download, error) {
	if !f.busy.opened() {
		return nil, session.ErrShutdown
	}
	r, err := f.tree.Open(f.ctx, name)
	if err != nil {
		f.busy.closed()
		return nil, err
	}
	d := &download{files: f, path: name, r: r}
	f.add(d)
	return d, nil
}

// openFlags are the pflags of SSH_FXP_OPEN that say how a file is written.
type openFlags struct{ create, truncate, exclusive, append bool }

// options says what the flags mean to storage: without TRUNC what is there
// stays, an interrupted upload included; without CREAT there must be something.
func (o openFlags) options(perm fs.FileMode) storage.CreateOptions {
	opts := storage.CreateOptions{Perm: perm, Existing: !o.create, Exclusive: o.create && o.exclusive}
	if !o.truncate {
		opts.Keep = storage.KeepAll
	}
	return opts
}

// write opens a file for writing, and reading what was written.
func (f *files) write(name string, flags openFlags, perm fs.FileMode) (*upload, error) {
	if perm&^fs.ModePerm != 0 {
		return nil, session.ErrDenied
	}
	if !f.busy.opened() {
		return nil, session.ErrShutdown
	}
	w, err := f.tree.Create(f.ctx, name, flags.options(perm))
	if err != nil {
		f.busy.closed()
		return nil, err
	}
	u := &upload{files: f, path: name, w: w, append: flags.append}
	if flags.append {
		info, err := w.Stat()
		if err != nil {
			f.busy.closed()
			return nil, w.Abort(f.ctx, err, true)
		}
		u.end = info.Size
		f.order.append(+1)
	}
	f.add(u)
	return u, nil
}

// setAttr changes attributes of a file: of the open one if onHandle is set.
func (f *files) setAttr(name string, attr storage.Attr, onHandle bool) error {
	if onHandle {
		if h := f.opened(name); h != nil {
			return h.setAttr(attr)
		}
	}
	return f.tree.SetAttr(f.ctx, name, attr)
}

// download is a file open for reading.
type download struct {
	files *files
	path  string
	r     *transfer.Reader
	mu    sync.Mutex
	cause error // why the reading was cut short
}

func (d *download) name() string                { return d.path }
func (d *download) stat() (storage.Info, error) { return d.r.Stat() }

func (d *download) setAttr(attr storage.Attr) error {
	return d.files.tree.SetAttr(d.files.ctx, d.path, attr)
}

// ReadAt reads for SSH_FXP_READ.
func (d *download) ReadAt(p []byte, off int64) (n int, err error) {
	err = d.files.do(func() error {
		if off < 0 {
			return session.ErrRange
		}
		n, err = d.r.ReadAt(p, off)
		return err
	})
	return n, err
}

// TransferError says that the channel ended with the file still open.
func (d *download) TransferError(err error) {
	d.mu.Lock()
	d.cause = fmt.Errorf("connection ended: %w", err)
	d.mu.Unlock()
}

// Close ends the reading, once.
func (d *download) Close() error {
	defer d.files.remove(d)
	d.mu.Lock()
	cause := d.cause
	d.mu.Unlock()
	return d.files.close(func(ctx context.Context) error { return d.r.Close(ctx, cause) })
}

// upload is a file open for writing.
type upload struct {
	files  *files
	path   string
	w      *transfer.Writer
	append bool

	mu    sync.Mutex
	end   int64 // where the next write goes, if append is set
	cause error // why the file must not be shown
}

func (u *upload) name() string                    { return u.path }
func (u *upload) stat() (storage.Info, error)     { return u.w.Stat() }
func (u *upload) setAttr(attr storage.Attr) error { return u.w.SetAttr(attr) }

// ReadAt reads what was written so far.
func (u *upload) ReadAt(p []byte, off int64) (n int, err error) {
	err = u.files.do(func() error {
		if off < 0 {
			return session.ErrRange
		}
		n, err = u.w.ReadAt(p, off)
		return err
	})
	return n, err
}

// WriteAt writes for SSH_FXP_WRITE. A write that failed leaves a hole, so that
// the file is not shown when it is closed.
func (u *upload) WriteAt(p []byte, off int64) (n int, err error) {
	err = u.files.do(func() error {
		if u.append {
			u.mu.Lock()
			defer u.mu.Unlock()
			off = u.end
		}
		if off < 0 || off > math.MaxInt64-int64(len(p)) {
			return session.ErrRange
		}
		n, err = u.w.WriteAt(p, off)
		if u.append {
			u.end += int64(n)
		}
		return err
	})
	if err != nil {
		u.fail(fmt.Errorf("a write failed: %w", err))
	}
	return n, err
}

func (u *upload) fail(cause error) {
	u.mu.Lock()
	if u.cause == nil {
		u.cause = cause
	}
	u.mu.Unlock()
}

// TransferError says that the channel ended with the file still open: whatever
// came of it is not all.
func (u *upload) TransferError(err error) { u.fail(fmt.Errorf("connection ended: %w", err)) }

// Close shows the file under its name, if all of it came, and returns when it is
// on stable storage. Else what came is kept, unseen, for its owner to resume.
func (u *upload) Close() error {
	defer u.files.remove(u)
	if u.append {
		defer u.files.order.append(-1)
	}
	u.mu.Lock()
	cause := u.cause
	u.mu.Unlock()
	return u.files.close(func(ctx context.Context) error {
		if cause == nil && u.files.over() {
			cause = session.ErrClosed
		}
		if cause != nil {
			return u.w.Abort(ctx, cause, true)
		}
		return u.w.Commit(ctx)
	})
}

// close runs the end of a handle. It is do for what must also happen when the
// session or the connection is over.
func (f *files) close(act func(context.Context) error) (err error) {
	f.busy.begin()
	defer f.busy.end()
	defer func() {
		if v := recover(); v != nil {
			f.panicked(v)
			err = session.ErrUnavailable
		}
		err = answer(err)
	}()
	return act(context.WithoutCancel(f.ctx))
}
