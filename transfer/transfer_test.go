package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"sync"
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/storage"
	"gateway/transfer"
)

// tree is a storage.FS that notes its calls and answers each with err.
type tree struct {
	mu      sync.Mutex
	calls   []string
	err     error
	entries []storage.Info
	isFile  bool // what Stat says of every name
	closed  int
	fault   error // of File.Close, Upload.Commit and Upload.Abort
}

var _ storage.FS = (*tree)(nil)

func (f *tree) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *tree) Stat(_ context.Context, name string) (storage.Info, error) {
	info := storage.Info{Name: name, Mode: os.ModeDir}
	if f.isFile {
		info.Mode = 0
	}
	return info, f.note("Stat %s", name)
}

func (f *tree) Lstat(_ context.Context, name string) (storage.Info, error) {
	return storage.Info{Name: name}, f.note("Lstat %s", name)
}

func (f *tree) List(_ context.Context, name string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		_ = f.note("List %s", name)
		for _, e := range f.entries {
			if !yield(e, nil) {
				return
			}
		}
		if f.fault != nil {
			yield(storage.Info{}, f.fault)
		}
	}
}

func (f *tree) Open(_ context.Context, name string) (storage.File, error) {
	return file{f}, f.note("Open %s", name)
}

func (f *tree) Create(_ context.Context, name string, o storage.CreateOptions) (storage.Upload, error) {
	return file{f}, f.note("Create %s %d", name, o.Keep)
}
func (f *tree) Mkdir(_ context.Context, name string) error  { return f.note("Mkdir %s", name) }
func (f *tree) Remove(_ context.Context, name string) error { return f.note("Remove %s", name) }
func (f *tree) RemoveDir(_ context.Context, name string) error {
	return f.note("RemoveDir %s", name)
}

func (f *tree) Rename(_ context.Context, from, to string, overwrite bool) error {
	return f.note("Rename %s %s %v", from, to, overwrite)
}

func (f *tree) SetAttr(_ context.Context, name string, _ storage.Attr) error {
	return f.note("SetAttr %s", name)
}

func (f *tree) LsetAttr(_ context.Context, name string, _ storage.Attr) error {
	return f.note("LsetAttr %s", name)
}

func (f *tree) Readlink(_ context.Context, name string) (string, error) {
	return "target", f.note("Readlink %s", name)
}

func (f *tree) Symlink(_ context.Context, target, name string) error {
	return f.note("Symlink %s %s", target, name)
}
func (f *tree) Link(_ context.Context, old, new string) error { return f.note("Link %s %s", old, new) }
func (f *tree) Space(context.Context) (storage.Space, error) {
	return storage.Space{Total: 1}, f.note("Space")
}
func (f *tree) Usage(context.Context) (storage.Usage, error) {
	return storage.Usage{}, f.note("Usage")
}
func (f *tree) Close() error { f.closed++; return nil }

// file is an endless file of zeros, or an upload.
type file struct{ tree *tree }

func (file) ReadAt(p []byte, _ int64) (int, error)  { return len(p), nil }
func (file) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (file) Stat() (storage.Info, error)            { return storage.Info{Size: 7}, nil }
func (file) OS() *os.File                           { return nil }
func (file) Sync() error                            { return nil }
func (file) SetAttr(storage.Attr) error             { return nil }
func (f file) Close() error                         { return f.tree.fault }
func (f file) Commit(context.Context) error         { return errors.Join(f.tree.note("Commit"), f.tree.fault) }
func (f file) Abort(resumable bool) error           { return f.tree.note("Abort %v", resumable) }

// login returns a core and the Files that alice has of fs.
func login(t *testing.T, fs *tree, limits transfer.Limits) (*sessiontest.Core, *session.Session, *transfer.Files) {
	t.Helper()
	core := sessiontest.New(t, nil)
	sess, err := core.Connect(t, session.SFTP, session.SSH).Offer(t.Context(), session.Password("alice", "right"))
	if err != nil {
		t.Fatal(err)
	}
	return core, sess, transfer.New(sess, fs, limits)
}

// record is what was recorded of files: "verb outcome path target bytes".
func record(core *sessiontest.Core) []string {
	var list []string
	for _, e := range core.Record.Events(session.EventFile) {
		list = append(list, fmt.Sprintf("%s %s %s %s %d", e.Verb, e.Outcome, e.Path, e.Target, e.Bytes))
	}
	return list
}

func wantRecord(t *testing.T, core *sessiontest.Core, want ...string) {
	t.Helper()
	if got := record(core); !slices.Equal(got, want) {
		t.Errorf("recorded:\n got %q\nwant %q", got, want)
	}
}

// actions are the calls that do one thing, with what is recorded of it.
var actions = []struct {
	name    string
	do      func(ctx context.Context, f *transfer.Files) error
	call    string // the last one to the storage
	verb    string // and path, and target
	changes bool
}{
	{"Stat", func(ctx context.Context, f *transfer.Files) error { _, err := f.Stat(ctx, "/d/../a"); return err }, "Stat a", "stat /a ", false},
	{"Lstat", func(ctx context.Context, f *transfer.Files) error { _, err := f.Lstat(ctx, "a"); return err }, "Lstat a", "stat /a ", false},
	{"Readlink", func(ctx context.Context, f *transfer.Files) error { _, err := f.Readlink(ctx, "/a"); return err }, "Readlink a", "stat /a ", false},
	{"Space", func(ctx context.Context, f *transfer.Files) error { _, err := f.Space(ctx); return err }, "Space", "stat / ", false},
	{"Mkdir", func(ctx context.Context, f *transfer.Files) error { return f.Mkdir(ctx, "/a/b") }, "Mkdir a/b", "mkdir /a/b ", true},
	{"Remove", func(ctx context.Context, f *transfer.Files) error { return f.Remove(ctx, "/a") }, "Remove a", "remove /a ", true},
	{"RemoveDir", func(ctx context.Context, f *transfer.Files) error { return f.RemoveDir(ctx, "/..") }, "RemoveDir .", "rmdir / ", true},
	{"Rename", func(ctx context.Context, f *transfer.Files) error { return f.Rename(ctx, "/a", "../b", true) }, "Rename a b true", "rename /a /b", true},
	{"Link", func(ctx context.Context, f *transfer.Files) error { return f.Link(ctx, "/a", "/b") }, "Link a b", "link /a /b", true},
	{"Symlink", func(ctx context.Context, f *transfer.Files) error { return f.Symlink(ctx, "../a", "/d/b") }, "Symlink ../a d/b", "link ../a /d/b", true},
	{"SetAttr", func(ctx context.Context, f *transfer.Files) error { return f.SetAttr(ctx, "/a", storage.Attr{}) }, "SetAttr a", "setattr /a ", true},
	{"LsetAttr", func(ctx context.Context, f *transfer.Files) error { return f.LsetAttr(ctx, "/a", storage.Attr{}) }, "LsetAttr a", "setattr /a ", true},
}

// Changes are recorded before and after, looks only when they fail.
func TestEachActionIsRecorded(t *testing.T) {
	t.Parallel()
	for _, a := range actions {
		for _, result := range []error{nil, session.ErrNotEmpty} {
			t.Run(fmt.Sprintf("%s %v", a.name, result), func(t *testing.T) {
				t.Parallel()
				fs := &tree{err: result}
				core, _, files := login(t, fs, transfer.Limits{})
				if err := a.do(t.Context(), files); !errors.Is(err, result) || result == nil && err != nil {
					t.Errorf("got %v, want %v", err, result)
				}
				if len(fs.calls) != 1 || fs.calls[0] != a.call {
					t.Errorf("calls: got %q, want %q", fs.calls, a.call)
				}
				var verb, path, target string
				_, _ = fmt.Sscan(a.verb, &verb, &path, &target)
				line := func(outcome string) string { return fmt.Sprintf("%s %s %s %s 0", verb, outcome, path, target) }
				var want []string
				if a.changes {
					want = append(want, line("begun"))
				}
				if result != nil {
					want = append(want, line("failed"))
				} else if a.changes {
					want = append(want, line("done"))
				}
				wantRecord(t, core, want...)
			})
		}
	}
}

// What cannot be recorded does not happen.
func TestNothingHappensUnrecorded(t *testing.T) {
	t.Parallel()
	fs := &tree{}
	core, _, files := login(t, fs, transfer.Limits{})
	core.Record.Fail(errors.New("disk full"))
	for _, a := range actions {
		if !a.changes {
			continue
		}
		if err := a.do(t.Context(), files); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%s: got %v, want %v", a.name, err, session.ErrUnavailable)
		}
	}
	if _, err := files.Create(t.Context(), "/a", storage.CreateOptions{}); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Create: got %v, want %v", err, session.ErrUnavailable)
	}
	if len(fs.calls) != 0 {
		t.Errorf("calls: got %q, want none", fs.calls)
	}
	core.Record.Fail(nil)
	w, err := files.Create(t.Context(), "/a", storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	core.Record.Fail(errors.New("disk full"))
	if err := w.Commit(t.Context()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Commit: got %v, want %v", err, session.ErrUnavailable)
	}
	core.Record.Fail(nil)
}

// After the session's end its files are closed to it; what is open goes on.
func TestSessionThatEnded(t *testing.T) {
	t.Parallel()
	fs := &tree{}
	core, sess, files := login(t, fs, transfer.Limits{})
	if !core.Gate.Kill(sess.ID()) {
		t.Fatal("no session to kill")
	}
	for _, a := range actions {
		if err := a.do(t.Context(), files); !errors.Is(err, session.ErrClosed) {
			t.Errorf("%s: got %v, want %v", a.name, err, session.ErrClosed)
		}
	}
	if _, err := files.Open(t.Context(), "a"); !errors.Is(err, session.ErrClosed) {
		t.Errorf("Open: got %v", err)
	}
	if _, err := files.List(t.Context(), "a"); !errors.Is(err, session.ErrClosed) {
		t.Errorf("List: got %v", err)
	}
	if err := files.Close(); err != nil || fs.closed != 1 {
		t.Errorf("Close: %v, closed %d times", err, fs.closed)
	}
}

func TestBadNamesGoNowhere(t *testing.T) {
	t.Parallel()
	fs := &tree{}
	core, _, files := login(t, fs, transfer.Limits{})
	bad := "a\r\nb"
	errs := map[string]error{
		"Mkdir": files.Mkdir(t.Context(), bad), "Rename from": files.Rename(t.Context(), bad, "b", true),
		"Rename to": files.Rename(t.Context(), "b", bad, true), "Symlink": files.Symlink(t.Context(), bad, "b"),
		"Symlink at": files.Symlink(t.Context(), "b", bad),
	}
	_, errs["Open"] = files.Open(t.Context(), bad)
	_, errs["Create"] = files.Create(t.Context(), bad, storage.CreateOptions{})
	_, errs["List"] = files.List(t.Context(), bad)
	for method, err := range errs {
		if !errors.Is(err, session.ErrName) {
			t.Errorf("%s: got %v, want %v", method, err, session.ErrName)
		}
	}
	if len(fs.calls) != 0 || len(record(core)) != 0 {
		t.Errorf("calls %q, record %q", fs.calls, record(core))
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	fs := &tree{}
	core, _, files := login(t, fs, transfer.Limits{})
	r, err := files.Open(t.Context(), "/a")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _, _ = r.ReadAt(make([]byte, 10), 0) })
	}
	wg.Wait()
	r.Count(60) // sent by the kernel
	if err := r.Close(t.Context(), nil); err != nil {
		t.Errorf("Close: %v", err)
	}
	r, _ = files.Open(t.Context(), "/b")
	if err := r.Close(t.Context(), io.ErrClosedPipe); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Close: got %v", err)
	}
	fs.err = session.ErrNotExist
	if _, err := files.Open(t.Context(), "/c"); !errors.Is(err, session.ErrNotExist) {
		t.Errorf("Open: got %v", err)
	}
	wantRecord(t, core, "read done /a  100", "read failed /b  0", "read failed /c  0")
}

func TestWriter(t *testing.T) {
	t.Parallel()
	fs := &tree{}
	core, _, files := login(t, fs, transfer.Limits{})
	w, err := files.Create(t.Context(), "/a", storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.WriteAt(make([]byte, 10), 0)
	w.Count(5)
	if err := w.Commit(t.Context()); err != nil {
		t.Errorf("Commit: %v", err)
	}
	w, _ = files.Append(t.Context(), "/b", storage.CreateOptions{})
	if err := w.Abort(t.Context(), io.ErrUnexpectedEOF, true); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Abort: got %v", err)
	}
	w, _ = files.Create(t.Context(), "/c", storage.CreateOptions{})
	if err := w.Abort(t.Context(), nil, false); err == nil {
		t.Error("an aborted upload was told as done")
	}
	fs.fault = session.ErrNoSpace
	w, _ = files.Create(t.Context(), "/d", storage.CreateOptions{})
	if err := w.Commit(t.Context()); !errors.Is(err, session.ErrNoSpace) {
		t.Errorf("Commit: got %v", err)
	}
	wantRecord(t, core,
		"write begun /a  0", "write done /a  15", "append begun /b  0", "append failed /b  0",
		"write begun /c  0", "write failed /c  0", "write begun /d  0", "write failed /d  0")
	if want := []string{"Create a 0", "Commit", "Create b -1", "Abort true", "Create c 0", "Abort false", "Create d 0", "Commit"}; !slices.Equal(fs.calls, want) {
		t.Errorf("calls: got %q, want %q", fs.calls, want)
	}
}

// The limit counts readers and writers together, and every way to end one, or
// to fail to begin one, gives the place back.
func TestOpenFilesAreLimited(t *testing.T) {
	t.Parallel()
	fs := &tree{}
	core, _, files := login(t, fs, transfer.Limits{OpenFiles: 2})
	for range 3 {
		r, err := files.Open(t.Context(), "/a")
		if err != nil {
			t.Fatal(err)
		}
		w, err := files.Create(t.Context(), "/b", storage.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := files.Open(t.Context(), "/c"); !errors.Is(err, session.ErrTooMany) {
			t.Errorf("third Open: got %v, want %v", err, session.ErrTooMany)
		}
		if _, err := files.Create(t.Context(), "/c", storage.CreateOptions{}); !errors.Is(err, session.ErrTooMany) {
			t.Errorf("third Create: got %v, want %v", err, session.ErrTooMany)
		}
		_ = r.Close(t.Context(), nil)
		_ = w.Abort(t.Context(), io.EOF, false)
		fs.err = session.ErrNotExist
		for range 3 {
			_, err = files.Open(t.Context(), "/none")
			_, err2 := files.Create(t.Context(), "/none", storage.CreateOptions{})
			if !errors.Is(err, session.ErrNotExist) || !errors.Is(err2, session.ErrNotExist) {
				t.Errorf("got %v and %v", err, err2)
			}
		}
		fs.err = nil
	}
	if got := record(core)[2:5]; !slices.Equal(got, []string{"write begun /c  0", "write failed /c  0", "read done /a  0"}) {
		t.Errorf("record begins %q", record(core)[:5])
	}
}

func TestDefaultLimit(t *testing.T) {
	t.Parallel()
	_, _, files := login(t, &tree{}, transfer.Limits{})
	var readers []*transfer.Reader
	for {
		r, err := files.Open(t.Context(), "/a")
		if errors.Is(err, session.ErrTooMany) {
			break
		}
		if err != nil || len(readers) > 1000 {
			t.Fatalf("after %d: %v", len(readers), err)
		}
		readers = append(readers, r)
	}
	if len(readers) != 128 {
		t.Errorf("%d files open, want 128", len(readers))
	}
	for _, r := range readers {
		_ = r.Close(t.Context(), nil)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	fs := &tree{entries: []storage.Info{{Name: "a"}, {Name: "b"}}}
	core, _, files := login(t, fs, transfer.Limits{})
	read := func(limit int) (names []string, failed error) {
		listing, err := files.List(t.Context(), "/d")
		if err != nil {
			return nil, err
		}
		defer func() {
			_ = listing.Close(t.Context(), nil)
			_ = listing.Close(t.Context(), io.EOF) // changes nothing
		}()
		for info, err := range listing.Entries(t.Context()) {
			if err != nil {
				return names, err
			}
			if names = append(names, info.Name); len(names) == limit {
				break
			}
		}
		return names, nil
	}
	if names, err := read(9); !slices.Equal(names, []string{"a", "b"}) || err != nil {
		t.Errorf("got %q, %v", names, err)
	}
	unread, err := files.List(t.Context(), "/d")
	if err != nil {
		t.Fatal(err)
	}
	if err := unread.Close(t.Context(), nil); err == nil {
		t.Error("a listing that nobody saw is told as done")
	}
	if names, err := read(1); !slices.Equal(names, []string{"a"}) || err != nil {
		t.Errorf("left early: got %q, %v", names, err)
	}
	fs.fault = session.ErrBusy
	if names, err := read(9); len(names) != 2 || !errors.Is(err, session.ErrBusy) {
		t.Errorf("failing: got %q, %v", names, err)
	}
	fs.isFile = true
	if _, err := read(9); !errors.Is(err, session.ErrNotDirectory) {
		t.Errorf("of a file: got %v", err)
	}
	fs.err = session.ErrNotExist
	if _, err := read(9); !errors.Is(err, session.ErrNotExist) {
		t.Errorf("of nothing: got %v", err)
	}
	wantRecord(t, core, "list done /d  0", "list failed /d  0", "list failed /d  0", "list failed /d  0", "list failed /d  0", "list failed /d  0")
}
