// Package storage is the contract of a tree of files, as one account sees it.
//
// Implementations are in the folders beside it (storage/local); each passes
// storage/storagetest. What a session may do with a tree, and the record of it,
// is the business of package transfer.
package storage

import (
	"context"
	"io"
	"io/fs"
	"iter"
	"os"
	"sync"
	"time"
)

// FS is one account's tree. Nothing outside the tree can be reached through it,
// whatever the name or the links inside say. Its methods may be called at the
// same time from any goroutine.
//
// Names are relative to the root of the tree, clean as fs.ValidPath demands
// ("a/b", and "." for the root). Names that hold NUL, CR or LF, or a part that is
// longer than 255 bytes or that the backend reserves for itself, are refused with
// session.ErrName.
//
// Errors wrap the kinds of package session: ErrNotExist, ErrExist, ErrDenied,
// ErrName, ErrIsDirectory, ErrNotDirectory, ErrNotEmpty, ErrNoSpace, ErrQuota,
// ErrBusy, ErrRange, ErrUnsupported. Their text never shows where the tree lies.
//
// A method that changes the tree returns nil once the change is on stable
// storage, folder entry included.
type FS interface {
	// Stat describes what name leads to; Lstat describes a link itself. Where name
	// holds nothing but an interrupted upload of it, Stat and Lstat describe that, so
	// that the client can find out where to resume.
	Stat(ctx context.Context, name string) (Info, error)
	Lstat(ctx context.Context, name string) (Info, error)
	// List yields what is in the folder name, in no order, without uploads that are
	// under way or were interrupted. An error ends the sequence.
	List(ctx context.Context, name string) iter.Seq2[Info, error]
	// Open opens a regular file for reading.
	Open(ctx context.Context, name string) (File, error)
	// Create begins an upload; name changes only at Upload.Commit.
	Create(ctx context.Context, name string, opts CreateOptions) (Upload, error)
	Mkdir(ctx context.Context, name string) error
	// Remove removes a file or a link, or an interrupted upload of that name.
	Remove(ctx context.Context, name string) error
	// RemoveDir removes an empty folder. Interrupted uploads in it go with it.
	RemoveDir(ctx context.Context, name string) error
	// Rename moves a file, link or folder. Without overwrite it fails with ErrExist if
	// something is at to.
	Rename(ctx context.Context, from, to string, overwrite bool) error
	// SetAttr changes what name leads to; LsetAttr changes a link itself. Of a link
	// only the times change, which a crash may undo; else it fails with ErrUnsupported.
	SetAttr(ctx context.Context, name string, attr Attr) error
	LsetAttr(ctx context.Context, name string, attr Attr) error
	Readlink(ctx context.Context, name string) (string, error)
	// Symlink makes a link at name whose target lies inside the tree.
	Symlink(ctx context.Context, target, name string) error
	// Link gives the file old the second name new.
	Link(ctx context.Context, old, new string) error
	// Space says how much fits into the tree.
	Space(ctx context.Context) (Space, error)
	// Usage counts what is in the tree, by going through all of it. It takes the lock
	// of no Ledger: whoever wants an exact number holds it meanwhile.
	Usage(ctx context.Context) (Usage, error)
	// Close gives back what the FS holds. Files and uploads that are open stay usable.
	Close() error
}

// Info describes a file, folder or link.
type Info struct {
	Name    string // the last part of its name
	Size    int64  // bytes
	Mode    fs.FileMode
	ModTime time.Time
	Access  time.Time // last access; zero if not known
	ID      uint64    // tells it from every other in the tree; zero if not known
	Links   uint64    // number of names; zero if not known
	Partial bool      // an interrupted upload, which is no file yet
}

// IsDir reports whether it is a folder.
func (i Info) IsDir() bool { return i.Mode.IsDir() }

// CreateOptions says how an upload begins. The zero value replaces whatever is
// there.
type CreateOptions struct {
	// Keep is how many bytes of what Stat describes the upload begins with, so that
	// writing goes on behind them: a restart offset, or KeepAll. More than there is
	// fails with ErrRange.
	Keep int64
	// Exclusive fails with ErrExist if a file has that name.
	Exclusive bool
	// Existing fails with ErrNotExist if Stat finds nothing.
	Existing bool
	// Replacing fails with ErrNotExist if no file has that name, at Create and at
	// Commit; an interrupted upload is none.
	Replacing bool
	// Append only adds to what is there, Keep being KeepAll: where no file had the
	// name, none may have got it by the time of Commit, which fails with ErrExist.
	Append bool
	// Perm are the permission bits of a new file, less the backend's umask; an
	// existing file keeps its own. Zero means the backend's default.
	Perm fs.FileMode
	// Ledger, if it is not nil, is told of this upload in place of the tree's own. It
	// has the same lock.
	Ledger Ledger
}

// KeepAll begins an upload with all that is there: appending, or changing a
// file at any offset.
const KeepAll = -1

// Attr is what SetAttr changes; a nil field stays as it is.
type Attr struct {
	Size    *int64
	Perm    *fs.FileMode // permission bits; setuid, setgid and sticky are refused with ErrDenied
	ModTime *time.Time
	Access  *time.Time
}

// Space is the room in a tree, in bytes and files.
type Space struct {
	Total, Free, Available uint64
	Files, FilesFree       uint64
}

// Usage is what a tree holds. Bytes are the contents of regular files, each once,
// whatever the number of its names. Files are the names: files, folders, links
// and uploads that are not yet, or no more, under way; the root is none.
type Usage struct {
	Bytes, Files int64
}

// Ledger keeps account of what is in a tree, and may refuse what is too much. A
// backend tells it of every change where that is made, with the lock held from
// the look at what is there to the end of the change, so that who holds the lock
// finds tree and ledger of one mind. What an upload has written beyond what it
// began with is told when it ends.
type Ledger interface {
	sync.Locker
	// Take adds what is about to come, before it does. Either may be negative, where
	// something goes at the same time. It adds nothing and fails with
	// session.ErrQuota if that is too much.
	Take(bytes, files int64) error
	// Add adds what there is, or takes off what is gone, without asking.
	Add(bytes, files int64)
	// Lost says that content of the file with that Info.ID was cut, replaced, or lost
	// a name. What it gave back was told by Take or Add.
	Lost(id uint64)
}

// Uncounted is an FS in which some names are in no Ledger, since they are elsewhere.
type Uncounted interface {
	// Uncounted reports whether name is one of them.
	Uncounted(name string) bool
}

// File is a regular file open for reading. ReadAt may be called at the same
// time from any goroutine.
type File interface {
	io.ReaderAt
	io.Closer
	// Stat describes the open file, whatever name it has by now.
	Stat() (Info, error)
	// OS is the file itself where it is one of the operating system, so that it can be
	// handed to the kernel (sendfile); else nil. Its offset is the caller's to use.
	OS() *os.File
}

// Upload is a file being written that nobody sees under its name yet. ReadAt
// and WriteAt may be called at the same time from any goroutine; after Commit or
// Abort nothing may be called.
type Upload interface {
	io.ReaderAt
	io.WriterAt
	// Stat describes what was written so far.
	Stat() (Info, error)
	// OS is the file itself where it is one of the operating system, so that the
	// kernel can fill it (splice); else nil. Its offset is at the end of what was kept.
	OS() *os.File
	SetAttr(attr Attr) error
	// Sync puts what was written on stable storage, still unseen.
	Sync() error
	// Commit puts content and name on stable storage and then shows the file under
	// its name. On error the name shows what it showed before, and the upload is gone.
	Commit(ctx context.Context) error
	// Abort ends the upload without showing it. If resumable is set, what was written
	// is kept for a later Create with Keep; else it is removed.
	Abort(resumable bool) error
}

// Copier is an Upload that has the system copy content, which then does not pass
// through the process.
type Copier interface {
	// CopyAt puts the n bytes of from that begin at at to off, and returns how many it
	// put there; fewer, without an error, only where from ends sooner. It fails with
	// session.ErrUnsupported, having copied nothing, where the system cannot.
	CopyAt(off int64, from *os.File, at, n int64) (int64, error)
}
