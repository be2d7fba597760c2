package audit

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// killDir tells a copy of the test program to write a record there until it is
// killed.
const killDir = "AUDIT_TEST_KILL_DIR"

// TestKilledChild is the child of TestKillLosesNothing.
func TestKilledChild(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		t.Skip("runs as the child of TestKillLosesNothing")
	}
	cfg := config(dir)
	cfg.SegmentSize = 64 << 10
	cfg.CheckpointInterval = 5 * time.Millisecond
	l, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, i)
				if err := l.Commit(context.Background(), login(id)); err != nil {
					fmt.Println("error", err)
					return
				}
				// One write each: what is in the pipe was acknowledged.
				_, _ = os.Stdout.WriteString("ok " + id + "\n")
				_ = l.Append(login("appended"))
			}
		})
	}
	wg.Wait()
}

// Promise 3: kill -9 at any moment loses no granted login, and leaves a record
// that is whole after the next start.
func TestKillLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := make(map[string]bool)
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		killOnce(t, dir, time.Duration(rand.IntN(120))*time.Millisecond, acknowledged)
		// Before the next start: at most a note on an unfinished end.
		if r := verified(t, dir); len(r.Notes) > 1 {
			t.Errorf("round %d: got notes %q, want at most one", round, r.Notes)
		}
	}
	l := open(t, config(dir))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r := verified(t, dir)
	found := 0
	for _, e := range stored(t, dir, Filter{Event: "login"}) {
		if acknowledged[e.User] {
			found++
			delete(acknowledged, e.User)
		}
	}
	for id := range acknowledged {
		t.Errorf("login %s was acknowledged and is not in the record", id)
	}
	if found < 10*rounds {
		t.Errorf("got %d acknowledged logins in %d rounds, too few to mean something", found, rounds)
	}
	t.Logf("%d acknowledged logins, %d records in %d segments, %d gaps", found, r.Records, r.Segments, r.Gaps)
}

// killOnce runs a child, kills it a while after its first commit, and notes
// what it said was committed.
func killOnce(t *testing.T, dir string, after time.Duration, acknowledged map[string]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var kill *time.Timer
	in := bufio.NewScanner(out)
	for in.Scan() {
		id, ok := strings.CutPrefix(in.Text(), "ok ")
		if !ok {
			_ = cmd.Process.Kill()
			t.Errorf("child said %q", in.Text())
			continue
		}
		acknowledged[id] = true
		if kill == nil {
			kill = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // killed
	if kill == nil {
		t.Fatal("the child ended before its first commit")
	}
	kill.Stop()
}
