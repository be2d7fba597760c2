//go:build linux

package local

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

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
		u.perm = final.mode.Perm()
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
func (f *FS) destination(name string, exclusive bool) (dir *folder, base string, final *stat, err error) {
	dir, base, err = f.parent(name)
	if err != nil {
		return nil, "", nil, err
	}
	final, err = dir.look(base)
	if final != nil && final.isLink() && !exclusive {
		_ = dir.Close()
		real, err := f.resolve(name)
		if err != nil {
			return nil, "", nil, err
		}
		if dir, base, err = f.parent(real); err != nil {
			return nil, "", nil, err
		}
		final, err = dir.look(base)
		return replaceable(dir, base, final, err, false)
	}
	return replaceable(dir, base, final, err, exclusive)
}

// replaceable refuses what no upload may replace, and closes dir then.
func replaceable(dir *folder, base string, final *stat, err error, exclusive bool) (*folder, string, *stat, error) {
	switch {
	case err != nil:
	case final == nil:
		return dir, base, nil, nil
	case exclusive:
		err = session.ErrExist
	case final.isDir():
		err = session.ErrIsDirectory
	case !final.isRegular() || !final.writable():
		err = session.ErrDenied
	default:
		return dir, base, final, nil
	}
	_ = dir.Close()
	return nil, "", nil, err
}

// begin opens the hidden file and fills it with what is to be kept.
func (u *upload) begin(ctx context.Context, final *stat, opts storage.CreateOptions) error {
	p, err := u.open(final, opts)
	if errors.Is(err, errLocked) {
		return session.ErrBusy
	}
	if err != nil {
		return err
	}
	u.file, u.part = p.file, p.name
	if final != nil && opts.Keep != 0 {
		if err := u.keepFinal(ctx, opts.Keep); err != nil {
			_ = u.discard()
			_ = u.file.Close()
			return err
		}
	}
	return nil
}

// open opens the hidden file: empty, or with what an interrupted upload left of
// it where there is no file to begin with.
func (u *upload) open(final *stat, opts storage.CreateOptions) (part, error) {
	u.ledger.Lock()
	defer u.ledger.Unlock()
	switch {
	case final != nil && opts.Keep != 0:
		p, err := resumablePart(u.dir, u.base, u.ledger)
		if err != nil {
			return part{}, err
		}
		return p, p.empty(u.ledger)
	case final == nil && (opts.Keep != 0 || opts.Existing):
		return u.resume(opts)
	default:
		return freshPart(u.dir, u.base, u.ledger)
	}
}

// keepFinal fills the hidden file with the first keep bytes of the file that is there.
func (u *upload) keepFinal(ctx context.Context, keep int64) error {
	fd, err := u.dir.open(u.base, unix.O_RDONLY|openSafely, 0)
	if err != nil {
		return err
	}
	source, s, err := newFile(fd, u.base)
	if err != nil {
		return err
	}
	defer source.Close()
	if !s.isRegular() {
		return session.ErrDenied
	}
	if keep == storage.KeepAll {
		keep = s.size
	}
	if keep > s.size {
		return session.ErrRange
	}
	if err := u.count(keep); err != nil {
		return err
	}
	for left := keep; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.Copy(u.file, io.LimitReader(source, min(left, copyStep))) // copy_file_range
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

// resume opens the interrupted upload, which is all that there is, and stands at
// the end of what is kept of it.
func (u *upload) resume(opts storage.CreateOptions) (part, error) {
	p, err := takePart(u.dir, partName(u.base))
	if errors.Is(err, session.ErrNotExist) && !opts.Existing {
		if opts.Keep > 0 {
			return part{}, session.ErrRange
		}
		return freshPart(u.dir, u.base, u.ledger) // appending to nothing
	}
	if err != nil {
		return part{}, err
	}
	keep := opts.Keep
	if keep == storage.KeepAll {
		keep = p.size
	}
	if err = p.cut(keep, u.ledger); err == nil {
		_, err = p.file.Seek(keep, io.SeekStart)
	}
	if err != nil {
		_ = p.file.Close() // it stays resumable
		return part{}, err
	}
	u.counted = keep
	return p, nil
}
