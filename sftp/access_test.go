package sftp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	client "github.com/pkg/sftp"

	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/storage"
	disk "gateway/storage/local"
	"gateway/transfer"
)

// onDisk is a server whose accounts have folders of the system, quotas and
// bandwidth. alice's access is as given from her first login on.
func onDisk(t testing.TB, access session.Access) (*fixture, disk.Tree) {
	t.Helper()
	trees := disk.Tree{Base: t.TempDir()}
	shares := transfer.NewShares(transfer.SharesConfig{Open: func(o transfer.Owner, l storage.Ledger) (storage.FS, error) { return trees.Open(o.User, l) }})
	f := start(t, nil, func(cfg *Config) {
		cfg.Files = func(ctx context.Context, s *session.Session) (*transfer.Files, error) {
			return shares.Open(ctx, s, transfer.Limits{})
		}
	})
	f.core.Accounts.Allow("alice", access)
	return f, trees
}

func wantCode(t *testing.T, what string, err error, code uint32, text string) {
	t.Helper()
	var s *client.StatusError
	switch {
	case code == codeNoSuchFile && errors.Is(err, os.ErrNotExist), code == codePermissionDenied && errors.Is(err, os.ErrPermission):
	case errors.As(err, &s) && s.Code == code && strings.Contains(s.Error(), text):
	default:
		t.Errorf("%s: got %v, want status %d %q", what, err, code, text)
	}
}

func store(c *client.Client, name string, flags int, content string) error {
	file, err := c.OpenFile(name, flags)
	if err != nil {
		return err
	}
	_, err = file.Write([]byte(content))
	return errors.Join(err, file.Close())
}

// In an upload-only folder a name once written is out of reach, and a broken
// upload can be gone on with.
func TestDropBox(t *testing.T) {
	t.Parallel()
	access := session.Access{Rules: []session.PathRule{{Path: "/", May: session.MayList | session.MayRead}, {Path: "/in", May: session.MayDrop}}}
	f, trees := onDisk(t, access)
	tree, err := trees.Open("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := tree.Mkdir(t.Context(), "in"); err != nil {
		t.Fatal(err)
	}
	conn, c := f.alice(t)
	file, err := c.OpenFile("/in/a", os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err == nil {
		_, err = file.Write([]byte("hello "))
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close() // in the middle
	_, c = f.alice(t)
	var info os.FileInfo
	for range 1000 { // until the server has seen the end
		if info, err = c.Stat("/in/a"); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil || info.Size() != 6 {
		t.Fatalf("Stat of the interrupted upload: %v, %v", info, err)
	}
	file, err = c.OpenFile("/in/a", os.O_WRONLY|os.O_CREATE)
	if err == nil {
		_, err = file.WriteAt([]byte("world"), 6)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatalf("go on: %v", err)
	}
	for what, err := range map[string]error{
		"replace": store(c, "/in/a", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, "x"),
		"rename":  c.Rename("/in/a", "/in/b"),
		"over":    c.PosixRename("/in/a", "/in/b"),
		"remove":  c.Remove("/in/a"),
		"cut":     c.Truncate("/in/a", 0),
	} {
		wantCode(t, what, err, codePermissionDenied, "")
	}
	// Who makes nothing does not learn which names there are.
	for _, name := range []string{"/in/a", "/in/none"} {
		wantCode(t, "change "+name, store(c, name, os.O_WRONLY, "x"), codeNoSuchFile, "")
		wantCode(t, "append to "+name, store(c, name, os.O_WRONLY|os.O_APPEND, "x"), codeNoSuchFile, "")
		wantCode(t, "remove "+name, c.Remove(name), codePermissionDenied, "")
	}
	_, err = c.Open("/in/a")
	wantCode(t, "read", err, codePermissionDenied, "")
	_, err = c.ReadDir("/in")
	wantCode(t, "list", err, codePermissionDenied, "")
	_, err = c.Stat("/in/a")
	wantCode(t, "Stat", err, codeNoSuchFile, "")
	if info, err := c.Stat("/in"); err != nil || !info.IsDir() {
		t.Errorf("Stat of the box: %v, %v", info, err)
	}
	both, err := c.OpenFile("/in/c", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	_, err = both.Write([]byte("secret"))
	if err != nil {
		t.Error(err)
	}
	_, err = both.ReadAt(make([]byte, 6), 0)
	wantCode(t, "read back", err, codePermissionDenied, "")
	if err := both.Close(); err != nil {
		t.Error(err)
	}
	stored, err := tree.Open(t.Context(), "in/a")
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	if content, err := io.ReadAll(io.NewSectionReader(stored, 0, 100)); string(content) != "hello world" || err != nil {
		t.Errorf("in the box: %q, %v", content, err)
	}
}

// What does not fit is refused by its write and by CLOSE, and is gone; what was
// there stays.
func TestOverQuota(t *testing.T) {
	t.Parallel()
	access := session.FullAccess()
	access.Quota = session.Quota{Bytes: 10, Files: 2}
	f, trees := onDisk(t, access)
	_, c := f.alice(t)
	create := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if err := store(c, "/a", create, "1234567890"); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"another": store(c, "/b", create, "1"),
		"replace": store(c, "/a", create, "12345678901"),
		"append":  store(c, "/a", os.O_WRONLY|os.O_APPEND, "1"),
		"cut":     c.Truncate("/a", 11),
	} {
		wantCode(t, what, err, codeFailure, "Over quota")
	}
	if err := c.Mkdir("/d"); err != nil {
		t.Error(err)
	}
	wantCode(t, "mkdir", c.Mkdir("/e"), codeFailure, "Over quota")
	wantCode(t, "name", store(c, "/b", create, ""), codeFailure, "Over quota")
	if err := store(c, "/a", create, "abcdefghij"); err != nil {
		t.Errorf("replace: %v", err)
	}
	room, err := c.StatVFS("/")
	if err != nil || room.FreeSpace() != 0 || room.Ffree != 0 || room.Files != 2 {
		t.Errorf("statvfs: %+v, %v", room, err)
	}
	tree, err := trees.Open("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if u, err := tree.Usage(t.Context()); err != nil || u != (storage.Usage{Bytes: 10, Files: 2}) {
		t.Errorf("left %+v, %v", u, err)
	}
}

// Both directions go at the pace of the account, and answers that are due do not
// wait for those that are not.
func TestBandwidth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalk(t)
		k.tree = transfer.New(k.session, k.fs, transfer.Limits{OpenFiles: 4, Bandwidth: transfer.NewBandwidth(64 << 10)})
		content := strings.Repeat("x", 32<<10)
		began := time.Now()
		writes := [][]byte{send(3, 1, "f", openWrite|openCreate, 0)}
		for n := range 10 {
			writes = append(writes, send(6, 1, nth(1), int64(n*len(content)), content))
		}
		if got := codes(k.say(t, append(writes, send(4, 1, nth(1)))...)); got != "type 102"+strings.Repeat(" 0", 11) {
			t.Errorf("answered %s", got)
		}
		// 320 KiB, of which 16 KiB may come at once.
		if took, want := time.Since(began), 4750*time.Millisecond; took != want {
			t.Errorf("writing took %v, want %v", took, want)
		}
		began = time.Now()
		w := &timed{pipe: pipe{in: bytes.NewReader(bytes.Join([][]byte{
			send(1, 3), send(3, 1, "f", openRead, 0),
			send(5, 2, nth(1), int64(0), 1<<20), send(5, 3, nth(1), int64(1), 1<<20), send(5, 4, nth(1), int64(2), 1<<20),
		}, nil))}}
		f := newFiles(t.Context(), k.session, k.tree, &activity{}, k.pool, w)
		f.handles.next = counted()
		f.serve()
		// Each is cut to a quarter of a second's worth, and goes as soon as it may.
		if len(w.at) < 3 || w.at[len(w.at)-1].Sub(began) != 500*time.Millisecond || w.at[len(w.at)-2].Sub(began) > 250*time.Millisecond {
			t.Errorf("began at %v, answered at %v", began, w.at)
		}
	})
}

// timed notes when something is written.
type timed struct {
	pipe
	at []time.Time
}

func (w *timed) Write(p []byte) (int, error) {
	w.at = append(w.at, time.Now())
	return w.pipe.Write(p)
}

// A folder that was opened and not read is in the record too.
func TestUnreadFolderIsRecorded(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	core := k.core
	if got := codes(k.say(t, send(11, 1, "/"), send(4, 2, nth(1)))); got != "type 102 0" {
		t.Errorf("answered %s", got)
	}
	events := core.Record.Events(session.EventFile)
	if len(events) != 1 || events[0].Verb != session.List || events[0].Outcome != session.OutcomeFailed {
		t.Errorf("recorded %+v", events)
	}
}

// A rule that changes, or a permission that is taken, ends what is under way: READ
// and WRITE are decided with the OPEN, and end with the session.
func TestRulesThatChangeEndTransfers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(f *fixture){
		"rule": func(f *fixture) {
			f.core.Gate.SetPolicy(sessiontest.Rules(func(session.Request) session.Verdict { return session.Verdict{} }))
		},
		"account":    func(f *fixture) { f.core.Accounts.Disable("alice") },
		"permission": func(f *fixture) { f.core.Accounts.Allow("alice", session.Access{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, trees := onDisk(t, session.FullAccess())
			conn, c := f.alice(t)
			if err := store(c, "old", os.O_WRONLY|os.O_CREATE, "content"); err != nil {
				t.Fatal(err)
			}
			read, err := c.Open("old")
			if err != nil {
				t.Fatal(err)
			}
			write, err := c.Create("new")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := write.Write([]byte("half")); err != nil {
				t.Fatal(err)
			}
			change(f)
			if n := f.core.Gate.Redecide(t.Context()); n != 1 {
				t.Errorf("%d sessions ended, want 1", n)
			}
			if _, err := read.ReadAt(make([]byte, 1), 0); err == nil {
				t.Error("a file that is open can still be read")
			}
			if _, err := write.Write([]byte("x")); err == nil {
				t.Error("a file that is open can still be written")
			}
			_ = conn.Wait()
			f.connection(t) // ended: what was open is closed
			if _, err := os.Stat(filepath.Join(trees.Base, "alice", "new")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the upload is shown: %v", err)
			}
		})
	}
}
