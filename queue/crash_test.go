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

	"gateway/queue/spool"
)

// crashDir is set for the child process of TestKill.
const crashDir = "QUEUE_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		acceptForever(dir)
	}
	os.Exit(m.Run())
}

// crashConfig has small segments, so that crashes hit their ends too.
func crashConfig(dir string) Config {
	return Config{Dir: filepath.Join(dir, "mail"), Hostname: "gw.example.com", Recorder: newRecord(), MaildirDir: dir,
		DefaultRoute: Route{scheme: schemeMaildir, path: "x"}, MinFree: 1, SegmentSize: 256 << 10, Log: slog.New(slog.DiscardHandler)}
}

// crashConnections is how many accept at once.
const crashConnections = 20

// acceptForever accepts mail from many goroutines and prints each id and the
// hash of its content after Commit returned nil. Some messages it holds, and some it
// removes, which it prints as well.
func acceptForever(dir string) {
	ctx := context.Background() // until the kill
	q, err := Open(ctx, crashConfig(dir))
	if err != nil {
		panic(err)
	}
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	for g := range crashConnections {
		go func() {
			for n := 0; ; n++ {
				id, sum, err := acceptOne(ctx, q, g, n)
				if err != nil {
					panic(err)
				}
				say("%s %s", id, sum)
				switch n % 3 {
				case 0:
					say("removing %s", id)
					err = q.Remove(ctx, id)
					say("removed %s", id)
				case 1:
					err = q.Hold(ctx, id)
					say("held %s", id)
				}
				if err != nil {
					panic(err)
				}
			}
		}()
	}
	select {}
}

func acceptOne(ctx context.Context, q *Queue, g, n int) (id, sum string, err error) {
	size := 2000
	if n%8 == 7 {
		size = maxInline + 50000 + g
	}
	line := fmt.Sprintf("message %d of %d\r\n", n, g)
	content := strings.Repeat(line, size/len(line)+1)
	d := q.Draft()
	if _, err := io.WriteString(d, content); err != nil {
		return "", "", err
	}
	e := sends("b@example.net", "c@example.net")
	e.Header = "X-Test: yes\r\n"
	if id, err = d.Commit(ctx, e); err != nil {
		return "", "", err
	}
	hash := sha256.Sum256([]byte(e.Header + content))
	return id, hex.EncodeToString(hash[:]), nil
}

// acknowledged is what a child said before it was killed.
type acknowledged struct {
	sums                    map[string]string // of the contents, by id
	removing, removed, held map[string]bool
}

// Promise 5: what was acknowledged is there after a kill -9 at any moment, byte
// for byte and in its state, what was removed does not come back, and the leftovers
// of what was not acknowledged are cleared away.
func TestKill(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Skipf("no executable to run again: %v", err)
	}
	dir := t.TempDir()
	said := acknowledged{make(map[string]string), make(map[string]bool), make(map[string]bool), make(map[string]bool)}
	for round := range 4 {
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
		accepted := 0
		for lines.Scan() {
			if said.add(lines.Text()) {
				accepted++
			}
			if accepted == 200+17*round {
				_ = cmd.Process.Kill() // what was printed before is still read
			}
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("the child ended with %v: %s", err, stderr.String())
		}
		said.check(t, dir)
	}
}

// add takes a line of the child, and reports whether it was about a new message.
func (a acknowledged) add(line string) bool {
	word, rest, whole := strings.Cut(line, " ")
	switch {
	case !whole:
	case word == "removing":
		a.removing[rest] = true
	case word == "removed":
		a.removed[rest] = true
	case word == "held":
		a.held[rest] = true
	case len(rest) == 2*sha256.Size:
		a.sums[word] = rest
		return true
	}
	return false
}

func (a acknowledged) check(t *testing.T, dir string) {
	t.Helper()
	if len(a.sums) < 200 {
		t.Fatalf("only %d messages were acknowledged", len(a.sums))
	}
	q, err := Open(t.Context(), crashConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for id, want := range a.sums {
		e, err := q.find(id)
		switch {
		case err != nil && a.removing[id]:
			continue
		case err != nil:
			t.Errorf("acknowledged and lost: %v", err)
			continue
		case a.removed[id]:
			t.Errorf("%s was removed and is back", id)
			continue
		}
		m, err := q.load(e)
		if err != nil || len(m.envelope.To) != 2 || a.held[id] && !m.Held {
			t.Errorf("%s: got %+v, %v", id, m, err)
			continue
		}
		body, err := q.open(m)
		if err != nil {
			t.Errorf("content lost: %v", err)
			continue
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, body); err != nil {
			t.Error(err)
		}
		_ = body.Close()
		if got := hex.EncodeToString(hash.Sum(nil)); got != want {
			t.Errorf("%s: got content %s, want %s", id, got, want)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "mail"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".spool" {
			continue
		}
		if _, err := q.find(e.Name()); err != nil {
			t.Errorf("leftover %s", e.Name())
		}
	}
}

func TestDiscardLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", nil)
	d := f.Draft()
	if _, err := d.Write(make([]byte, maxInline+1)); err != nil {
		t.Fatal(err)
	}
	if files := f.files(t); len(files) != 1 {
		t.Fatalf("got %v; want one draft", files)
	}
	d.Discard()
	d.Discard()
	if files := f.files(t); len(files) != 0 {
		t.Errorf("got %v; want nothing", files)
	}
	if _, err := d.Commit(t.Context(), sends("b@x")); err == nil {
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
	if _, err := d.Commit(ctx, sends("b@x")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if files := f.files(t); len(files) != 0 {
		t.Errorf("got %v; want nothing", files)
	}
	f.waitList(t, 0)
}

// Two messages never share an id: the second is refused and the first stays.
func TestSameID(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://inbox", nil)
	first := put(t, f.Queue, mail, sends("b@x"))
	d := f.Draft()
	d.id, _ = spool.ParseID(first)
	if _, err := d.Commit(t.Context(), sends("c@x")); !errors.Is(err, spool.ErrExists) {
		t.Errorf("got %v, want %v", err, spool.ErrExists)
	}
	if got, err := f.Show(t.Context(), first); err != nil || got.Recipients[0].Address != "b@x" || got.Header == "" {
		t.Errorf("got %+v, %v", got, err)
	}
}
