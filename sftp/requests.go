package sftp

import (
	"context"
	"io"
	"io/fs"
	"math"
	"time"

	"github.com/pkg/sftp"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// This file is the border to the request server of github.com/pkg/sftp: nothing
// else of the package knows its types. Its allocator stays off: it never gives
// back the memory of a session's busiest moment, which an idle session would
// then hold.

const (
	// blockSize is the unit in which statvfs counts.
	blockSize = 4096
	// maxName is the longest part of a path.
	maxName = 255
	// permOnly is the length of attributes that can hold nothing but permissions.
	permOnly = 4
)

// serve answers requests until the channel ends. Files still open then are
// aborted: the server tells them by TransferError before it closes them.
func (f *files) serve() {
	h := handlers{f}
	server := sftp.NewRequestServer(f.order, sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h})
	_ = server.Serve()
}

// handlers answers the request server's calls.
type handlers struct{ f *files }

// do is files.do with the error as the request server takes it.
func (h handlers) do(act func() error) error { return toLibrary(h.f.do(act)) }

// Fileread opens for SSH_FXP_OPEN with READ alone.
func (h handlers) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	var d *download
	err := h.do(func() (err error) { d, err = h.f.read(r.Filepath); return err })
	if err != nil {
		return nil, err
	}
	return libraryFile{file: d}, nil
}

// Filewrite opens for SSH_FXP_OPEN with WRITE.
func (h handlers) Filewrite(r *sftp.Request) (io.WriterAt, error) { return h.OpenFile(r) }

// OpenFile opens for SSH_FXP_OPEN with READ and WRITE.
func (h handlers) OpenFile(r *sftp.Request) (sftp.WriterAtReaderAt, error) {
	var u *upload
	err := h.do(func() (err error) {
		p := r.Pflags()
		flags := openFlags{create: p.Creat, truncate: p.Trunc, exclusive: p.Excl, append: p.Append}
		u, err = h.f.write(r.Filepath, flags, openPerm(r))
		return err
	})
	if err != nil {
		return nil, err
	}
	return libraryFile{file: u, writer: u}, nil
}

// openPerm returns the permissions that SSH_FXP_OPEN asks for. The request server
// drops the flags that say which attributes follow; four bytes can only be these.
func openPerm(r *sftp.Request) fs.FileMode {
	if len(r.Attrs) != permOnly {
		return 0
	}
	a := sftp.Request{Flags: attrPermissions, Attrs: r.Attrs}
	return a.Attributes().FileMode() & (fs.ModePerm | specialBits)
}

const (
	attrPermissions = 4 // SSH_FILEXFER_ATTR_PERMISSIONS
	specialBits     = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
)

// Filecmd does what has no answer but a status.
func (h handlers) Filecmd(r *sftp.Request) error {
	return h.do(func() error {
		ctx, tree := h.f.ctx, h.f.tree
		switch r.Method {
		case "Setstat":
			attr, err := attributes(r)
			if err != nil {
				return err
			}
			return h.f.setAttr(r.Filepath, attr, ofHandle(r))
		case "Rename": // fails if the new name exists (section 6.5)
			return tree.Rename(ctx, r.Filepath, r.Target, false)
		case "Rmdir":
			return tree.RemoveDir(ctx, r.Filepath)
		case "Mkdir":
			return tree.Mkdir(ctx, r.Filepath)
		case "Remove":
			return tree.Remove(ctx, r.Filepath)
		case "Link":
			return tree.Link(ctx, r.Filepath, r.Target)
		case "Symlink":
			return tree.Symlink(ctx, r.Filepath, r.Target)
		default:
			return session.ErrUnsupported
		}
	})
}

// PosixRename replaces what is at the new name.
func (h handlers) PosixRename(r *sftp.Request) error {
	return h.do(func() error { return h.f.tree.Rename(h.f.ctx, r.Filepath, r.Target, true) })
}

// StatVFS answers statvfs@openssh.com.
func (h handlers) StatVFS(*sftp.Request) (*sftp.StatVFS, error) {
	var space storage.Space
	err := h.do(func() (err error) { space, err = h.f.tree.Space(h.f.ctx); return err })
	if err != nil {
		return nil, err
	}
	return &sftp.StatVFS{
		Bsize: blockSize, Frsize: blockSize,
		Blocks: space.Total / blockSize, Bfree: space.Free / blockSize, Bavail: space.Available / blockSize,
		Files: space.Files, Ffree: space.FilesFree, Favail: space.FilesFree, Namemax: maxName,
	}, nil
}

// Filelist opens a folder for SSH_FXP_OPENDIR, and answers SSH_FXP_STAT and FSTAT.
func (h handlers) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method == "List" {
		var d *folder
		err := h.do(func() (err error) { d, err = h.f.list(r.Filepath); return err })
		if err != nil {
			return nil, err
		}
		return lister{h, d}, nil
	}
	return h.stat(func() (storage.Info, error) {
		if ofHandle(r) {
			if open := h.f.opened(r.Filepath); open != nil {
				return open.stat()
			}
		}
		return h.f.tree.Stat(h.f.ctx, r.Filepath)
	})
}

// Lstat answers SSH_FXP_LSTAT.
func (h handlers) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	return h.stat(func() (storage.Info, error) { return h.f.tree.Lstat(h.f.ctx, r.Filepath) })
}

func (h handlers) stat(look func() (storage.Info, error)) (sftp.ListerAt, error) {
	var info storage.Info
	err := h.do(func() (err error) { info, err = look(); return err })
	if err != nil {
		return nil, err
	}
	return one{entry{info}}, nil
}

// Readlink answers SSH_FXP_READLINK.
func (h handlers) Readlink(name string) (target string, err error) {
	err = h.do(func() (err error) { target, err = h.f.tree.Readlink(h.f.ctx, name); return err })
	return target, err
}

// RealPath answers SSH_FXP_REALPATH in the tree that the peer sees, whether the
// file exists or not, without following links.
func (h handlers) RealPath(name string) (clean string, err error) {
	err = h.do(func() (err error) { clean, err = transfer.Resolve("/", name); return err })
	return clean, err
}

// LookupUserName names the owner in listings: everything in the tree is the
// account's own.
func (h handlers) LookupUserName(string) string { return h.f.session.Identity().User }

// LookupGroupName names the group in listings.
func (h handlers) LookupGroupName(string) string { return h.f.session.Identity().User }

// ofHandle reports whether a request named a handle. The request server makes
// such requests without a context of their own; TestHandleRequests holds that.
func ofHandle(r *sftp.Request) bool { return r.Context() == context.Background() }

// attributes reads those of SSH_FXP_SETSTAT.
func attributes(r *sftp.Request) (storage.Attr, error) {
	var attr storage.Attr
	flags, values := r.AttrFlags(), r.Attributes()
	if values == nil {
		return attr, status{codeBadMessage, "Bad message"}
	}
	if flags.UidGid {
		return attr, session.ErrUnsupported // there is nobody to give a file to
	}
	if flags.Size {
		if values.Size > math.MaxInt64 {
			return attr, session.ErrRange
		}
		size := int64(values.Size)
		attr.Size = &size
	}
	if flags.Permissions {
		perm := values.FileMode() & (fs.ModePerm | specialBits)
		if perm&specialBits != 0 {
			return attr, session.ErrDenied
		}
		attr.Perm = &perm
	}
	if flags.Acmodtime {
		access, modified := time.Unix(int64(values.Atime), 0), time.Unix(int64(values.Mtime), 0)
		attr.Access, attr.ModTime = &access, &modified
	}
	return attr, nil
}

// libraryFile is an open file as the request server takes it.
type libraryFile struct {
	file interface {
		io.ReaderAt
		io.Closer
		TransferError(error)
	}
	writer io.WriterAt
}

func (l libraryFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := l.file.ReadAt(p, off)
	return n, toLibrary(err)
}

func (l libraryFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := l.writer.WriteAt(p, off)
	return n, toLibrary(err)
}

func (l libraryFile) Close() error            { return toLibrary(l.file.Close()) }
func (l libraryFile) TransferError(err error) { l.file.TransferError(err) }

// lister is an open folder as the request server takes it.
type lister struct {
	h handlers
	d *folder
}

func (l lister) ListAt(into []fs.FileInfo, _ int64) (n int, err error) {
	err = l.h.do(func() error {
		list, err := l.d.read(len(into))
		n = copy(into, list)
		return err
	})
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

func (l lister) Close() error { return toLibrary(l.d.Close()) }

// one is a lister of one file.
type one struct{ info fs.FileInfo }

func (o one) ListAt(into []fs.FileInfo, off int64) (int, error) {
	if off > 0 || len(into) == 0 {
		return 0, io.EOF
	}
	into[0] = o.info
	return 1, io.EOF
}

// toLibrary gives a status the form from which the request server takes code
// and text.
func toLibrary(err error) error {
	s, ok := err.(status)
	if !ok {
		return err
	}
	return libraryError(s)
}

type libraryError status

func (e libraryError) Error() string { return e.text }

func (e libraryError) Unwrap() error {
	switch e.code {
	case codeNoSuchFile:
		return sftp.ErrSSHFxNoSuchFile
	case codePermissionDenied:
		return sftp.ErrSSHFxPermissionDenied
	case codeBadMessage:
		return sftp.ErrSSHFxBadMessage
	case codeUnsupported:
		return sftp.ErrSSHFxOpUnsupported
	default:
		return sftp.ErrSSHFxFailure
	}
}
