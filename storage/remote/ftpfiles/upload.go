package ftpfiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/ftpclient"
	"gateway/storage/remote/upstream"
)

// maxCopied is how many bytes of a file are brought here and back, since FTP cannot have a
// server copy them: those that an upload begins with, where it does not go on at the end of
// an interrupted one.
const maxCopied = 1 << 30

// upload is a storage.Upload.
type upload struct {
	fs         *FS
	lease      lease
	name, full string
	// part is its hidden name: that by which it can be resumed, of the first upload of a
	// name that begins anew or goes on at the end, and one of its own of others.
	part  string
	first bool
	left  bool // an interrupted upload that this one takes the place of is there
	opts  storage.CreateOptions
	was   *ftpclient.Entry // what had the name at Create; nil for nothing

	mu      sync.Mutex
	out     *ftpclient.Transfer
	content inOrder
	err     error // why nothing can be written any more
	perm    *fs.FileMode
	modTime *time.Time
	ended   bool
}

// Create implements storage.FS. The upload has a connection until it ends.
func (f *FS) Create(ctx context.Context, name string, opts storage.CreateOptions) (storage.Upload, error) {
	c, err := f.notRoot(ctx, name, upstream.Lasting)
	if err != nil {
		return nil, fault("create", name, err)
	}
	full := f.path(name)
	u := &upload{fs: f, lease: c, name: name, full: full, part: upstream.Part(full), first: f.server.uploads.Take(full), opts: opts}
	err = u.begin(ctx)
	if err != nil {
		u.free()
		return nil, fault("create", name, err)
	}
	return u, nil
}

// free lets another upload of the name be the first, and others have the connection.
func (u *upload) free() {
	if u.first {
		u.fs.server.uploads.Free(u.full)
	}
	u.lease.Return()
}

// begin looks at what is there, and opens the hidden file.
func (u *upload) begin(ctx context.Context) error {
	switch {
	case u.opts.Perm&^fs.ModePerm != 0:
		return session.ErrDenied
	case u.opts.Ledger != nil:
		return session.ErrUnsupported
	case !u.first && u.opts.Keep != 0:
		return session.ErrBusy
	}
	e, there, err := u.fs.lookup(ctx, u.lease, u.name)
	if err != nil {
		return err
	}
	if there {
		u.was = &e
	}
	var left ftpclient.Entry
	if u.first {
		left, err = stat(ctx, u.lease, u.part)
		u.left = err == nil && left.Kind == ftpclient.File
		if err != nil && !errors.Is(err, session.ErrNotExist) {
			return err
		}
	}
	if err := u.allowed(); err != nil {
		return err
	}
	size := int64(0)
	switch {
	case u.was != nil:
		size = u.was.Size
	case u.left:
		size = left.Size
	}
	keep := u.opts.Keep
	if keep == storage.KeepAll {
		keep = size
	}
	if keep < 0 || keep > size {
		return session.ErrRange
	}
	return u.open(ctx, keep, size)
}

// allowed is an error unless what is there may be replaced by such an upload.
func (u *upload) allowed() error {
	switch {
	case u.was == nil && (u.opts.Replacing || u.opts.Existing && !u.left):
		return session.ErrNotExist
	case u.was == nil:
		return nil
	case u.was.Kind != ftpclient.File:
		return regular(*u.was)
	case u.was.Moded && u.was.Perm&upstream.OwnerMayWrite == 0:
		return session.ErrDenied
	case u.opts.Exclusive:
		return session.ErrExist
	}
	return nil
}

// open opens the hidden file with what is kept of size bytes that are there.
func (u *upload) open(ctx context.Context, keep, size int64) (err error) {
	if u.was == nil && u.left && keep > 0 && keep == size {
		u.out, err = u.lease.Conn.Append(ctx, u.part)
		if err == nil {
			u.left = false
			u.content = inOrder{to: u.out, next: keep}
			return nil
		}
		if code, _ := ftpclient.Code(err); code == 0 || u.lease.Conn.Broken() {
			return err
		}
		// It does not append; some say so as if it were for the moment.
	}
	from := u.full
	if u.was == nil {
		from = u.part
	}
	switch {
	case keep > maxCopied:
		return session.ErrUnsupported
	case keep > 0 && u.left || !u.first:
		u.part = upstream.OwnPart(u.full)
	case u.left:
		if err := u.lease.Conn.Remove(ctx, u.part); err != nil {
			return err
		}
	}
	if u.out, err = u.lease.Conn.Store(ctx, u.part); err != nil {
		return err
	}
	u.left = u.left && u.part != upstream.Part(u.full)
	u.content = inOrder{to: u.out}
	if keep > 0 {
		err = u.copyKept(from, keep)
	}
	if err != nil {
		u.out.Abort()
		u.remove(u.part)
	}
	return err
}

// copyKept brings what is kept here and back, by the connection that is left for questions:
// those for transfers may all be waiting for the same.
func (u *upload) copyKept(from string, keep int64) error {
	old, err := u.fs.retrieve(from, 0, upstream.Brief)
	if err != nil {
		return err
	}
	n, err := io.Copy(writer{&u.content}, io.LimitReader(old, keep))
	_ = old.End(false)
	if err == nil && n != keep {
		err = fmt.Errorf("%d bytes of %d came: %w", n, keep, session.ErrUnavailable)
	}
	return err
}

// writer writes behind what was written.
type writer struct{ content *inOrder }

func (w writer) Write(p []byte) (int, error) { return w.content.writeAt(p, w.content.next) }

// ReadAt is not possible: FTP reads what is there, and not what is on its way.
func (u *upload) ReadAt(_ []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault("read", u.name, session.ErrRange)
	}
	return 0, fault("read", u.name, session.ErrUnsupported)
}

// WriteAt takes what comes in nearly the order of the file. What it refuses with
// session.ErrUnsupported does not end the upload.
func (u *upload) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault("write", u.name, session.ErrRange)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		return 0, fault("write", u.name, u.err)
	}
	n, err := u.content.writeAt(p, off)
	if err != nil && !errors.Is(err, session.ErrUnsupported) {
		u.err = err
	}
	return n, fault("write", u.name, err)
}

// Stat describes what was written so far, as seen from here.
func (u *upload) Stat() (storage.Info, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	info := storage.Info{Name: path.Base(u.name), Size: u.content.size(), Mode: upstream.FilePerm, ModTime: time.Now()}
	if u.modTime != nil {
		info.ModTime = *u.modTime
	}
	if perm, known := u.wantedPerm(); known {
		info.Mode = perm
	}
	return info, nil
}

// wantedPerm are the permissions that the file is to have, if not those of the server's
// choice.
func (u *upload) wantedPerm() (fs.FileMode, bool) {
	switch {
	case u.perm != nil:
		return *u.perm, true
	case u.was != nil && u.was.Moded:
		return u.was.Perm, true
	case u.was == nil && u.opts.Perm != 0:
		return u.opts.Perm.Perm(), true
	}
	return 0, false
}

func (u *upload) OS() *os.File { return nil }

// SetAttr sets permissions at once, by another connection, and the time when the upload is
// complete.
func (u *upload) SetAttr(attr storage.Attr) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	err := settable(attr, ftpclient.Entry{Kind: ftpclient.File, Size: u.content.size()})
	if err == nil && attr.ModTime != nil && !u.lease.Conn.Has("MFMT") {
		err = session.ErrUnsupported
	}
	if err == nil && attr.Perm != nil {
		err = u.chmod(*attr.Perm)
	}
	if err != nil {
		return fault("setattr", u.name, err)
	}
	if attr.Perm != nil {
		u.perm = attr.Perm
	}
	if attr.ModTime != nil {
		u.modTime = attr.ModTime
	}
	return nil
}

func (u *upload) chmod(perm fs.FileMode) error {
	ctx := context.Background() // each step has a time-out of its own
	c, err := u.fs.lend(ctx, upstream.Brief)
	if err != nil {
		return err
	}
	defer c.Return()
	return c.Conn.Chmod(ctx, u.part, perm)
}

// Sync is not possible: FTP says nothing of stable storage.
func (u *upload) Sync() error { return fault("sync", u.name, session.ErrUnsupported) }
