package storagetest

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"

	"gateway/session"
	"gateway/storage"
)

// Ledger is a storage.Ledger that adds up, and refuses what goes beyond Most.
type Ledger struct {
	sync.Mutex
	Most  storage.Usage // zero is no limit
	Usage storage.Usage
	Gone  []uint64 // what Lost was told
}

// Take implements storage.Ledger.
func (l *Ledger) Take(bytes, files int64) error {
	if l.Most.Bytes > 0 && bytes > 0 && l.Usage.Bytes+bytes > l.Most.Bytes ||
		l.Most.Files > 0 && files > 0 && l.Usage.Files+files > l.Most.Files {
		return session.ErrQuota
	}
	l.Add(bytes, files)
	return nil
}

// Add implements storage.Ledger.
func (l *Ledger) Add(bytes, files int64) {
	if l.TryLock() {
		panic("told a ledger that is not locked")
	}
	l.Usage.Bytes += bytes
	l.Usage.Files += files
}

// Lost implements storage.Ledger.
func (l *Ledger) Lost(id uint64) { l.Gone = append(l.Gone, id) }

// RunLedger runs the part of the suite that is about Usage and Ledger. open
// returns a new, empty tree that tells ledger of its changes.
func RunLedger(t *testing.T, open func(t *testing.T, ledger storage.Ledger) storage.FS) {
	for _, c := range ledgerCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := &Ledger{}
			c.run(t, open(t, l), l)
		})
	}
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("random ", seed), func(t *testing.T) {
			t.Parallel()
			l := &Ledger{}
			random(t, open(t, l), l, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

// wantUsage checks that tree and ledger are of one mind, and of which.
func wantUsage(t *testing.T, tree storage.FS, l *Ledger, bytes, files int64) {
	t.Helper()
	want := storage.Usage{Bytes: bytes, Files: files}
	got, err := tree.Usage(t.Context())
	if err != nil || got != want {
		t.Errorf("Usage: got %+v, %v; want %+v", got, err, want)
	}
	if l.Usage != want {
		t.Errorf("ledger: got %+v, want %+v", l.Usage, want)
	}
}

type ledgerCase struct {
	name string
	run  func(t *testing.T, tree storage.FS, l *Ledger)
}

func ledgerCases() []ledgerCase {
	size := func(n int64) storage.Attr { return storage.Attr{Size: &n} }
	return []ledgerCase{
		{"files, folders and links", func(t *testing.T, tree storage.FS, l *Ledger) {
			wantUsage(t, tree, l, 0, 0)
			mkdir(t, tree, "d")
			put(t, tree, "d/a", "hello")
			want(t, "Symlink", tree.Symlink(t.Context(), "d/a", "l"), nil)
			want(t, "Link", tree.Link(t.Context(), "d/a", "b"), nil)
			wantUsage(t, tree, l, 5, 4)
			want(t, "Remove one name", tree.Remove(t.Context(), "d/a"), nil)
			wantUsage(t, tree, l, 5, 3)
			want(t, "Remove the other", tree.Remove(t.Context(), "b"), nil)
			want(t, "Remove the link", tree.Remove(t.Context(), "l"), nil)
			want(t, "RemoveDir", tree.RemoveDir(t.Context(), "d"), nil)
			wantUsage(t, tree, l, 0, 0)
		}},
		{"an upload counts from its beginning", func(t *testing.T, tree storage.FS, l *Ledger) {
			u := create(t, tree, "a", storage.CreateOptions{})
			wantUsage(t, tree, l, 0, 1)
			writeAt(t, u, "hello", 0)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantUsage(t, tree, l, 5, 1)
			put(t, tree, "a", "hi")
			wantUsage(t, tree, l, 2, 1)
		}},
		{"an upload that ended without a trace", func(t *testing.T, tree storage.FS, l *Ledger) {
			u := create(t, tree, "a", storage.CreateOptions{})
			writeAt(t, u, "hello", 0)
			want(t, "Abort", u.Abort(false), nil)
			wantUsage(t, tree, l, 0, 0)
		}},
		{"an interrupted upload", func(t *testing.T, tree storage.FS, l *Ledger) {
			interrupt(t, tree, "a", "hello")
			wantUsage(t, tree, l, 5, 1)
			u := create(t, tree, "a", storage.CreateOptions{Keep: 2})
			wantUsage(t, tree, l, 2, 1)
			writeAt(t, u, "y", 2)
			want(t, "Abort", u.Abort(true), nil)
			wantUsage(t, tree, l, 3, 1)
			u = create(t, tree, "a", storage.CreateOptions{Keep: storage.KeepAll})
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantUsage(t, tree, l, 3, 1)
			mkdir(t, tree, "d")
			interrupt(t, tree, "d/b", "half")
			want(t, "RemoveDir", tree.RemoveDir(t.Context(), "d"), nil)
			wantUsage(t, tree, l, 3, 1)
		}},
		{"two interrupted uploads of one name", func(t *testing.T, tree storage.FS, l *Ledger) {
			first, second := create(t, tree, "a", storage.CreateOptions{}), create(t, tree, "a", storage.CreateOptions{})
			writeAt(t, first, "first", 0)
			writeAt(t, second, "2nd", 0)
			wantFiles := l.Usage.Files
			if wantFiles != 2 {
				t.Errorf("%d names, want 2", wantFiles)
			}
			want(t, "Abort", first.Abort(true), nil)
			want(t, "Abort", second.Abort(true), nil)
			wantUsage(t, tree, l, 3, 1)
		}},
		{"appending", func(t *testing.T, tree storage.FS, l *Ledger) {
			put(t, tree, "a", "hello")
			u := create(t, tree, "a", storage.CreateOptions{Append: true})
			wantUsage(t, tree, l, 10, 2)
			writeAt(t, u, "!", 5)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantUsage(t, tree, l, 6, 1)
		}},
		{"cutting", func(t *testing.T, tree storage.FS, l *Ledger) {
			put(t, tree, "a", "hello")
			want(t, "SetAttr", tree.SetAttr(t.Context(), "a", size(2)), nil)
			wantUsage(t, tree, l, 2, 1)
			want(t, "SetAttr", tree.SetAttr(t.Context(), "a", size(9)), nil)
			wantUsage(t, tree, l, 9, 1)
			if len(l.Gone) != 1 {
				t.Errorf("Lost was told %d times, want once", len(l.Gone))
			}
		}},
		{"renaming over", func(t *testing.T, tree storage.FS, l *Ledger) {
			put(t, tree, "a", "hello")
			put(t, tree, "b", "hi")
			want(t, "Rename", tree.Rename(t.Context(), "a", "b", true), nil)
			wantUsage(t, tree, l, 5, 1)
			want(t, "Link", tree.Link(t.Context(), "b", "c"), nil)
			want(t, "Rename", tree.Rename(t.Context(), "b", "c", true), nil)
			wantUsage(t, tree, l, 5, 1)
		}},
		{"what is too much changes nothing", func(t *testing.T, tree storage.FS, l *Ledger) {
			put(t, tree, "a", "hello")
			l.Most = storage.Usage{Bytes: 5, Files: 1}
			want(t, "Mkdir", tree.Mkdir(t.Context(), "d"), session.ErrQuota)
			want(t, "Symlink", tree.Symlink(t.Context(), "a", "l"), session.ErrQuota)
			want(t, "Link", tree.Link(t.Context(), "a", "l"), session.ErrQuota)
			want(t, "SetAttr", tree.SetAttr(t.Context(), "a", size(6)), session.ErrQuota)
			_, err := tree.Create(t.Context(), "b", storage.CreateOptions{})
			want(t, "Create", err, session.ErrQuota)
			wantUsage(t, tree, l, 5, 1)
			l.Most.Files = 2
			u := create(t, tree, "a", storage.CreateOptions{})
			writeAt(t, u, "longer", 0)
			want(t, "Commit", u.Commit(t.Context()), session.ErrQuota)
			wantContent(t, tree, "a", "hello")
			wantUsage(t, tree, l, 5, 1)
			_, err = tree.Create(t.Context(), "a", storage.CreateOptions{Append: true})
			want(t, "Create that copies", err, session.ErrQuota)
			wantUsage(t, tree, l, 5, 1)
		}},
		{"a ledger of its own", func(t *testing.T, tree storage.FS, l *Ledger) {
			own := &Ledger{}
			u := create(t, tree, "a", storage.CreateOptions{Ledger: own})
			writeAt(t, u, "hello", 0)
			want(t, "Commit", u.Commit(t.Context()), nil)
			if (own.Usage != storage.Usage{Bytes: 5, Files: 1}) || l.Usage != (storage.Usage{}) {
				t.Errorf("told %+v and %+v", own.Usage, l.Usage)
			}
		}},
		{"a folder that may not be read", func(t *testing.T, tree storage.FS, l *Ledger) {
			mkdir(t, tree, "d")
			mkdir(t, tree, "d/e")
			put(t, tree, "d/e/a", "hello")
			none := storage.Attr{Perm: new(fs.FileMode)}
			want(t, "SetAttr", tree.SetAttr(t.Context(), "d/e", none), nil)
			want(t, "SetAttr", tree.SetAttr(t.Context(), "d", none), nil)
			wantUsage(t, tree, l, 5, 3)
			if info, err := tree.Stat(t.Context(), "d"); err != nil || info.Mode.Perm() != 0 {
				t.Errorf("left the folder with %v, %v", info.Mode, err)
			}
		}},
	}
}

// random does what comes to mind, some uploads of it never ending before the
// last, and compares in between.
func random(t *testing.T, tree storage.FS, l *Ledger, r *rand.Rand) {
	names := []string{"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a"}
	name := func() string { return names[r.IntN(len(names))] }
	content := func() []byte { return make([]byte, r.IntN(100)) }
	var running []storage.Upload
	end := func(i int) {
		u := running[i]
		running = append(running[:i], running[i+1:]...)
		switch r.IntN(3) {
		case 0:
			_ = u.Commit(t.Context())
		default:
			_ = u.Abort(r.IntN(2) == 0)
		}
	}
	for range 600 {
		l.Lock()
		l.Most = storage.Usage{}
		if r.IntN(2) == 0 {
			l.Most = storage.Usage{Bytes: 1 + r.Int64N(400), Files: 1 + r.Int64N(8)}
		}
		l.Unlock()
		ctx := t.Context()
		switch r.IntN(12) {
		case 0, 1, 2, 3:
			opts := storage.CreateOptions{
				Keep: int64(r.IntN(40) - 1), Exclusive: r.IntN(4) == 0, Existing: r.IntN(4) == 0, Append: r.IntN(4) == 0,
			}
			if r.IntN(2) == 0 {
				opts.Keep = 0
			}
			u, err := tree.Create(ctx, name(), opts)
			if err != nil {
				continue
			}
			_, _ = u.WriteAt(content(), int64(r.IntN(40)))
			running = append(running, u)
		case 4, 5:
			if len(running) > 0 {
				end(r.IntN(len(running)))
			}
		case 6:
			_ = tree.Mkdir(ctx, name())
		case 7:
			_ = tree.Remove(ctx, name())
		case 8:
			_ = tree.RemoveDir(ctx, name())
		case 9:
			_ = tree.Rename(ctx, name(), name(), r.IntN(2) == 0)
		case 10:
			n := int64(r.IntN(100))
			_ = tree.SetAttr(ctx, name(), storage.Attr{Size: &n})
		default:
			if r.IntN(2) == 0 {
				_ = tree.Link(ctx, name(), name())
			} else {
				_ = tree.Symlink(ctx, name(), name())
			}
		}
		if len(running) == 0 || r.IntN(10) == 0 {
			for len(running) > 0 {
				end(0)
			}
			got, err := tree.Usage(ctx)
			if err != nil || got != l.Usage {
				t.Fatalf("in the tree %+v (%v), in the ledger %+v", got, err, l.Usage)
			}
		}
	}
}
