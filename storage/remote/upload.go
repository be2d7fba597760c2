package remote

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/upstream"
)

// upload is a storage.Upload.
type upload struct {
	fs         *FS
	client     *client
	name, full string
	// part is its hidden name: that by which it can be resumed, of the first upload of a
	// name, and one of its own of those beside it.
	part  string
	first bool
	opts  storage.CreateOptions
	file  *sftp.File
	out   *upstream.Behind // writes to file
	was   os.FileInfo      // what had the name at Create; nil for nothing

	mu    sync.Mutex
	perm  fs.FileMode
	ended bool
}

// Create implements storage.FS. What the upload begins with is copied by way of the
// gateway, unless it is an interrupted upload, which goes on.
func (f *FS) Create(ctx context.Context, name string, opts storage.CreateOptions) (storage.Upload, error) {
	c, full, err := f.notRoot(ctx, name)
	if err == nil && opts.Perm&^fs.ModePerm != 0 {
		err = session.ErrDenied
	}
	if err == nil && opts.Ledger != nil {
		err = session.ErrUnsupported
	}
	if err != nil {
		c.giveBack()
		return nil, fault("create", name, err)
	}
	u := &upload{fs: f, client: c, name: name, full: full, part: upstream.Part(full), first: f.server.uploads.Take(full), opts: opts, perm: upstream.FilePerm}
	if !u.first {
		if opts.Keep != 0 {
			c.giveBack()
			return nil, fault("create", name, session.ErrBusy)
		}
		u.part = upstream.OwnPart(full)
	}
	if opts.Perm != 0 {
		u.perm = opts.Perm.Perm()
	}
	if err := u.begin(); err != nil {
		u.free()
		return nil, fault("create", name, err)
	}
	u.out = upstream.NewBehind(func(p []byte, off int64) error {
		_, err := u.file.WriteAt(p, off)
		return err
	})
	return u, nil
}

// free lets another upload of the name be the first, and others have the connection.
func (u *upload) free() {
	u.client.giveBack()
	if u.first {
		u.fs.server.uploads.Free(u.full)
	}
}

// begin looks at what is there, and opens the hidden file.
func (u *upload) begin() error {
	there, err := u.client.Lstat(u.full)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		u.was = there
	}
	left, leftErr := u.client.Lstat(upstream.Part(u.full))
	partial := u.first && leftErr == nil && left.Mode().IsRegular()
	switch {
	case u.was != nil && u.was.IsDir():
		return session.ErrIsDirectory
	case u.was != nil && !u.was.Mode().IsRegular():
		return session.ErrDenied
	case u.was != nil && u.was.Mode().Perm()&upstream.OwnerMayWrite == 0:
		return session.ErrDenied
	case u.was != nil && u.opts.Exclusive:
		return session.ErrExist
	case u.was == nil && u.opts.Replacing, u.was == nil && !partial && u.opts.Existing:
		return fs.ErrNotExist
	}
	if u.was != nil {
		u.perm = u.was.Mode().Perm()
	}
	size := int64(0)
	switch {
	case u.was != nil:
		size = u.was.Size()
	case partial:
		size = left.Size()
	}
	keep := u.opts.Keep
	if keep == storage.KeepAll {
		keep = size
	}
	if keep < 0 || keep > size {
		return session.ErrRange
	}
	if u.was == nil && partial && keep > 0 {
		return u.goOn(keep)
	}
	return u.anew(keep, partial)
}

// goOn opens the interrupted upload.
func (u *upload) goOn(keep int64) (err error) {
	if u.file, err = u.client.OpenFile(u.part, os.O_RDWR); err != nil {
		return err
	}
	if err = u.file.Truncate(keep); err != nil {
		_ = u.file.Close()
	}
	return err
}

// anew begins a hidden file with what is kept of the file.
func (u *upload) anew(keep int64, partial bool) (err error) {
	if partial {
		if err := u.client.Remove(u.part); err != nil {
			return err
		}
	}
	if u.file, err = u.client.OpenFile(u.part, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
		return err
	}
	err = u.file.Chmod(0o600)
	if err == nil && keep > 0 {
		err = u.copyKept(keep)
	}
	if err != nil {
		_ = u.file.Close()
		_ = u.client.Remove(u.part)
	}
	return err
}

func (u *upload) copyKept(keep int64) error {
	old, err := u.client.Open(u.full)
	if err != nil {
		return err
	}
	defer old.Close()
	n, err := io.Copy(u.file, io.LimitReader(old, keep))
	if err == nil && n != keep {
		err = session.ErrRange
	}
	return err
}

func (u *upload) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault("read", u.name, session.ErrRange)
	}
	if err := u.out.Flush(); err != nil {
		return 0, fault("read", u.name, err)
	}
	n, err := u.file.ReadAt(p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, fault("read", u.name, err)
}

// WriteAt returns before the server has all: what fails then fails what is called next.
func (u *upload) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault("write", u.name, session.ErrRange)
	}
	n, err := u.out.WriteAt(p, off)
	return n, fault("write", u.name, err)
}

func (u *upload) Stat() (storage.Info, error) {
	i, err := u.stat()
	if err != nil {
		return storage.Info{}, fault("stat", u.name, err)
	}
	info := infoOf(path.Base(u.name), i)
	u.mu.Lock()
	defer u.mu.Unlock()
	info.Mode = info.Mode&^fs.ModePerm | u.perm
	return info, nil
}

// stat describes the hidden file when all is there that was written.
func (u *upload) stat() (os.FileInfo, error) {
	if err := u.out.Flush(); err != nil {
		return nil, err
	}
	return u.file.Stat()
}

func (u *upload) OS() *os.File { return nil }

func (u *upload) SetAttr(attr storage.Attr) error {
	now, err := u.stat()
	if err == nil {
		err = setAttr(attr, now.ModTime(), u.file.Truncate, func(m fs.FileMode) error {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.perm = m
			return nil
		}, func(access, modified time.Time) error { return u.client.Chtimes(u.part, access, modified) })
	}
	return fault("setattr", u.name, err)
}

func (u *upload) Sync() error { return fault("sync", u.name, u.sync()) }

// sync is nothing where the server cannot: then it says by itself when content is safe.
func (u *upload) sync() error {
	if err := u.out.Flush(); err != nil {
		return err
	}
	if _, can := u.client.HasExtension(extSync); !can {
		return nil
	}
	return u.file.Sync()
}

// end lets Commit and Abort run once.
func (u *upload) end() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	first := !u.ended
	u.ended = true
	return first
}

// Commit implements storage.Upload.
func (u *upload) Commit(ctx context.Context) error {
	if !u.end() {
		return fault("commit", u.name, session.ErrClosed)
	}
	defer u.free()
	err := u.out.Flush()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = u.file.Chmod(u.perm)
	}
	if err == nil {
		err = u.sync()
	}
	if closed := u.file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = u.show()
	}
	if err != nil {
		_ = u.client.Remove(u.part)
	}
	return fault("commit", u.name, err)
}

// show gives the hidden file its name, if that has not come to be another's meanwhile.
func (u *upload) show() error {
	u.fs.server.uploads.Naming.Lock()
	defer u.fs.server.uploads.Naming.Unlock()
	there, err := u.client.Lstat(u.full)
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case exists && there.IsDir():
		return session.ErrIsDirectory
	case !exists && u.opts.Replacing:
		return fs.ErrNotExist
	case exists && (u.opts.Exclusive || u.opts.Append && u.was == nil):
		return session.ErrExist
	case u.opts.Exclusive:
		return u.client.Rename(u.part, u.full) // which replaces nothing
	}
	return u.client.PosixRename(u.part, u.full)
}

// Abort implements storage.Upload.
func (u *upload) Abort(resumable bool) error {
	if !u.end() {
		return fault("abort", u.name, session.ErrClosed)
	}
	defer u.free()
	flushed := u.out.Flush()
	var err error
	if resumable {
		err = errors.Join(flushed, u.sync())
	}
	err = errors.Join(err, u.file.Close())
	switch {
	case !resumable || !u.first && !u.fs.server.uploads.Take(u.full):
		err = errors.Join(err, u.client.Remove(u.part))
	case !u.first: // the other one is over: this is the later interruption
		u.first = true
		err = errors.Join(err, u.client.PosixRename(u.part, upstream.Part(u.full)))
	}
	return fault("abort", u.name, err)
}
