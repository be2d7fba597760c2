package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

// faulty is the real disk with faults that a test switches on and off.
type faulty struct {
	folder
	slow time.Duration // each sync takes so long

	mu     sync.Mutex
	counts map[string]int
	// fail is asked before each operation; short is how much of a failing write
	// reaches the file first.
	fail  func(op string) error
	short int
}

func (d *faulty) set(fail func(op string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = fail
}

func (d *faulty) count(op string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[op]
}

func (d *faulty) check(op string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = make(map[string]int)
	}
	d.counts[op]++
	if d.fail == nil {
		return nil
	}
	return d.fail(op)
}

func (d *faulty) create(name string) (file, error) {
	if err := d.check("create"); err != nil {
		return nil, err
	}
	f, err := d.folder.create(name)
	return faultyFile{f, d}, err
}

func (d *faulty) open(name string) (file, error) {
	if err := d.check("open"); err != nil {
		return nil, err
	}
	f, err := d.folder.open(name)
	return faultyFile{f, d}, err
}

func (d *faulty) sync() error {
	if err := d.check("syncdir"); err != nil {
		return err
	}
	return d.folder.sync()
}

type faultyFile struct {
	file
	d *faulty
}

func (f faultyFile) WriteAt(b []byte, offset int64) (int, error) {
	if err := f.d.check("write"); err != nil {
		n, _ := f.file.WriteAt(b[:min(f.d.short, len(b))], offset)
		return n, err
	}
	return f.file.WriteAt(b, offset)
}

func (f faultyFile) Truncate(size int64) error {
	if err := f.d.check("truncate"); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

func (f faultyFile) datasync() error {
	time.Sleep(f.d.slow)
	if err := f.d.check("sync"); err != nil {
		return err
	}
	return f.file.datasync()
}

func (f faultyFile) allocate(size int64) error {
	if err := f.d.check("allocate"); err != nil {
		return err
	}
	return f.file.allocate(size)
}

// failOps makes a fault of the operations named.
func failOps(err error, ops ...string) func(string) error {
	return func(op string) error {
		for _, o := range ops {
			if o == op {
				return &os.PathError{Op: op, Path: "segment", Err: err}
			}
		}
		return nil
	}
}

func TestFailingDiskRefusesAndRecovers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		ops   []string
		short int
	}{
		"full":                   {syscall.ENOSPC, []string{"write"}, 0},
		"full in mid-line":       {syscall.ENOSPC, []string{"write"}, 40},
		"full after whole lines": {syscall.ENOSPC, []string{"write"}, 1 << 20},
		"input/output error":     {syscall.EIO, []string{"write"}, 7},
		"sync":                   {syscall.EIO, []string{"sync"}, 0},
		"sync and truncate":      {syscall.EIO, []string{"sync", "truncate"}, 0},
		"everything":             {syscall.EIO, []string{"write", "sync", "truncate", "open", "create", "allocate", "syncdir"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d := &faulty{folder: folder(dir), short: c.short}
			l, err := openOn(t.Context(), config(dir), d)
			if err != nil {
				t.Fatal(err)
			}
			commit := func(user string) error { return l.Commit(t.Context(), login(user)) }
			if err := commit("before"); err != nil {
				t.Fatal(err)
			}
			d.set(failOps(c.err, c.ops...))
			for range 3 {
				err := commit("refused")
				if !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, c.err) {
					t.Fatalf("got %v, want unavailable because of %v", err, c.err)
				}
			}
			if err := l.Append(session.Event{Event: "file", Verb: session.Write, Outcome: session.OutcomeBegun}); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("a change: got %v, want unavailable", err)
			}
			if err := l.Append(login("kept")); err != nil {
				t.Errorf("what has happened: got %v, want it kept", err)
			}
			d.set(nil)
			if err := commit("after"); err != nil {
				t.Fatalf("after the fault: %v", err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			var users []string
			for _, e := range stored(t, dir, Filter{Event: "login"}) {
				users = append(users, e.User)
			}
			if got, want := fmt.Sprint(users), "[before kept after]"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			verified(t, dir)
		})
	}
}

func TestFailedSyncGoesOnInAnotherSegment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := &faulty{folder: folder(dir)}
	l, err := openOn(t.Context(), config(dir), d)
	if err != nil {
		t.Fatal(err)
	}
	d.set(failOps(syscall.EIO, "sync"))
	if err := l.Commit(t.Context(), login("refused")); err == nil {
		t.Fatal("got no error")
	}
	d.set(nil)
	if err := l.Commit(t.Context(), login("alice")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, dir); r.Segments != 2 {
		t.Errorf("got %d segments, want 2", r.Segments)
	}
}

// Also when nothing but changes comes, which are refused meanwhile, the record
// finds out by itself that the disk is back, and says what happened.
func TestRecoversWithoutCommits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &faulty{folder: folder(dir)}
		l, err := openOn(t.Context(), config(dir), d)
		if err != nil {
			t.Fatal(err)
		}
		change := session.Event{Event: session.EventFile, Verb: session.Write, Outcome: session.OutcomeBegun, Path: "/a"}
		d.set(failOps(syscall.ENOSPC, "write"))
		if err := l.Commit(t.Context(), login("refused")); err == nil {
			t.Fatal("got no error")
		}
		time.Sleep(time.Minute)
		if err := l.Append(change); !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v, want unavailable for want of space", err)
		}
		d.set(nil)
		time.Sleep(2 * flushInterval)
		if err := l.Append(change); err != nil {
			t.Errorf("with space again: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if r := verified(t, dir); r.Gaps != 1 {
		t.Errorf("got %d gaps, want one for the time without space", r.Gaps)
	}
}

// When no new segment can be had, commits go into the reserve of the old one
// and everything else waits.
func TestReserveIsForCommits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := &faulty{folder: folder(dir)}
	cfg := config(dir)
	cfg.SegmentSize = 8192
	l, err := openOn(t.Context(), cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	if l.w.end == l.w.limit {
		_ = l.Close()
		t.Skip("the file system cannot allocate in advance")
	}
	d.set(failOps(syscall.ENOSPC, "create", "allocate"))
	if err := l.Append(login("appended")); err != nil {
		t.Fatal(err)
	}
	granted, refused := 0, 0
	for range 200 {
		switch err := l.Commit(t.Context(), login("alice")); {
		case err == nil && refused > 0:
			t.Fatal("granted after the reserve was used up")
		case err == nil:
			granted++
		case errors.Is(err, session.ErrUnavailable) && errors.Is(err, syscall.ENOSPC):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if granted == 0 || refused == 0 {
		t.Fatalf("got %d granted, %d refused, want some of each", granted, refused)
	}
	info, err := os.Stat(filepath.Join(dir, segmentName(1)))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() <= 8192 || info.Size() > 8192+2048 {
		t.Errorf("segment is %d bytes, want more than its limit and no more than its reserve", info.Size())
	}
	d.set(nil)
	if err := l.Append(login("late")); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(t.Context(), login("again")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(stored(t, dir, Filter{Event: "login"})); got != granted+3 {
		t.Errorf("got %d logins, want %d", got, granted+3)
	}
	verified(t, dir)
}

func TestAppendIsWrittenWithinASecond(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, config(dir))
		began := time.Now()
		if err := l.Append(login("alice")); err != nil {
			t.Fatal(err)
		}
		_, changed := l.progress()
		<-changed
		if took := time.Since(began); took > time.Second {
			t.Errorf("got %v, want at most a second", took)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
	verified(t, dir)
}

func TestCheckpointEachMinuteIfThereIsSomething(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, config(dir))
		time.Sleep(10*time.Minute + time.Second) // the start, then nothing
		if err := l.Append(login("alice")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if r := verified(t, dir); r.Checkpoints != 3 {
		t.Errorf("got %d checkpoints, want 3: after the start, after alice, at the stop", r.Checkpoints)
	}
}

// The queue is bounded: when the disk hangs, Append waits, and then refuses.
func TestFullQueueRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &faulty{folder: folder(dir)}
		cfg := config(dir)
		cfg.QueueBytes = 4096
		l, err := openOn(t.Context(), cfg, d)
		if err != nil {
			t.Fatal(err)
		}
		d.slow = time.Hour // the writer is idle and sees it after the first wake
		taken := 0
		for ; taken < 1000; taken++ {
			began := time.Now()
			if err = l.Append(login("alice")); err != nil {
				if took := time.Since(began); took != maxWait {
					t.Errorf("refused after %v, want %v", took, maxWait)
				}
				break
			}
		}
		if !errors.Is(err, session.ErrUnavailable) {
			t.Fatalf("got %v after %d events, want unavailable", err, taken)
		}
		if taken < 5 || taken > 40 {
			t.Errorf("got %d events into 4096 bytes", taken)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := len(stored(t, dir, Filter{Event: "login"})); got != taken {
			t.Errorf("got %d events on disk, want the %d that were taken", got, taken)
		}
	})
}

// A file system of 256 KiB really runs full, and is really emptied again.
func TestRealFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	dir := t.TempDir()
	if err := mountTiny(dir); err != nil {
		t.Skipf("mount a tiny file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unmountTiny(dir); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(filepath.Join(dir, "audit"))
	l, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	granted := 0
	for ; granted < 10000; granted++ {
		if err = l.Commit(t.Context(), login("alice")); err != nil {
			break
		}
	}
	if !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v after %d logins, want no space", err, granted)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(t.Context(), login("alice")); err != nil {
		t.Fatalf("with space again: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(stored(t, cfg.Dir, Filter{Event: "login"})); got != granted+1 {
		t.Errorf("got %d logins, want the %d that were acknowledged", got, granted+1)
	}
	verified(t, cfg.Dir)
}
