//go:build linux

package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"gateway/session"
	"gateway/storage"
)

// upload is a storage.Upload.
type upload struct {
	fs        *FS
	dir       *folder // the folder in which the file is to appear
	name      string  // as the peer said it
	base      string
	part      string // its hidden name in dir
	file      *os.File
	exclusive bool
	replacing bool
	ledger    storage.Ledger
	counted   int64 // bytes of file that the ledger knows of

	mu    sync.Mutex
	perm  fs.FileMode // set at Commit: a hidden file stays ours alone
	ended bool
}

func (u *upload) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, u.fs.fault("read", u.name, session.ErrRange)
	}
	n, err := u.file.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = u.fs.fault("read", u.name, err)
	}
	return n, err
}

func (u *upload) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, u.fs.fault("write", u.name, session.ErrRange)
	}
	n, err := u.file.WriteAt(p, off)
	return n, u.fs.fault("write", u.name, err)
}

func (u *upload) Stat() (storage.Info, error) {
	s, err := statFile(u.file)
	if err != nil {
		return storage.Info{}, u.fs.fault("stat", u.name, err)
	}
	info := u.fs.info(path.Base(u.name), &s)
	u.mu.Lock()
	defer u.mu.Unlock()
	info.Mode = info.Mode&^fs.ModePerm | u.perm
	return info, nil
}

func (u *upload) OS() *os.File { return u.file }

func (u *upload) SetAttr(attr storage.Attr) error {
	if err := checkAttr(attr); err != nil {
		return u.fs.fault("setattr", u.name, err)
	}
	if attr.Perm != nil {
		u.mu.Lock()
		u.perm = *attr.Perm
		u.mu.Unlock()
	}
	return u.fs.fault("setattr", u.name, apply(u.file, attr))
}

func (u *upload) Sync() error { return u.fs.fault("sync", u.name, u.file.Sync()) }

// end lets Commit and Abort run once.
func (u *upload) end() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	first := !u.ended
	u.ended = true
	return first
}

// Commit implements storage.Upload. The one error after which the name shows the
// new content is that of the last step, the fsync of the folder: a rename cannot
// be taken back safely, and the peer is told that it failed.
func (u *upload) Commit(ctx context.Context) error {
	if !u.end() {
		return u.fs.fault("commit", u.name, session.ErrClosed)
	}
	defer u.dir.Close()
	defer u.file.Close() // gives the lock back, after the rename
	err := ctx.Err()
	if err == nil {
		err = u.file.Chmod(u.perm)
	}
	if err == nil {
		err = u.file.Sync()
	}
	if err == nil {
		err = u.show()
	}
	if err != nil {
		_ = u.discard()
		return u.fs.fault("commit", u.name, err)
	}
	return u.fs.fault("commit", u.name, u.dir.sync())
}

// show gives the hidden file the name that it was made for.
func (u *upload) show() error {
	u.ledger.Lock()
	defer u.ledger.Unlock()
	s, err := statFile(u.file)
	if err != nil {
		return err
	}
	old, err := u.dir.look(u.base)
	if err == nil && old == nil && u.replacing {
		err = session.ErrNotExist
	}
	if err != nil {
		return err
	}
	bytes, names := s.size-u.counted, int64(0)
	if old != nil {
		bytes, names = bytes-old.weight(), -1
	}
	if err := u.ledger.Take(bytes, names); err != nil {
		return err
	}
	if err := rename(u.dir, u.part, u.dir, u.base, !u.exclusive, false); err != nil {
		u.ledger.Add(-bytes, -names)
		return err
	}
	if old != nil {
		u.ledger.Lost(u.fs.id(old))
	}
	return nil
}

// discard removes the hidden file.
func (u *upload) discard() error {
	u.ledger.Lock()
	defer u.ledger.Unlock()
	err := u.dir.unlink(u.part)
	if err == nil {
		u.ledger.Add(-u.counted, -1)
	}
	return err
}

func (u *upload) Abort(resumable bool) error {
	if !u.end() {
		return u.fs.fault("abort", u.name, session.ErrClosed)
	}
	defer u.dir.Close()
	defer u.file.Close()
	if resumable && u.keep() {
		return nil
	}
	err := u.discard()
	if errors.Is(err, session.ErrNotExist) {
		err = nil
	}
	return u.fs.fault("abort", u.name, err)
}

// keep leaves the upload where it can be found again, and reports whether it
// could. Where a file has the name there is nothing to keep it for: Stat shows
// the file, and a later upload resumes from that.
func (u *upload) keep() bool {
	u.ledger.Lock()
	defer u.ledger.Unlock()
	s, err := statFile(u.file)
	if err != nil || s.size == 0 {
		return false
	}
	more := s.size - u.counted
	if u.ledger.Take(more, 0) != nil {
		return false
	}
	kept := u.keepPart()
	if !kept {
		u.ledger.Add(-more, 0)
	}
	return kept
}

func (u *upload) keepPart() bool {
	if there, err := u.dir.look(u.base); there != nil || err != nil {
		return false
	}
	fixed := partName(u.base)
	if u.part == fixed {
		return true
	}
	// The name was taken by another upload when this one began. If that has left
	// something to resume, the later one counts.
	old, err := takePart(u.dir, fixed)
	if errors.Is(err, session.ErrNotExist) {
		return rename(u.dir, u.part, u.dir, fixed, false, false) == nil
	}
	if err != nil {
		return false
	}
	defer old.file.Close()
	if rename(u.dir, u.part, u.dir, fixed, true, false) != nil {
		return false
	}
	u.ledger.Add(-old.size, -1)
	return true
}
