package transfer

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"

	"gateway/session"
	"gateway/storage"
)

// Writer is a file being received; nobody sees it under its name before Commit.
// ReadAt and WriteAt may be called at the same time from any goroutine. End it
// once, by Commit or Abort.
type Writer struct {
	files   *Files
	upload  storage.Upload
	op      *session.Op
	claim   *claim            // nil without a quota
	refused func(error) error // what a refusal of the storage means
	kept    int64             // bytes that it began with
	moved   atomic.Int64
	append  bool
	floor   atomic.Int64        // below which who appends does not write
	may     session.Permissions // at the name
	content session.Permissions // with what is in the file
}

// Create begins to write name anew, from opts.Keep on. Where the account may not
// overwrite, it makes a file that was not there, or goes on with an interrupted
// upload; where it may not create, it replaces a file that is there.
func (f *Files) Create(ctx context.Context, name string, opts storage.CreateOptions) (*Writer, error) {
	return f.write(ctx, writing{session.Write, session.MayOverwrite}, name, opts)
}

// Append begins to write behind all that is there, a file or an interrupted
// upload; what that is stays as it is.
func (f *Files) Append(ctx context.Context, name string, opts storage.CreateOptions) (*Writer, error) {
	opts.Append, opts.Keep = true, storage.KeepAll
	return f.write(ctx, writing{session.Append, session.MayAppend}, name, opts)
}

func (f *Files) write(ctx context.Context, how writing, name string, opts storage.CreateOptions) (*Writer, error) {
	clean, tree, err := inTree(name)
	if err != nil {
		return nil, err
	}
	op, err := f.begin(ctx, how.verb, clean, "")
	if err != nil {
		return nil, err
	}
	if err := f.straight(ctx, tree, true); err != nil {
		return nil, op.End(ctx, err)
	}
	if err := f.acquire(); err != nil {
		return nil, op.End(ctx, err)
	}
	access := f.sess.Identity().Access
	w := &Writer{files: f, op: op, append: opts.Append, may: access.Entry(clean), content: access.At(clean)}
	w.refused = how.restrict(access, clean, &opts)
	if err := w.begin(ctx, tree, opts); err != nil {
		f.release()
		return nil, op.End(ctx, w.refused(err))
	}
	return w, nil
}

// begin opens the upload and claims room for it.
func (w *Writer) begin(ctx context.Context, tree string, opts storage.CreateOptions) (err error) {
	elsewhere, some := w.files.fs.(storage.Uncounted)
	if w.files.share != nil && !(some && elsewhere.Uncounted(tree)) {
		w.claim = w.files.share.newClaim()
		defer func() {
			if err != nil {
				w.claim.release()
			}
		}()
		if !opts.Exclusive {
			w.claimReplaced(ctx, tree)
		}
		opts.Ledger = w.claim
	}
	if w.upload, err = w.files.fs.Create(ctx, tree, opts); err != nil || w.claim == nil && !opts.Append {
		return err
	}
	info, err := w.upload.Stat()
	if err != nil {
		return errors.Join(err, w.upload.Abort(opts.Keep != 0))
	}
	w.kept = info.Size
	w.floor.Store(info.Size)
	if w.claim != nil {
		w.claim.began(info.Size)
	}
	return nil
}

// claimReplaced claims the room of the file that is going to be replaced, unless
// another upload has. It looks twice: what happens to the file after the claim is
// told to it.
func (w *Writer) claimReplaced(ctx context.Context, tree string) {
	info, err := w.files.fs.Stat(ctx, tree)
	if err != nil || !info.Mode.IsRegular() || info.Partial || !w.claim.replaces(info) {
		return
	}
	again, err := w.files.fs.Stat(ctx, tree)
	if err != nil || again.ID != info.ID || again.Size != info.Size || again.Links != info.Links || again.Partial {
		w.claim.forgets()
	}
}

// WriteAt writes and counts. It fails with session.ErrQuota, having written
// nothing, if there is no room for all of p.
func (w *Writer) WriteAt(p []byte, off int64) (int, error) {
	if err := w.room(off, int64(len(p))); err != nil {
		return 0, err
	}
	n, err := w.upload.WriteAt(p, off)
	w.moved.Add(int64(n))
	return n, err
}

// Source is what a Writer copies from: a Reader, or a Writer.
type Source interface {
	io.ReaderAt
	Stat() (storage.Info, error)
}

// CopyAt writes n bytes of from, from at on, to off, and returns how many: fewer
// where from ends sooner, and io.EOF where it has ended before. They are counted
// and need room like any others, but do not come from the peer, so that its
// bandwidth does not matter.
func (w *Writer) CopyAt(off int64, from Source, at, n int64) (int64, error) {
	info, err := from.Stat()
	if err != nil {
		return 0, err
	}
	if n = min(n, info.Size-at); n <= 0 {
		return 0, io.EOF
	}
	if err := w.room(off, n); err != nil {
		return 0, err
	}
	copied, err := w.copyAt(off, from, at, n)
	w.moved.Add(copied)
	return copied, err
}

// copyAt has the system copy, if it can.
func (w *Writer) copyAt(off int64, from Source, at, n int64) (int64, error) {
	r, reads := from.(*Reader)
	to, can := w.upload.(storage.Copier)
	if reads && can && r.OS() != nil {
		copied, err := to.CopyAt(off, r.OS(), at, n)
		if !errors.Is(err, session.ErrUnsupported) {
			r.Count(copied)
			return copied, err
		}
	}
	return io.Copy(io.NewOffsetWriter(w.upload, off), io.NewSectionReader(from, at, n))
}

// room makes room for n bytes at off.
func (w *Writer) room(off, n int64) error {
	switch {
	case w.append && off < w.floor.Load():
		return errBelowKept
	case w.claim == nil || off < 0:
		return nil
	}
	_, err := w.claim.reserve(off, n, n)
	return err
}

// ReadAt reads what was written or kept.
func (w *Writer) ReadAt(p []byte, off int64) (int, error) {
	if w.content&session.MayRead == 0 {
		return 0, errNoRead
	}
	return w.upload.ReadAt(p, off)
}

// Stat describes what was written so far.
func (w *Writer) Stat() (storage.Info, error) { return w.upload.Stat() }

// OS is the file under the writer, for the kernel to fill; nil if there is
// none. What is written to it, where its offset stands, must have been allowed by
// Allow and must be told to Count.
func (w *Writer) OS() *os.File { return w.upload.OS() }

// Allow says how many of the next want bytes may come now, behind what was kept,
// written and counted so far; it waits until at least one may. Without limits that
// is all of them, at once. Where nothing more fits it returns 0 and
// session.ErrQuota. That is an error only if the peer has more to send, so who
// gets it looks for one more byte: if none comes, the file is whole. It fails with
// the cause if ctx is over.
func (w *Writer) Allow(ctx context.Context, want int64) (int64, error) {
	want, err := w.files.in.wait(ctx, want)
	if err != nil || w.claim == nil {
		return want, err
	}
	return w.claim.reserve(w.kept+w.moved.Load(), want, min(want, 1))
}

// Pace waits until n bytes may come, wherever in the file they belong: it is
// Allow for who writes by WriteAt alone, which sees to the room.
func (w *Writer) Pace(ctx context.Context, n int64) error {
	for n > 0 {
		now, err := w.files.in.wait(ctx, n)
		if err != nil {
			return err
		}
		n -= now
	}
	return nil
}

// Count adds n bytes that did not pass through WriteAt.
func (w *Writer) Count(n int64) { w.moved.Add(n) }

// Carried says over which connection the content comes, if not over that of the
// session.
func (w *Writer) Carried(ch session.Channel) { w.op.Carrier = &ch }

// SetAttr changes attributes of the file being written. Who appends changes those
// of a file that is there, and must be allowed to: to overwrite it, for cutting
// what was kept.
func (w *Writer) SetAttr(attr storage.Attr) error {
	changes := attr.Perm != nil || attr.ModTime != nil || attr.Access != nil
	if w.append && changes && w.may&session.MaySetAttr == 0 {
		return errBelowKept
	}
	if attr.Size == nil {
		return w.upload.SetAttr(attr)
	}
	if floor := w.floor.Load(); w.append && *attr.Size < floor && w.may&session.MayOverwrite != 0 {
		w.floor.Store(max(*attr.Size, 0))
	}
	if err := w.room(*attr.Size, 0); err != nil {
		return err
	}
	return w.upload.SetAttr(attr)
}

// Sync puts what was written on stable storage, still unseen.
func (w *Writer) Sync() error { return w.upload.Sync() }

// Commit returns nil when content and name are on stable storage and in the
// record: only then may the peer be told that the file arrived.
func (w *Writer) Commit(ctx context.Context) error {
	if w.claim != nil {
		w.claim.end()
	}
	return w.end(ctx, w.refused(w.upload.Commit(ctx)))
}

// errAborted is the cause of an Abort that was given none: the record must not
// say that the file arrived.
var errAborted = errors.New("aborted")

// Abort ends the upload because of cause and returns it. What was written is
// kept for its owner to resume if resumable is set, unless there is no room for
// it: the cause is session.ErrQuota.
func (w *Writer) Abort(ctx context.Context, cause error, resumable bool) error {
	if cause == nil {
		cause = errAborted
	}
	if w.claim != nil {
		w.claim.end()
	}
	resumable = resumable && !errors.Is(cause, session.ErrQuota)
	return w.end(ctx, errors.Join(cause, w.upload.Abort(resumable)))
}

func (w *Writer) end(ctx context.Context, err error) error {
	if w.claim != nil {
		w.claim.release()
	}
	w.files.release()
	w.op.Bytes = w.moved.Load()
	return w.op.End(ctx, err)
}
