package queue

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gateway/store"
)

// crashDir is set for the child process of TestKill.
const crashDir = "QUEUE_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		acceptForever(dir)
	}
	os.Exit(m.Run())
}

// acceptForever accepts mail from many goroutines and prints each id and the
// hash of its content after Commit returned nil.
func acceptForever(dir string) {
	ctx := context.Background() // until the kill
	db, err := store.Open(ctx, filepath.Join(dir, "gateway.db"))
	if err != nil {
		panic(err)
	}
	q, err := Open(ctx, db, Config{Dir: filepath.Join(dir, "mail"), Hostname: "gw.example.com", Recorder: newRecord(), MaildirDir: dir,
		DefaultRoute: Route{scheme: schemeMaildir, path: "x"}, MinFree: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	var out sync.Mutex
	for g := range 8 {
		go func() {
			for n := 0; ; n++ {
				size := 2000
				if n%4 == 3 {
					size = maxInline + 50000 + g
				}
				line := fmt.Sprintf("message %d of %d\r\n", n, g)
				content := strings.Repeat(line, size/len(line)+1)
				d := q.Draft()
				if _, err := io.WriteString(d, content); err != nil {
					panic(err)
				}
				id, err := d.Commit(ctx, envelope("b@example.net", "c@example.net"))
				if err != nil {
					panic(err)
				}
				sum := sha256.Sum256([]byte(content))
				out.Lock()
				fmt.Printf("%s %s\n", id, hex.EncodeToString(sum[:]))
				out.Unlock()
			}
		}()
	}
	select {}
}

// Promise 5: what was acknowledged is there after a kill -9 at any moment, byte
// for byte, and the leftovers of what was not are cleared away.
func TestKill(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Skipf("no executable to run again: %v", err)
	}
	dir := t.TempDir()
	acknowledged := make(map[string]string)
	for round := range 3 {
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		for n := 0; lines.Scan(); n++ {
			if id, sum, whole := strings.Cut(lines.Text(), " "); whole && len(sum) == 2*sha256.Size {
				acknowledged[id] = sum
			}
			if n == 60+20*round {
				_ = cmd.Process.Kill() // what was printed before is still read
			}
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("the child ended with %v: %s", err, stderr.String())
		}
	}
	checkKept(t, dir, acknowledged)
}

func checkKept(t *testing.T, dir string, acknowledged map[string]string) {
	t.Helper()
	if len(acknowledged) < 180 {
		t.Fatalf("only %d messages were acknowledged", len(acknowledged))
	}
	q, err := Open(t.Context(), openStore(t, dir), Config{Dir: filepath.Join(dir, "mail"), Hostname: "gw.example.com", Recorder: newRecord()})
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for id, want := range acknowledged {
		m, err := q.load(t.Context(), id)
		if err != nil {
			t.Errorf("acknowledged and lost: %v", err)
			continue
		}
		body, err := q.open(t.Context(), m)
		if err != nil {
			t.Errorf("content lost: %v", err)
			continue
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, body); err != nil {
			t.Error(err)
		}
		_ = body.Close()
		if got := hex.EncodeToString(hash.Sum(nil)); got != want || len(m.recipients) != 2 {
			t.Errorf("%s: got content %s for %d recipients, want %s for 2", id, got, len(m.recipients), want)
		}
		if m.inFile {
			files++
		}
	}
	if files == 0 {
		t.Error("no large content among them")
	}
	entries, err := os.ReadDir(filepath.Join(dir, "mail"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if found, err := q.exists(t.Context(), e.Name()); err != nil || !found {
			t.Errorf("leftover %s, %v", e.Name(), err)
		}
	}
}

func TestSweepTakesLeftoversOnly(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", nil)
	kept := put(t, f.Queue, strings.Repeat(mail, 3000), envelope("b@x"))
	folder := filepath.Join(f.dir, "mail")
	for _, name := range []string{newID(f.time()), draftPrefix + newID(f.time()), "README"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := []string{kept, "README"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDiscardLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", nil)
	d := f.Draft()
	if _, err := d.Write(make([]byte, maxInline+1)); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(f.dir, "mail")
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Fatalf("got %v, %v; want one draft", entries, err)
	}
	d.Discard()
	d.Discard()
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Errorf("got %v, %v; want nothing", entries, err)
	}
	if _, err := d.Commit(t.Context(), envelope("b@x")); err == nil {
		t.Error("Commit after Discard: want an error")
	}
	f.waitList(t, 0)
}

// A content whose envelope was not taken does not stay.
func TestWithdrawnContent(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := f.Draft()
	if _, err := d.Write(make([]byte, maxInline+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Commit(ctx, envelope("b@x")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if entries, err := os.ReadDir(filepath.Join(f.dir, "mail")); err != nil || len(entries) != 0 {
		t.Errorf("got %v, %v; want nothing", entries, err)
	}
	f.waitList(t, 0)
}

// Two messages never share an id: the second is refused and the first stays.
func TestSameID(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", nil)
	first := put(t, f.Queue, mail, envelope("b@x"))
	d := f.Draft()
	d.id = first
	if _, err := d.Commit(t.Context(), envelope("c@x")); !store.Conflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	if got, err := f.Show(t.Context(), first); err != nil || got.Recipients[0].Address != "b@x" || got.Header == "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestIDsSortByTime(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", nil)
	last := ""
	for range 100 {
		id := f.Draft().ID()
		if !validID(id) || id <= last {
			t.Fatalf("got %q after %q", id, last)
		}
		last = id
		f.advance(1e6)
	}
	for _, bad := range []string{"", "x", "../../../etc/pass", strings.Repeat("A", idLength), strings.Repeat("i", idLength)} {
		if validID(bad) {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}
