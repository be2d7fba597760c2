package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/session"
)

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func config(dir string) Config { return Config{Dir: dir, Node: "n1", Log: quiet()} }

// open opens a record and closes it at the end of the test.
func open(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func login(user string) session.Event {
	return session.Event{Event: session.EventLogin, Outcome: session.OutcomeGranted, User: user, Protocol: session.SFTP}
}

// verified checks the record in dir and returns the report.
func verified(t testing.TB, dir string) Report {
	t.Helper()
	r, err := Verify(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Fatalf("record is not whole: %v", r.Faults)
	}
	return r
}

// stored returns every event of the record.
func stored(t testing.TB, dir string, f Filter) []session.Event {
	t.Helper()
	var es []session.Event
	for rec, err := range NewReader(dir).Query(context.Background(), f) {
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, rec.Event)
	}
	return es
}

func TestCommitIsStoredWhenItReturns(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "audit")
	l := open(t, config(dir))
	if err := l.Commit(t.Context(), login("alice")); err != nil {
		t.Fatal(err)
	}
	got := stored(t, dir, Filter{Event: session.EventLogin})
	if len(got) != 1 || got[0].User != "alice" || got[0].Seq != 2 || got[0].Node != "n1" {
		t.Fatalf("got %+v, want alice with seq 2 of n1", got)
	}
	if d := time.Since(got[0].Time); d < 0 || d > time.Minute {
		t.Errorf("got time %v ago, want now", d)
	}
	for name, want := range map[string]os.FileMode{".": 0o700, segmentName(1): 0o600, lockName: 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("mode of %s: got %v, want %v", name, info.Mode().Perm(), want)
		}
	}
}

func TestCloseWritesStopAndCheckpoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, config(dir))
	if err := l.Append(login("alice")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second close: got %v, want nil", err)
	}
	if err := l.Append(login("bob")); !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, session.ErrClosed) {
		t.Errorf("append after close: got %v, want unavailable and closed", err)
	}
	if err := l.Commit(t.Context(), login("bob")); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("commit after close: got %v, want unavailable", err)
	}
	var verbs []string
	for _, e := range stored(t, dir, Filter{}) {
		verbs = append(verbs, e.Event+" "+string(e.Verb))
	}
	if got, want := strings.Join(verbs, ", "), "audit start, login , audit stop, audit checkpoint"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r := verified(t, dir)
	if r.Records != 4 || r.First != 1 || r.Last != 4 || r.Checkpoints != 1 || !strings.HasPrefix(r.Proven, "3:") {
		t.Errorf("got %+v", r)
	}
	l = open(t, config(dir))
	start := stored(t, dir, Filter{})[4]
	if start.Verb != session.Start || start.Hash != r.Proven {
		t.Errorf("got %+v, want a start that quotes %s", start, r.Proven)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
}

func TestManyCommitsShareASync(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := &faulty{folder: folder(dir), slow: 2 * time.Millisecond}
	l, err := openOn(t.Context(), config(dir), d)
	if err != nil {
		t.Fatal(err)
	}
	const workers, each = 64, 10
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for k := range each {
				if err := l.Commit(t.Context(), login(fmt.Sprint(i, ".", k))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if syncs := d.count("sync"); syncs > workers*each/4 {
		t.Errorf("got %d syncs for %d commits, want far fewer", syncs, workers*each)
	}
	if got := len(stored(t, dir, Filter{Event: "login"})); got != workers*each {
		t.Errorf("got %d logins, want %d", got, workers*each)
	}
	verified(t, dir)
}

func TestSegmentsRoll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize = 4096
	l := open(t, cfg)
	const n = 200
	for i := range n {
		if err := l.Commit(t.Context(), login(fmt.Sprintf("user%03d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r := verified(t, dir)
	if r.Segments < 5 || r.Checkpoints < r.Segments {
		t.Errorf("got %d segments with %d checkpoints, want several, each but the first begun by one", r.Segments, r.Checkpoints)
	}
	firsts, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range firsts {
		info, err := os.Stat(filepath.Join(dir, segmentName(first)))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > cfg.SegmentSize+512 {
			t.Errorf("%s: got %d bytes, want about %d at most", segmentName(first), info.Size(), cfg.SegmentSize)
		}
	}
	for i, e := range stored(t, dir, Filter{Event: "login"}) {
		if want := fmt.Sprintf("user%03d", i); e.User != want {
			t.Fatalf("got %s, want %s", e.User, want)
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, config(dir))
	if _, err := Open(t.Context(), config(dir)); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, config(dir))
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"no folder": {}, "negative": {Dir: t.TempDir(), SegmentSize: -1}, "file": {Dir: file}, "below a file": {Dir: filepath.Join(file, "audit")},
	} {
		if l, err := Open(t.Context(), cfg); err == nil {
			_ = l.Close()
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestEventsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, config(dir))
	if err := l.Append(session.Event{}); err == nil {
		t.Error("no kind: got no error")
	}
	long := login(strings.Repeat("x", maxLine))
	if err := l.Commit(t.Context(), long); err == nil {
		t.Error("too long: got no error")
	}
	if err := l.Append(login("alice")); err != nil {
		t.Error(err)
	}
	if err := l.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	if r := verified(t, dir); r.Records != 2 {
		t.Errorf("got %d records, want start and alice", r.Records)
	}
}

func TestTornEndIsCutAndRecorded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, config(dir))
	if err := l.Commit(t.Context(), login("alice")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, segmentName(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := `{"seq":5,"time":"2026-`
	if err := os.WriteFile(path, append(whole, torn...), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, dir); len(r.Notes) != 1 || r.Gaps != 0 {
		t.Errorf("before the next start: got %+v, want a note", r)
	}
	l = open(t, config(dir))
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(after, whole) || bytes.Contains(after, []byte(torn+"{")) {
		t.Errorf("got %s", after)
	}
	es := stored(t, dir, Filter{})
	if gap := es[4]; gap.Verb != session.Gap || gap.Bytes != int64(len(torn)) || gap.Reason == "" {
		t.Errorf("got %+v, want a gap of %d bytes", gap, len(torn))
	}
	if r := verified(t, dir); r.Gaps != 1 || len(r.Notes) != 0 {
		t.Errorf("got %+v, want one gap", r)
	}
	_ = l.Close()
}

func TestDamageIsKeptAsEvidence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, config(dir))
	for range 5 {
		if err := l.Commit(t.Context(), login("alice")); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, segmentName(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Replace(whole, []byte(`{"seq":3,`), []byte(`{"s\x00q":3,`), 1)
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, config(dir))
	if err := l.Commit(t.Context(), login("bob")); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, damaged) {
		t.Errorf("the damaged segment was changed (%v)", err)
	}
	r, err := Verify(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.OK() || r.Faults[0].Line != 3 || r.Faults[0].Seq != 3 || r.Faults[0].Segment != segmentName(1) {
		t.Errorf("got %+v, want a fault in line 3", r.Faults)
	}
	if r.Segments != 2 || r.Gaps != 1 {
		t.Errorf("got %d segments and %d gaps, want 2 and 1", r.Segments, r.Gaps)
	}
}
