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

// copyStep is how much of a file is copied between two looks at the context.
const copyStep = 64 << 20

// Create implements storage.FS. A link at name is followed: the upload replaces
// what it leads to. A file that its owner may not write is not replaced.
func (f *FS) Create(ctx context.Context, name string, opts storage.CreateOptions) (storage.Upload, error) {
	if err := f.checkChange(ctx, "create", name); err != nil {
		return nil, err
	}
	if opts.Keep < storage.KeepAll {
		return nil, f.fault("create", name, session.ErrRange)
	}
	if opts.Perm&^fs.ModePerm != 0 {
		return nil, f.fault("create", name, session.ErrDenied)
	}
	if opts.Perm == 0 {
		opts.Perm = f.cfg.FileMode
	}
	opts.Perm &^= f.cfg.Umask
	if opts.Append {
		opts.Keep = storage.KeepAll
	}
	u, err := f.create(ctx, name, opts)
	if err != nil {
		return nil, f.fault("create", name, err)
	}
	return u, nil
}

func (f *FS) create(ctx context.Context, name string, opts storage.CreateOptions) (*upload, error) {
	dir, base, final, err := f.destination(name, opts.Exclusive)
	if err != nil {
		return nil, err
	}
	u := &upload{
		fs: f, dir: dir, name: name, base: base, perm: opts.Perm,
		exclusive: opts.Exclusive || opts.Append && final == nil, replacing: opts.Replacing, ledger: opts.Ledger,
	}
	if u.ledger == nil {
		u.ledger = f.ledger
	}
	if final != nil {
		u.perm = final.Mode().Perm()
	} else if opts.Replacing {
		_ = dir.Close()
		return nil, session.ErrNotExist
	}
	if err := u.begin(ctx, final, opts); err != nil {
		_ = dir.Close()
		return nil, err
	}
	return u, nil
}

// destination opens the folder in which an upload of name is to appear, and
// describes the file that it is to replace; nil if there is none.
func (f *FS) destination(name string, exclusive bool) (dir *os.Root, base string, final fs.FileInfo, err error) {
	dir, err = f.folder(path.Dir(name))
	if err != nil {
		return nil, "", nil, err
	}
	base = path.Base(name)
	final, err = dir.Lstat(base)
	if err == nil && final.Mode()&fs.ModeSymlink != 0 && !exclusive {
		_ = dir.Close()
		real, err := f.resolve(name)
		if err != nil {
			return nil, "", nil, err
		}
		if dir, err = f.folder(path.Dir(real)); err != nil {
			return nil, "", nil, err
		}
		base = path.Base(real)
		final, err = dir.Lstat(base)
		return replaceable(dir, base, final, err, false)
	}
	return replaceable(dir, base, final, err, exclusive)
}

// replaceable refuses what no upload may replace, and closes dir then.
func replaceable(dir *os.Root, base string, final fs.FileInfo, err error, exclusive bool) (*os.Root, string, fs.FileInfo, error) {
	switch {
	case errors.Is(err, session.ErrNotExist):
		return dir, base, nil, nil
	case err != nil:
	case exclusive:
		err = session.ErrExist
	case final.IsDir():
		err = session.ErrIsDirectory
	case !final.Mode().IsRegular() || !writable(final):
		err = session.ErrDenied
	default:
		return dir, base, final, nil
	}
	_ = dir.Close()
	return nil, "", nil, err
}

// upload is a storage.Upload.
type upload struct {
	fs        *FS
	dir       *os.Root // the folder in which the file is to appear
	name      string   // as the peer said it
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

// begin opens the hidden file and fills it with what is to be kept.
func (u *upload) begin(ctx context.Context, final fs.FileInfo, opts storage.CreateOptions) error {
	file, err := u.open(final, opts)
	if errors.Is(err, errLocked) {
		return session.ErrBusy
	}
	if err != nil {
		return err
	}
	if final != nil && opts.Keep != 0 {
		if err := u.keepFinal(ctx, file, opts.Keep); err != nil {
			_ = u.discard()
			_ = file.Close()
			return err
		}
	}
	u.file, err = renamed(file, u.name)
	if err != nil && opts.Keep == 0 { // what was to be resumed stays resumable
		_ = u.discard()
	}
	return err
}

// open opens the hidden file: empty, or with what an interrupted upload left of
// it where there is no file to begin with.
func (u *upload) open(final fs.FileInfo, opts storage.CreateOptions) (file *os.File, err error) {
	u.ledger.Lock()
	defer u.ledger.Unlock()
	switch {
	case final != nil && opts.Keep != 0:
		file, u.part, err = resumablePart(u.dir, u.base, u.ledger)
		if err == nil {
			if err = cutPart(file, 0, u.ledger); err != nil {
				_ = file.Close()
			}
		}
	case final == nil && (opts.Keep != 0 || opts.Existing):
		file, u.part, err = u.resume(opts)
	default:
		file, u.part, err = freshPart(u.dir, u.base, u.ledger)
	}
	return file, err
}

// keepFinal fills file with the first keep bytes of the file that is there.
func (u *upload) keepFinal(ctx context.Context, file *os.File, keep int64) error {
	source, err := u.dir.OpenFile(u.base, os.O_RDONLY|openSafely, 0)
	if err != nil {
		return err
	}
	defer source.Close()
	stat, err := source.Stat()
	if err != nil {
		return err
	}
	if !stat.Mode().IsRegular() {
		return session.ErrDenied
	}
	if keep == storage.KeepAll {
		keep = stat.Size()
	}
	if keep > stat.Size() {
		return session.ErrRange
	}
	if err := u.count(keep); err != nil {
		return err
	}
	for left := keep; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.Copy(file, io.LimitReader(source, min(left, copyStep))) // copy_file_range
		if err != nil {
			return err
		}
		if n == 0 {
			return session.ErrRange // cut short meanwhile
		}
		left -= n
	}
	return nil
}

// count tells the ledger of n bytes that are about to be in the hidden file.
func (u *upload) count(n int64) error {
	u.ledger.Lock()
	defer u.ledger.Unlock()
	err := u.ledger.Take(n, 0)
	if err == nil {
		u.counted += n
	}
	return err
}

// resume opens the interrupted upload, which is all that there is.
func (u *upload) resume(opts storage.CreateOptions) (file *os.File, part string, err error) {
	part = partName(u.base)
	file, err = takePart(u.dir, part)
	if errors.Is(err, session.ErrNotExist) && !opts.Existing {
		if opts.Keep > 0 {
			return nil, "", session.ErrRange
		}
		return freshPart(u.dir, u.base, u.ledger) // appending to nothing
	}
	if err != nil {
		return nil, "", err
	}
	if u.counted, err = keepPart(file, opts.Keep, u.ledger); err != nil {
		_ = file.Close() // it stays resumable
		return nil, "", err
	}
	return file, part, nil
}

// keepPart cuts an interrupted upload to keep bytes, stands at its end, and says
// where that is.
func keepPart(file *os.File, keep int64, l storage.Ledger) (int64, error) {
	if keep == storage.KeepAll {
		stat, err := file.Stat()
		if err != nil {
			return 0, err
		}
		keep = stat.Size()
	}
	if err := cutPart(file, keep, l); err != nil {
		return 0, err
	}
	return file.Seek(keep, io.SeekStart)
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
	stat, err := u.file.Stat()
	if err != nil {
		return storage.Info{}, u.fs.fault("stat", u.name, err)
	}
	info := u.fs.info(path.Base(u.name), stat)
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
	return u.fs.fault("commit", u.name, syncFolder(u.dir))
}

// show gives the hidden file the name that it was made for.
func (u *upload) show() error {
	u.ledger.Lock()
	defer u.ledger.Unlock()
	stat, err := u.file.Stat()
	if err != nil {
		return err
	}
	old, err := u.dir.Lstat(u.base)
	if errors.Is(err, session.ErrNotExist) && !u.replacing {
		old, err = nil, nil
	}
	if err != nil {
		return err
	}
	bytes, names := stat.Size()-u.counted, int64(0)
	if old != nil {
		bytes, names = bytes-weight(old), -1
	}
	if err := u.ledger.Take(bytes, names); err != nil {
		return err
	}
	if err := rename(u.dir, u.part, u.dir, u.base, !u.exclusive, false); err != nil {
		u.ledger.Add(-bytes, -names)
		return err
	}
	if old != nil {
		u.ledger.Lost(u.fs.info("", old).ID)
	}
	return nil
}

// discard removes the hidden file.
func (u *upload) discard() error {
	u.ledger.Lock()
	defer u.ledger.Unlock()
	err := u.dir.Remove(u.part)
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
	stat, err := u.file.Stat()
	if err != nil || stat.Size() == 0 {
		return false
	}
	more := stat.Size() - u.counted
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
	if _, err := u.dir.Lstat(u.base); !errors.Is(err, session.ErrNotExist) {
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
	defer old.Close()
	stat, err := old.Stat()
	if err != nil || rename(u.dir, u.part, u.dir, fixed, true, false) != nil {
		return false
	}
	u.ledger.Add(-stat.Size(), -1)
	return true
}
