package transfer_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/storage"
	"gateway/storage/local"
	"gateway/transfer"
)

// rules reads "/=list,read /in=drop".
func rules(t testing.TB, text string) session.Access {
	t.Helper()
	var a session.Access
	for field := range strings.FieldsSeq(text) {
		path, words, _ := strings.Cut(field, "=")
		may, err := session.ParsePermissions(words)
		if err != nil {
			t.Fatal(err)
		}
		a.Rules = append(a.Rules, session.PathRule{Path: path, May: may})
	}
	return a
}

// house is a core with accounts whose files are in folders of the system, and
// the Shares of a node.
type house struct {
	core    *sessiontest.Core
	trees   local.Tree
	shares  *transfer.Shares
	members map[string][]string
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{core: sessiontest.New(t, nil), trees: local.Tree{Base: t.TempDir()}, members: map[string][]string{}}
	h.shares = transfer.NewShares(transfer.SharesConfig{
		Open:    func(o transfer.Owner, l storage.Ledger) (storage.FS, error) { return h.trees.Open(o.User, l) },
		Members: func(group string) []string { return h.members[group] },
	})
	h.trees.Ledger = h.shares.Ledger
	return h
}

// enter logs user in, with the access given, and opens the files.
func (h *house) enter(t testing.TB, user string, access session.Access, limits transfer.Limits) *transfer.Files {
	t.Helper()
	if user != "alice" {
		h.core.Accounts.Add(user, "right", "")
	}
	h.core.Accounts.Allow(user, access)
	sess, err := h.core.Connect(t, session.SFTP, session.SSH).Offer(t.Context(), session.Password(user, "right"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := h.shares.Open(t.Context(), sess, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = files.Close() })
	return files
}

// settle is the end of an upload that got content from off on.
func settle(t testing.TB, w *transfer.Writer, err error, content string, off int64) error {
	t.Helper()
	if err != nil {
		return err
	}
	if _, err := w.WriteAt([]byte(content), off); err != nil {
		return w.Abort(t.Context(), err, true)
	}
	return w.Commit(t.Context())
}

func put(t testing.TB, f *transfer.Files, name, content string) error {
	t.Helper()
	w, err := f.Create(t.Context(), name, storage.CreateOptions{})
	return settle(t, w, err, content, 0)
}

func appendTo(t testing.TB, f *transfer.Files, name, content string) error {
	t.Helper()
	w, err := f.Append(t.Context(), name, storage.CreateOptions{})
	if err != nil {
		return err
	}
	info, err := w.Stat()
	return settle(t, w, err, content, info.Size)
}

func get(t testing.TB, f *transfer.Files, name string) (string, error) {
	t.Helper()
	r, err := f.Open(t.Context(), name)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.NewSectionReader(r, 0, 1<<20))
	return string(b), r.Close(t.Context(), err)
}

func interrupt(t testing.TB, f *transfer.Files, name, content string) {
	t.Helper()
	w, err := f.Create(t.Context(), name, storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	_ = w.Abort(t.Context(), io.ErrUnexpectedEOF, true)
}

func wantErr(t testing.TB, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) || kind == nil && err != nil {
		t.Errorf("%s: got %v, want %v", what, err, kind)
	}
}

// deeds are what can be done with files, by name, each in a folder /d that holds
// the file "old", the folder "sub" and an interrupted upload of "half".
func deeds() map[string]func(*testing.T, *transfer.Files) error {
	return map[string]func(*testing.T, *transfer.Files) error{
		"list": func(t *testing.T, f *transfer.Files) error {
			l, err := f.List(t.Context(), "/d")
			if err != nil {
				return err
			}
			for _, err := range l.Entries(t.Context()) {
				if err != nil {
					return l.Close(t.Context(), err)
				}
			}
			return l.Close(t.Context(), nil)
		},
		"stat":        func(t *testing.T, f *transfer.Files) error { _, err := f.Stat(t.Context(), "/d/old"); return err },
		"lstat":       func(t *testing.T, f *transfer.Files) error { _, err := f.Lstat(t.Context(), "/d/old"); return err },
		"stat half":   func(t *testing.T, f *transfer.Files) error { _, err := f.Stat(t.Context(), "/d/half"); return err },
		"stat folder": func(t *testing.T, f *transfer.Files) error { _, err := f.Stat(t.Context(), "/d"); return err },
		"read":        func(t *testing.T, f *transfer.Files) error { _, err := get(t, f, "/d/old"); return err },
		"create":      func(t *testing.T, f *transfer.Files) error { return put(t, f, "/d/new", "x") },
		"overwrite":   func(t *testing.T, f *transfer.Files) error { return put(t, f, "/d/old", "x") },
		"change": func(t *testing.T, f *transfer.Files) error {
			w, err := f.Create(t.Context(), "/d/old", storage.CreateOptions{Keep: storage.KeepAll})
			return settle(t, w, err, "x", 1)
		},
		"restart": func(t *testing.T, f *transfer.Files) error {
			w, err := f.Create(t.Context(), "/d/old", storage.CreateOptions{Keep: 2})
			return settle(t, w, err, "x", 2)
		},
		"resume": func(t *testing.T, f *transfer.Files) error {
			w, err := f.Create(t.Context(), "/d/half", storage.CreateOptions{Keep: 2})
			return settle(t, w, err, "x", 2)
		},
		"append":      func(t *testing.T, f *transfer.Files) error { return appendTo(t, f, "/d/old", "x") },
		"append half": func(t *testing.T, f *transfer.Files) error { return appendTo(t, f, "/d/half", "x") },
		"append new":  func(t *testing.T, f *transfer.Files) error { return appendTo(t, f, "/d/new", "x") },
		"cut": func(t *testing.T, f *transfer.Files) error {
			return f.SetAttr(t.Context(), "/d/old", storage.Attr{Size: new(int64)})
		},
		"chmod": func(t *testing.T, f *transfer.Files) error {
			w, err := f.Stat(t.Context(), "/")
			perm := w.Mode.Perm()
			return errors.Join(err, f.SetAttr(t.Context(), "/d/old", storage.Attr{Perm: &perm}))
		},
		"delete": func(t *testing.T, f *transfer.Files) error { return f.Remove(t.Context(), "/d/old") },
		"rmdir":  func(t *testing.T, f *transfer.Files) error { return f.RemoveDir(t.Context(), "/d/sub") },
		"mkdir":  func(t *testing.T, f *transfer.Files) error { return f.Mkdir(t.Context(), "/d/newdir") },
		"rename": func(t *testing.T, f *transfer.Files) error { return f.Rename(t.Context(), "/d/old", "/d/new", false) },
		"rename over": func(t *testing.T, f *transfer.Files) error {
			return f.Rename(t.Context(), "/d/old", "/d/other", true)
		},
		"rename folder": func(t *testing.T, f *transfer.Files) error {
			return f.Rename(t.Context(), "/d/sub", "/d/newdir", false)
		},
		"symlink": func(t *testing.T, f *transfer.Files) error { return f.Symlink(t.Context(), "old", "/d/new") },
		"link":    func(t *testing.T, f *transfer.Files) error { return f.Link(t.Context(), "/d/old", "/d/new") },
		"read back": func(t *testing.T, f *transfer.Files) error {
			w, err := f.Create(t.Context(), "/d/new", storage.CreateOptions{})
			if err != nil {
				return err
			}
			_, err = w.ReadAt(nil, 0)
			_ = w.Abort(t.Context(), io.EOF, false)
			return err
		},
	}
}

// Every word of the permissions, and what can be done with it alone.
func TestPermissions(t *testing.T) {
	t.Parallel()
	for may, can := range map[string]string{
		"none":                   "",
		"drop":                   "create,resume,append half,append new,stat half,stat folder",
		"list":                   "list,stat,lstat,stat half,stat folder",
		"read":                   "read,stat,lstat,stat half,stat folder",
		"overwrite":              "overwrite,change,restart,stat folder",
		"append":                 "append,stat half,stat folder",
		"delete":                 "delete,rmdir,stat folder",
		"mkdir":                  "mkdir,stat folder",
		"setattr":                "chmod,stat folder",
		"setattr,overwrite":      "chmod,cut,overwrite,change,restart,stat folder",
		"link":                   "stat folder",
		"rename":                 "stat folder",
		"rename,create":          "rename,create,resume,append half,append new,stat half,stat folder",
		"rename,mkdir":           "rename folder,mkdir,stat folder",
		"rename,overwrite":       "rename over,overwrite,change,restart,stat folder",
		"create,read":            "create,resume,append half,append new,stat half,stat folder,read,stat,lstat,read back",
		"create,append":          "create,resume,append,append half,append new,stat half,stat folder",
		"write":                  "create,resume,append,append half,append new,stat half,stat folder,overwrite,change,restart",
		"write,link,list,rename": "create,resume,append,append half,append new,stat half,stat folder,overwrite,change,restart,list,stat,lstat,rename,rename over",
	} {
		t.Run(may, func(t *testing.T) {
			t.Parallel()
			for name, do := range deeds() {
				h := newHouse(t)
				owner := h.enter(t, "alice", session.FullAccess(), transfer.Limits{})
				wantErr(t, "Mkdir", errors.Join(owner.Mkdir(t.Context(), "/d"), owner.Mkdir(t.Context(), "/d/sub")), nil)
				wantErr(t, "put", errors.Join(put(t, owner, "/d/old", "old content"), put(t, owner, "/d/other", "")), nil)
				interrupt(t, owner, "/d/half", "half")
				f := h.enter(t, "alice", rules(t, "/=none /d="+may), transfer.Limits{})
				before := len(record(h.core))
				err := do(t, f)
				if want := slices.Contains(strings.Split(can, ","), name); want != (err == nil) {
					t.Errorf("%s: got %v, allowed %v", name, err, want)
				}
				if err == nil {
					continue
				}
				if !errors.Is(err, session.ErrDenied) && !errors.Is(err, session.ErrNotExist) {
					t.Errorf("%s: got %v, want a refusal", name, err)
				}
				if added := record(h.core)[before:]; len(added) == 0 || !strings.Contains(added[len(added)-1], "refused") && !strings.Contains(added[len(added)-1], "failed") {
					t.Errorf("%s: recorded %q", name, added)
				}
				if got, err := get(t, owner, "/d/old"); got != "old content" || err != nil {
					t.Errorf("%s: refused, and left %q, %v", name, got, err)
				}
			}
		})
	}
}

// Everything together is everything.
func TestFullAccess(t *testing.T) {
	t.Parallel()
	for name, do := range deeds() {
		h := newHouse(t)
		f := h.enter(t, "alice", session.FullAccess(), transfer.Limits{})
		wantErr(t, "Mkdir", errors.Join(f.Mkdir(t.Context(), "/d"), f.Mkdir(t.Context(), "/d/sub")), nil)
		wantErr(t, "put", errors.Join(put(t, f, "/d/old", "old content"), put(t, f, "/d/other", "")), nil)
		interrupt(t, f, "/d/half", "half")
		wantErr(t, name, do(t, f), nil)
	}
}

// What was dropped can be neither read, described, listed, replaced, renamed nor
// removed; a broken upload can be resumed, and described until it is whole.
func TestDropBox(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	owner := h.enter(t, "alice", session.FullAccess(), transfer.Limits{})
	wantErr(t, "Mkdir", owner.Mkdir(ctx, "/in"), nil)
	f := h.enter(t, "alice", rules(t, "/=list,read /in=drop"), transfer.Limits{})
	interrupt(t, f, "/in/a", "hello ")
	info, err := f.Stat(ctx, "/in/a")
	if err != nil || info.Size != 6 || !info.Partial {
		t.Errorf("Stat of the interrupted upload: %+v, %v", info, err)
	}
	w, err := f.Create(ctx, "/in/a", storage.CreateOptions{Keep: info.Size})
	wantErr(t, "resume", settle(t, w, err, "world", 6), nil)
	for name, act := range map[string]func() error{
		"read":    func() error { _, err := get(t, f, "/in/a"); return err },
		"replace": func() error { return put(t, f, "/in/a", "x") },
		"resume": func() error {
			w, err := f.Create(ctx, "/in/a", storage.CreateOptions{Keep: 5})
			return settle(t, w, err, "x", 5)
		},
		"append": func() error { return appendTo(t, f, "/in/a", "x") },
		"rename": func() error { return f.Rename(ctx, "/in/a", "/in/b", false) },
		"take":   func() error { return f.Rename(ctx, "/in/a", "/b", false) },
		"delete": func() error { return f.Remove(ctx, "/in/a") },
		"cut":    func() error { return f.SetAttr(ctx, "/in/a", storage.Attr{Size: new(int64)}) },
		"link":   func() error { return f.Link(ctx, "/in/a", "/in/b") },
		"list":   func() error { _, err := f.List(ctx, "/in"); return err },
		"move":   func() error { return f.Rename(ctx, "/in", "/out", false) },
	} {
		wantErr(t, name, act(), session.ErrDenied)
	}
	for _, name := range []string{"/in/a", "/in/none", "/in/a/below"} {
		_, err := f.Stat(ctx, name)
		wantErr(t, "Stat "+name, err, session.ErrNotExist)
		_, err = f.Lstat(ctx, name)
		wantErr(t, "Lstat "+name, err, session.ErrNotExist)
		_, err = f.Readlink(ctx, name)
		wantErr(t, "Readlink "+name, err, session.ErrNotExist)
	}
	if got, err := get(t, owner, "/in/a"); got != "hello world" || err != nil {
		t.Errorf("in the box: %q, %v", got, err)
	}
	// Two at once: the first that is whole stays.
	first, err1 := f.Create(ctx, "/in/b", storage.CreateOptions{})
	second, err2 := f.Create(ctx, "/in/b", storage.CreateOptions{})
	wantErr(t, "Create", errors.Join(err1, err2), nil)
	wantErr(t, "first", settle(t, first, nil, "first", 0), nil)
	wantErr(t, "second", settle(t, second, nil, "second", 0), session.ErrDenied)
	if got, _ := get(t, owner, "/in/b"); got != "first" {
		t.Errorf("in the box: %q", got)
	}
}

// A link does not lead to where another rule holds, whoever made it when.
func TestLinksDoNotLeadAroundRules(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	owner := h.enter(t, "alice", session.FullAccess(), transfer.Limits{})
	wantErr(t, "prepare", errors.Join(owner.Mkdir(ctx, "/in"), owner.Mkdir(ctx, "/out"), put(t, owner, "/in/a", "secret"),
		owner.Symlink(ctx, "../in/a", "/out/file"), owner.Symlink(ctx, "../in", "/out/folder")), nil)
	for _, text := range []string{"/=all /in=drop", "/out=all"} {
		f := h.enter(t, "alice", rules(t, text), transfer.Limits{})
		for name, act := range map[string]func() error{
			"read":        func() error { _, err := get(t, f, "/out/file"); return err },
			"read below":  func() error { _, err := get(t, f, "/out/folder/a"); return err },
			"list":        func() error { _, err := f.List(ctx, "/out/folder"); return err },
			"stat":        func() error { _, err := f.Stat(ctx, "/out/file"); return err },
			"replace":     func() error { return put(t, f, "/out/file", "x") },
			"append":      func() error { return appendTo(t, f, "/out/file", "x") },
			"write below": func() error { return put(t, f, "/out/folder/a", "x") },
			"delete":      func() error { return f.Remove(ctx, "/out/folder/a") },
			"rename":      func() error { return f.Rename(ctx, "/out/folder/a", "/out/a", false) },
			"cut":         func() error { return f.SetAttr(ctx, "/out/file", storage.Attr{Size: new(int64)}) },
			"another":     func() error { return f.Symlink(ctx, "../in/a", "/out/more") },
			"hard":        func() error { return f.Link(ctx, "/in/a", "/out/more") },
		} {
			wantErr(t, text+": "+name, act(), session.ErrDenied)
		}
		_, err := f.Lstat(ctx, "/out/file")
		wantErr(t, "Lstat", err, nil)
	}
	f := h.enter(t, "alice", rules(t, "/=all /in=drop"), transfer.Limits{})
	wantErr(t, "remove the link", f.Remove(ctx, "/out/file"), nil)
	if got, err := get(t, owner, "/in/a"); got != "secret" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// Who may only append leaves what is there as it is.
func TestAppendOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	f := h.enter(t, "alice", rules(t, "/=create,append,read"), transfer.Limits{})
	wantErr(t, "create", appendTo(t, f, "/log", "one"), nil)
	w, err := f.Append(t.Context(), "/log", storage.CreateOptions{})
	wantErr(t, "Append", err, nil)
	_, err = w.WriteAt([]byte("x"), 2)
	wantErr(t, "WriteAt", err, session.ErrDenied)
	size, perm := int64(2), storage.CreateOptions{Perm: 0o600}.Perm
	wantErr(t, "cut", w.SetAttr(storage.Attr{Size: &size}), session.ErrDenied)
	wantErr(t, "chmod", w.SetAttr(storage.Attr{Perm: &perm}), session.ErrDenied)
	wantErr(t, "append", settle(t, w, nil, "two", 3), nil)
	if got, err := get(t, f, "/log"); got != "onetwo" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	wantRecord(t, h.core, "append begun /log  0", "append done /log  3", "append begun /log  0", "append done /log  3", "read done /log  6")
}

// The record says over which connection the content went.
func TestCarried(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	f := h.enter(t, "alice", session.FullAccess(), transfer.Limits{})
	clear := session.Channel{Kind: session.Plain}
	w, err := f.Create(t.Context(), "/a", storage.CreateOptions{})
	wantErr(t, "Create", err, nil)
	w.Carried(clear)
	wantErr(t, "Commit", w.Commit(t.Context()), nil)
	r, err := f.Open(t.Context(), "/a")
	wantErr(t, "Open", err, nil)
	r.Carried(clear)
	wantErr(t, "Close", r.Close(t.Context(), nil), nil)
	l, err := f.List(t.Context(), "/")
	wantErr(t, "List", err, nil)
	l.Carried(clear)
	_ = l.Close(t.Context(), nil)
	var got []string
	for _, e := range h.core.Record.Events(session.EventFile) {
		got = append(got, fmt.Sprint(e.Verb, " ", e.Channel.Kind))
	}
	if want := []string{"write ssh", "write plain", "read plain", "list plain"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
