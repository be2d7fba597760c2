package audit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"gateway/session"
)

// rolled writes a record of several segments and returns their first seqs.
func rolled(t *testing.T) (dir string, firsts []int64) {
	t.Helper()
	dir = t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize = 4096
	l := open(t, cfg)
	for i := range 100 {
		if err := l.Commit(t.Context(), login(fmt.Sprintf("user%03d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	firsts, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(firsts) < 4 {
		t.Fatalf("got %d segments, want some", len(firsts))
	}
	return dir, firsts
}

func TestVerifyFindsWhatWasDone(t *testing.T) {
	t.Parallel()
	edit := func(old, replacement string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(replacement), 1) }
	}
	withoutLine := func(n int) func([]byte) []byte {
		return func(b []byte) []byte {
			ls := bytes.SplitAfter(b, []byte("\n"))
			return bytes.Join(append(ls[:n-1:n-1], ls[n:]...), nil)
		}
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"user changed":        {edit(`"user":"user003"`, `"user":"user004"`), "checkpoint does not match: of seq 1 to"},
		"line removed":        {withoutLine(5), "seq is 6"},
		"key added":           {edit(`"user":"user003"`, `"user":"user003","x":1`), "not in the form"},
		"space added":         {edit(`"user":"user003"`, `"user": "user003"`), "not in the form"},
		"time shortened":      {func(b []byte) []byte { return regexp.MustCompile(`\.\d{6}Z`).ReplaceAll(b, []byte("Z")) }, "not in the form"},
		"garbage":             {edit(`{"seq":4,`, "\x00"), "not an event"},
		"end cut in mid-line": {func(b []byte) []byte { return b[:len(b)-10] }, "unfinished line"},
		"end cut at a line":   {func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] }, "something before it is missing"},
		"emptied":             {func([]byte) []byte { return nil }, "something before it is missing"},
		"line much too long":  {edit(`"user003"`, `"`+strings.Repeat("x", 3*maxLine)+`"`), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _ := rolled(t)
			path := filepath.Join(dir, segmentName(1))
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, c.change(data), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Verify(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if r.OK() || !strings.Contains(fmt.Sprint(r.Faults), c.want) {
				t.Errorf("got %v, want %q", r.Faults, c.want)
			}
			if len(r.Faults) > 0 && (r.Faults[0].Segment == "" || r.Faults[0].Seq == 0) {
				t.Errorf("fault without a place: %+v", r.Faults[0])
			}
			if len(r.Faults) > maxFaults {
				t.Errorf("got %d faults, want %d at most", len(r.Faults), maxFaults)
			}
		})
	}
}

func TestVerifyMissesNoSegment(t *testing.T) {
	t.Parallel()
	for name, i := range map[string]int{"first": 0, "middle": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, firsts := rolled(t)
			if err := os.Remove(filepath.Join(dir, segmentName(firsts[i]))); err != nil {
				t.Fatal(err)
			}
			r, err := Verify(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if r.OK() || !strings.Contains(r.Faults[0].What, "something before it is missing") {
				t.Errorf("got %v", r.Faults)
			}
			l := open(t, config(dir))
			gaps := stored(t, dir, Filter{Event: "audit"})
			found := false
			for _, e := range gaps {
				found = found || e.Verb == session.Gap && strings.Contains(e.Reason, "segments are missing")
			}
			if !found {
				t.Error("the next start did not record that a segment is missing")
			}
			_ = l.Close()
		})
	}
}

// The edges beside the segments are only there to be quick.
func TestTreeEdgesMayBeLostOrWrong(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(path string) error{
		"lost":    os.Remove,
		"garbage": func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
		"huge":    func(path string) error { return os.WriteFile(path, make([]byte, 1<<20), 0o600) },
		"of another tree": func(path string) error {
			var other tree
			other.add([]byte("other"))
			return os.WriteFile(path, other.marshal(), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, firsts := rolled(t)
			for _, first := range firsts {
				if err := spoil(filepath.Join(dir, edgeName(first))); err != nil {
					t.Fatal(err)
				}
			}
			l := open(t, config(dir))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			verified(t, dir)
		})
	}
}

func TestStartReadsTheLastSegmentOnly(t *testing.T) {
	t.Parallel()
	dir, firsts := rolled(t)
	// With an edge that can be believed, a line of the first segment is not looked at.
	path := filepath.Join(dir, segmentName(1))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, err := resumeTree(t.Context(), dir, firsts, len(firsts)-1)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte("user003"), []byte("user004"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := resumeTree(t.Context(), dir, firsts, len(firsts)-1)
	if err != nil {
		t.Fatal(err)
	}
	if before.checkpoint() != after.checkpoint() || before.size != firsts[len(firsts)-1]-1 {
		t.Errorf("got %s and %s", before.checkpoint(), after.checkpoint())
	}
}

func TestVerifyWhileWriting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize = 16 << 10
	l := open(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := l.Commit(t.Context(), benchLogin()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 10 {
		verified(t, dir)
	}
	cancel()
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
}

func TestVerifyBeforeTheFirstLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, segmentName(1)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, dir); len(r.Notes) != 1 || r.Records != 0 {
		t.Errorf("got %+v, want a note", r)
	}
	l := open(t, config(dir))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, dir); r.Records != 3 {
		t.Errorf("got %d records, want 3", r.Records)
	}
}

func TestStopWhileReading(t *testing.T) {
	t.Parallel()
	dir, _ := rolled(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, dir); err == nil {
		t.Error("verify: got no error")
	}
	if l, err := Open(ctx, config(dir)); err == nil {
		_ = l.Close()
		t.Error("open: got no error")
	}
	open(t, config(dir)) // the lock was given free
}
