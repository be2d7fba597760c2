package transfer_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// quota is full access within so many bytes and names.
func quota(bytes, files int64) session.Access {
	a := session.FullAccess()
	a.Quota = session.Quota{Bytes: bytes, Files: files}
	return a
}

// shared is full access within quotas of the group staff.
func shared(bytes, files int64) session.Access {
	a := session.FullAccess()
	a.Shared = []session.GroupQuota{{Group: "staff", Quota: session.Quota{Bytes: bytes, Files: files}}}
	return a
}

// onDisk is what there is of user, by a walk.
func (h *house) onDisk(t testing.TB, user string) storage.Usage {
	t.Helper()
	tree, err := h.trees.Open(user, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	u, err := tree.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (h *house) wantOnDisk(t testing.TB, user string, bytes, files int64) {
	t.Helper()
	if got, want := h.onDisk(t, user), (storage.Usage{Bytes: bytes, Files: files}); got != want {
		t.Errorf("%s has %+v, want %+v", user, got, want)
	}
}

// The last byte fits, one more does not, and leaves nothing behind.
func TestQuotaToTheByte(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	f := h.enter(t, "alice", quota(10, 0), transfer.Limits{})
	wantErr(t, "one too many", put(t, f, "/a", "12345678901"), session.ErrQuota)
	h.wantOnDisk(t, "alice", 0, 0)
	wantErr(t, "all that fits", put(t, f, "/a", "1234567890"), nil)
	wantErr(t, "one more", put(t, f, "/b", "1"), session.ErrQuota)
	wantErr(t, "nothing more", put(t, f, "/c", ""), nil)
	wantErr(t, "append", appendTo(t, f, "/a", "1"), session.ErrQuota)
	size := int64(11)
	wantErr(t, "lengthen", f.SetAttr(t.Context(), "/a", storage.Attr{Size: &size}), session.ErrQuota)
	w, err := f.Create(t.Context(), "/d", storage.CreateOptions{})
	wantErr(t, "Create", err, nil)
	size = 1
	wantErr(t, "lengthen an upload", w.SetAttr(storage.Attr{Size: &size}), session.ErrQuota)
	_, err = w.WriteAt([]byte("x"), 1<<40)
	wantErr(t, "a hole", err, session.ErrQuota)
	_ = w.Abort(t.Context(), io.EOF, true)
	if got, err := get(t, f, "/a"); got != "1234567890" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	h.wantOnDisk(t, "alice", 10, 2)
}

// Cutting and removing give back.
func TestQuotaIsGivenBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	f := h.enter(t, "alice", quota(10, 0), transfer.Limits{})
	for name, back := range map[string]func() error{
		"remove": func() error { return f.Remove(ctx, "/a") },
		"cut": func() error {
			return errors.Join(f.SetAttr(ctx, "/a", storage.Attr{Size: new(int64)}), put(t, f, "/a", ""))
		},
		"rename over": func() error {
			return errors.Join(put(t, f, "/b", ""), f.Rename(ctx, "/b", "/a", true))
		},
		"replace": func() error { return put(t, f, "/a", "") },
	} {
		wantErr(t, name+": put", put(t, f, "/a", "1234567890"), nil)
		wantErr(t, name+": put more", put(t, f, "/more", "1"), session.ErrQuota)
		wantErr(t, name, back(), nil)
	}
	interrupt(t, f, "/half", "12345")
	wantErr(t, "beside an interrupted upload", put(t, f, "/a", "123456"), session.ErrQuota)
	wantErr(t, "remove it", f.Remove(ctx, "/half"), nil)
	wantErr(t, "without it", put(t, f, "/a", "123456"), nil)
}

// Replacing a file needs no room for both, and a refused one leaves the old.
func TestReplacingWithinQuota(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	f := h.enter(t, "alice", quota(10, 1), transfer.Limits{})
	wantErr(t, "put", put(t, f, "/a", "1234567890"), nil)
	wantErr(t, "replace", put(t, f, "/a", "abcdefghij"), nil)
	wantErr(t, "replace by more", put(t, f, "/a", "abcdefghijk"), session.ErrQuota)
	if got, err := get(t, f, "/a"); got != "abcdefghij" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	wantErr(t, "append nothing", appendTo(t, f, "/a", ""), nil)
	wantErr(t, "replace by less", put(t, f, "/a", "123"), nil)
	wantErr(t, "append", appendTo(t, f, "/a", "4567890"), nil)
	wantErr(t, "append more", appendTo(t, f, "/a", "1"), session.ErrQuota)
	h.wantOnDisk(t, "alice", 10, 1)
	// The room of a file is given to one upload at a time.
	first, err1 := f.Create(t.Context(), "/a", storage.CreateOptions{})
	_, err2 := f.Create(t.Context(), "/a", storage.CreateOptions{})
	wantErr(t, "first", err1, nil)
	wantErr(t, "second name", err2, session.ErrQuota)
	wantErr(t, "first", settle(t, first, nil, "1234567890", 0), nil)
	h.wantOnDisk(t, "alice", 10, 1)
}

// The room of a file that is going to be replaced is gone when the file is.
func TestReplacedFileThatGoes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	f := h.enter(t, "alice", quota(10, 0), transfer.Limits{})
	wantErr(t, "put", put(t, f, "/a", "1234567890"), nil)
	w, err := f.Create(t.Context(), "/a", storage.CreateOptions{})
	wantErr(t, "Create", err, nil)
	_, err = w.WriteAt([]byte("abcdefghij"), 0)
	wantErr(t, "WriteAt", err, nil)
	wantErr(t, "Remove", f.Remove(t.Context(), "/a"), nil)
	wantErr(t, "put beside it", put(t, f, "/b", "1"), session.ErrQuota)
	wantErr(t, "Commit", w.Commit(t.Context()), nil)
	h.wantOnDisk(t, "alice", 10, 1)
}

// Uploads of several sessions cannot go beyond the quota together, and what one
// of them gives up another may have.
func TestUploadsTogether(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	one := h.enter(t, "alice", quota(10, 0), transfer.Limits{})
	two := h.enter(t, "alice", quota(10, 0), transfer.Limits{})
	a, err1 := one.Create(t.Context(), "/a", storage.CreateOptions{})
	b, err2 := two.Create(t.Context(), "/b", storage.CreateOptions{})
	wantErr(t, "Create", errors.Join(err1, err2), nil)
	_, err := a.WriteAt([]byte("123456"), 0)
	wantErr(t, "a", err, nil)
	_, err = b.WriteAt([]byte("12345"), 0)
	wantErr(t, "b", err, session.ErrQuota)
	_, err = b.WriteAt([]byte("1234"), 0)
	wantErr(t, "b within", err, nil)
	_ = a.Abort(t.Context(), io.EOF, false)
	_, err = b.WriteAt([]byte("567890"), 4)
	wantErr(t, "b after a", err, nil)
	wantErr(t, "Commit", b.Commit(t.Context()), nil)
	h.wantOnDisk(t, "alice", 10, 1)
}

// However many go on at once, what is on the disk is never too much, and the
// numbers are right in the end.
func TestQuotaUnderFire(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const most = 5000
	h.members["staff"] = []string{"alice", "bob"}
	var wg sync.WaitGroup
	for _, user := range []string{"alice", "bob"} {
		for n := range 3 {
			f := h.enter(t, user, shared(most, 0), transfer.Limits{})
			wg.Go(func() {
				for i := range 60 {
					name := fmt.Sprintf("/%d", (i*7+n)%5)
					_ = put(t, f, name, strings.Repeat("x", (i*311+n*97)%1500))
					switch i % 5 {
					case 1:
						_ = f.Remove(t.Context(), fmt.Sprintf("/%d", i%5))
					case 2:
						_ = f.Rename(t.Context(), name, fmt.Sprintf("/%d", i%3), true)
					case 3:
						_ = appendTo(t, f, name, strings.Repeat("y", 100))
					}
				}
			})
		}
	}
	wg.Wait()
	alice, bob := h.onDisk(t, "alice"), h.onDisk(t, "bob")
	total := alice.Bytes + bob.Bytes
	if total > most || total == 0 {
		t.Errorf("%d bytes on disk, want at most %d", total, most)
	}
	f := h.enter(t, "alice", shared(most, 0), transfer.Limits{})
	space, err := f.Space(t.Context())
	if err != nil || int64(space.Available) != most-total {
		t.Errorf("%d bytes are left (%v), want %d", space.Available, err, most-total)
	}
}

// What the members of a group have counts for each of them, whoever came first.
func TestGroupQuota(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.members["staff"] = []string{"alice", "bob", "carol"}
	carol := h.enter(t, "carol", session.FullAccess(), transfer.Limits{})
	wantErr(t, "carol", put(t, carol, "/a", "12345"), nil)
	alice := h.enter(t, "alice", shared(10, 0), transfer.Limits{})
	bob := h.enter(t, "bob", shared(10, 0), transfer.Limits{})
	wantErr(t, "alice", put(t, alice, "/a", "123"), nil)
	wantErr(t, "bob beyond", put(t, bob, "/a", "123"), session.ErrQuota)
	wantErr(t, "bob", put(t, bob, "/a", "12"), nil)
	wantErr(t, "alice beyond", put(t, alice, "/b", "1"), session.ErrQuota)
	wantErr(t, "bob gives back", bob.Remove(t.Context(), "/a"), nil)
	wantErr(t, "alice", put(t, alice, "/b", "12"), nil)
	// Who leaves the group takes along what they have.
	h.members["staff"] = []string{"alice", "bob"}
	bob = h.enter(t, "bob", shared(10, 0), transfer.Limits{})
	wantErr(t, "bob without carol", put(t, bob, "/a", "12345"), nil)
	wantErr(t, "bob beyond", put(t, bob, "/b", "1"), session.ErrQuota)
}

func TestFilesQuota(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	f := h.enter(t, "alice", quota(0, 3), transfer.Limits{})
	wantErr(t, "Mkdir", f.Mkdir(ctx, "/d"), nil)
	wantErr(t, "put", put(t, f, "/d/a", "content"), nil)
	wantErr(t, "Symlink", f.Symlink(ctx, "d/a", "/l"), nil)
	wantErr(t, "a file more", put(t, f, "/b", ""), session.ErrQuota)
	wantErr(t, "a folder more", f.Mkdir(ctx, "/e"), session.ErrQuota)
	wantErr(t, "a link more", f.Link(ctx, "/d/a", "/b"), session.ErrQuota)
	wantErr(t, "a symbolic link more", f.Symlink(ctx, "d", "/m"), session.ErrQuota)
	wantErr(t, "replace", put(t, f, "/d/a", "other"), nil)
	wantErr(t, "rename", f.Rename(ctx, "/d/a", "/a", false), nil)
	space, err := f.Space(ctx)
	if err != nil || space.Files != 3 || space.FilesFree != 0 {
		t.Errorf("Space: %+v, %v", space, err)
	}
	wantErr(t, "Remove", f.Remove(ctx, "/l"), nil)
	wantErr(t, "a file more", put(t, f, "/b", ""), nil)
	h.wantOnDisk(t, "alice", 5, 3)
}

// Allow gives what fits, then says that nothing does; to have sent all is no
// fault then.
func TestAllowWithinQuota(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	f := h.enter(t, "alice", quota(10, 0), transfer.Limits{})
	interrupt(t, f, "/a", "123")
	w, err := f.Create(t.Context(), "/a", storage.CreateOptions{Keep: 2})
	wantErr(t, "Create", err, nil)
	n, err := w.Allow(t.Context(), 100)
	if n != 8 || err != nil {
		t.Errorf("Allow: got %d, %v; want 8", n, err)
	}
	file := w.OS()
	_, err = file.WriteString("34567890")
	wantErr(t, "write by the system", err, nil)
	w.Count(8)
	if n, err = w.Allow(t.Context(), 100); n != 0 || !errors.Is(err, session.ErrQuota) {
		t.Errorf("Allow: got %d, %v; want %v", n, err, session.ErrQuota)
	}
	wantErr(t, "beside it", put(t, f, "/b", "1"), session.ErrQuota)
	wantErr(t, "Commit", w.Commit(t.Context()), nil)
	if got, err := get(t, f, "/a"); got != "1234567890" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	w, err = f.Create(t.Context(), "/c", storage.CreateOptions{})
	wantErr(t, "Create", err, nil)
	if n, err := w.Allow(t.Context(), 1); n != 0 || !errors.Is(err, session.ErrQuota) {
		t.Errorf("Allow: got %d, %v", n, err)
	}
	_ = w.Abort(t.Context(), session.ErrQuota, true)
	h.wantOnDisk(t, "alice", 10, 1)
}

// What an interrupted upload left counts when it is counted anew, as after a
// crash; and what others did to the files is found within time.
func TestRecount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		f := h.enter(t, "alice", session.FullAccess(), transfer.Limits{})
		interrupt(t, f, "/half", "12345")
		wantErr(t, "Close", f.Close(), nil)
		f = h.enter(t, "alice", quota(10, 0), transfer.Limits{})
		wantErr(t, "beside the half", put(t, f, "/a", "123456"), session.ErrQuota)
		wantErr(t, "beside the half", put(t, f, "/a", "12345"), nil)
		// Somebody else makes room.
		if err := os.Remove(filepath.Join(h.trees.Base, "alice", "a")); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "not counted yet", put(t, f, "/b", "12345"), session.ErrQuota)
		wantErr(t, "Close", f.Close(), nil)
		f = h.enter(t, "alice", quota(10, 0), transfer.Limits{})
		wantErr(t, "counted just now", put(t, f, "/b", "12345"), session.ErrQuota)
		time.Sleep(2 * time.Hour)
		second := h.enter(t, "alice", quota(10, 0), transfer.Limits{})
		wantErr(t, "a session is open", put(t, second, "/b", "12345"), session.ErrQuota)
		wantErr(t, "Close", errors.Join(f.Close(), second.Close()), nil)
		f = h.enter(t, "alice", quota(10, 0), transfer.Limits{})
		wantErr(t, "counted anew", put(t, f, "/b", "12345"), nil)
		// A sweep is told as well.
		time.Sleep(1000 * time.Hour)
		parts, _ := filepath.Glob(filepath.Join(h.trees.Base, "alice", ".gateway-part-*"))
		for _, part := range parts {
			old := time.Now().Add(-1000 * time.Hour)
			wantErr(t, "Chtimes", os.Chtimes(part, old, old), nil)
		}
		if n, err := h.trees.Sweep(t.Context()); n != 1 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
		wantErr(t, "after the sweep", put(t, f, "/a", "12345"), nil)
		wantErr(t, "and no more", put(t, f, "/c", "1"), session.ErrQuota)
	})
}

// Accounts without a quota are not counted.
func TestNoQuotaCountsNothing(t *testing.T) {
	t.Parallel()
	counted := 0
	h := newHouse(t)
	h.shares = transfer.NewShares(transfer.SharesConfig{Open: func(o transfer.Owner, l storage.Ledger) (storage.FS, error) {
		if l != nil {
			counted++
		}
		return h.trees.Open(o.User, l)
	}})
	f := h.enter(t, "alice", session.FullAccess(), transfer.Limits{})
	wantErr(t, "put", put(t, f, "/a", "content"), nil)
	if counted != 0 {
		t.Errorf("%d trees with a ledger", counted)
	}
	w, err := f.Create(t.Context(), "/b", storage.CreateOptions{})
	wantErr(t, "Create", err, nil)
	if n, err := w.Allow(t.Context(), 1<<40); n != 1<<40 || err != nil {
		t.Errorf("Allow: got %d, %v", n, err)
	}
	_ = w.Abort(t.Context(), nil, false)
}
