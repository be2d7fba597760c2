package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/session"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open opens the spool in dir until the test ends.
func open(tb testing.TB, dir string) *Spool[string] {
	tb.Helper()
	s, err := Open[string](context.Background(), Config{Dir: dir, MinFree: 1, SegmentSize: MinSegmentSize, Log: quiet()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// clock gives ids that follow one another.
var began = time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)

func id(n int) ID { return NewID(began.Add(time.Duration(n) * time.Millisecond)) }

// put adds a message and returns it.
func put(tb testing.TB, s *Spool[string], id ID, envelope, content string) *Message[string] {
	tb.Helper()
	var b Batch[string]
	m := b.Add(id, []byte(envelope), nil, []byte(content))
	if err := s.Commit(tb.Context(), &b); err != nil {
		tb.Fatal(err)
	}
	return m
}

func setState(tb testing.TB, s *Spool[string], m *Message[string], state string) {
	tb.Helper()
	var b Batch[string]
	b.SetState(m, []byte(state))
	if err := s.Commit(tb.Context(), &b); err != nil {
		tb.Fatal(err)
	}
}

func remove(tb testing.TB, s *Spool[string], m *Message[string]) {
	tb.Helper()
	var b Batch[string]
	b.Remove(m)
	if err := s.Commit(tb.Context(), &b); err != nil {
		tb.Fatal(err)
	}
}

// dump is all that is in a spool, a line for each message.
func dump(tb testing.TB, s *Spool[string]) (lines []string) {
	tb.Helper()
	for _, m := range s.After(ID{}, 1<<20) {
		envelope, err := s.Envelope(m)
		if err != nil {
			tb.Error(err)
		}
		state, err := s.State(m)
		if err != nil {
			tb.Error(err)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s", envelope, state, contentOf(tb, s, m)))
	}
	if s.Len() != len(lines) {
		tb.Errorf("Len is %d, and there are %d messages", s.Len(), len(lines))
	}
	return lines
}

func contentOf(tb testing.TB, s *Spool[string], m *Message[string]) string {
	tb.Helper()
	c, err := s.Content(m)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil || int64(len(b)) != c.Size() {
		tb.Errorf("got %d bytes, %v; want %d", len(b), err, c.Size())
	}
	return string(b)
}

func TestChangesSurviveReopening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	a := put(t, s, id(1), "a", "content a")
	put(t, s, id(2), "b", "")
	c := put(t, s, id(3), "c", "content c")
	setState(t, s, a, "one")
	setState(t, s, a, "two")
	remove(t, s, c)
	// A message, a state and a removal at once.
	var batch Batch[string]
	batch.SetState(a, []byte("three"))
	batch.Add(id(4), []byte("d"), nil, []byte("content "), []byte("d"))
	if err := s.Commit(t.Context(), &batch); err != nil {
		t.Fatal(err)
	}
	want := []string{"a three content a", "b  ", "d  content d"}
	if got := dump(t, s); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 3 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir)
		if got := dump(t, s); !slices.Equal(got, want) {
			t.Errorf("reopened: got %q, want %q", got, want)
		}
	}
	if m := s.Get(id(9)); m != nil {
		t.Errorf("got %v", m)
	}
	if page := s.After(s.After(ID{}, 1)[0].ID(), 1); len(page) != 1 || page[0].ID().String() == a.ID().String() {
		t.Errorf("got %v", page)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	m := put(t, s, id(1), "a", "x")
	commit := func(fill func(*Batch[string])) error {
		var b Batch[string]
		fill(&b)
		return s.Commit(t.Context(), &b)
	}
	err := commit(func(b *Batch[string]) { b.SetState(m, []byte("new")); b.Add(m.ID(), nil, nil) })
	if !errors.Is(err, ErrExists) {
		t.Errorf("got %v, want %v", err, ErrExists)
	}
	if state, err := s.State(m); len(state) != 0 || err != nil {
		t.Errorf("half of a batch holds: %q, %v", state, err)
	}
	remove(t, s, m)
	other := id(2)
	for range 2 { // a batch that failed may be tried again
		err = commit(func(b *Batch[string]) { b.Add(other, []byte("b"), nil); b.Remove(m) })
		if !errors.Is(err, session.ErrNotExist) || s.Get(other) != nil {
			t.Errorf("got %v, want %v", err, session.ErrNotExist)
		}
	}
	put(t, s, other, "b", "")
	if _, err := s.Envelope(m); !errors.Is(err, session.ErrNotExist) {
		t.Errorf("got %v, want %v", err, session.ErrNotExist)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b Batch[string]
	b.Add(id(3), nil, nil)
	if err := s.Commit(ctx, &b); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), &b); !errors.Is(err, session.ErrClosed) {
		t.Errorf("got %v, want %v", err, session.ErrClosed)
	}
}

// Many at once share their syncs, and each of them holds.
func TestGroupsShareSyncs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for i := range 20 {
				put(t, s, id(g*100+i), fmt.Sprint(g, "-", i), strings.Repeat("x", 100*g))
			}
		})
	}
	wg.Wait()
	if s.Len() != 640 || s.Syncs() > 640 {
		t.Errorf("got %d messages, %d syncs", s.Len(), s.Syncs())
	}
	before := dump(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, open(t, dir)); !slices.Equal(got, before) {
		t.Errorf("reopened: got %d messages, want %d", len(got), len(before))
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	for range 100 {
		p.learn(1)
		p.learn(3)
	}
	if p.target != 0 {
		t.Errorf("three at most come together, and %d are waited for", p.target)
	}
	for range 1000 { // 32 clients, all of whom come
		p.learn(min(32, max(p.target, 4)))
	}
	if p.target < 20 || p.target > 33 {
		t.Errorf("of 32 clients %d are waited for", p.target)
	}
	p.learn(1)
	if p.target < 20 {
		t.Errorf("after a lull %d of them are waited for", p.target)
	}
	for range 40 {
		p.learn(1)
	}
	if p.target != 0 {
		t.Errorf("one is left, and %d are waited for", p.target)
	}
}

func segmentsOf(tb testing.TB, dir string) []string {
	tb.Helper()
	numbers, err := listSegments(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var names []string
	for _, n := range numbers {
		names = append(names, segmentName(n))
	}
	return names
}

// await waits until the cleaner has done what it can.
func await(t *testing.T, s *Spool[string], what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %q", what, segmentsOf(t, s.cfg.Dir))
		}
		s.wakeCleaner()
	}
}

// Segments go when nothing in them is in use; what few messages of an old one are in
// use move, and nothing that was removed comes back.
func TestSegmentsGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	var kept []*Message[string]
	for i := range 400 {
		m := put(t, s, id(i), fmt.Sprint(i), strings.Repeat("x", 1000))
		if i%50 == 0 {
			setState(t, s, m, "kept")
			kept = append(kept, m)
			continue
		}
		remove(t, s, m)
	}
	await(t, s, "too many segments", func() bool { return len(segmentsOf(t, dir)) <= 2 })
	check := func() {
		t.Helper()
		got := dump(t, s)
		if len(got) != len(kept) || !strings.HasPrefix(got[1], "50 kept xxx") {
			t.Errorf("got %d messages: %.40q", len(got), got)
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	check()
	for _, m := range s.After(ID{}, 100) {
		remove(t, s, m)
	}
	await(t, s, "the old segments stay", func() bool { return len(segmentsOf(t, dir)) <= 1 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = open(t, dir); s.Len() != 0 {
		t.Errorf("got %q after all were removed", dump(t, s))
	}
}

// A removal stays for as long as the segment that its message is in, also when the
// removal's own segment goes.
func TestRemovalsAreCarriedOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	var old []*Message[string]
	for i := range 10 {
		old = append(old, put(t, s, id(i), fmt.Sprint(i), strings.Repeat("x", 4000)))
	}
	remove(t, s, old[9]) // in the first segment, and three quarters of that stay
	first := segmentsOf(t, dir)[0]
	for i := range 200 {
		m := put(t, s, id(100+i), "y", strings.Repeat("y", 4000))
		if i == 30 {
			remove(t, s, old[8]) // in a later one
		}
		remove(t, s, m)
	}
	await(t, s, "too many segments", func() bool { return len(segmentsOf(t, dir)) <= 2 })
	if got := segmentsOf(t, dir)[0]; got != first {
		t.Fatalf("the first segment is %s, want %s", got, first)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, open(t, dir)); len(got) != 8 {
		t.Errorf("got %d messages, want 8: %.20q", len(got), got)
	}
}

// A crash between the copies and the end of a segment leaves two of each.
func TestUnfinishedCleaning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	for i := range 3 {
		setState(t, s, put(t, s, id(i), fmt.Sprint(i), "x"), "s")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want := dump(t, open(t, dir))
	first := filepath.Join(dir, segmentsOf(t, dir)[0])
	saved, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	put(t, s, id(5), "5", "y")
	seg := s.segments[1]
	await(t, s, "the copied segment stays", func() bool {
		// Once is not always enough: a record whose message moved meanwhile is left.
		if err := s.copyOut(seg); err != nil {
			t.Fatal(err)
		}
		return segmentsOf(t, dir)[0] != segmentName(1)
	})
	remove(t, s, s.After(ID{}, 1)[0])
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(first, saved, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	await(t, s, "the copied segment stays", func() bool { return segmentsOf(t, dir)[0] != segmentName(1) })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, open(t, dir)); !slices.Equal(got, append(want[1:], "5  y")) {
		t.Errorf("got %q, want %q", got, append(want[1:], "5  y"))
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	f, err := s.File(id(1))
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("0123456789", 50000)
	if _, err := io.WriteString(f, large); err != nil {
		t.Fatal(err)
	}
	if err := f.Publish(); err != nil {
		t.Fatal(err)
	}
	name := f.name
	var b Batch[string]
	first, err := ParseIDOf(name)
	if err != nil {
		t.Fatal(err)
	}
	m := b.Add(first, []byte("e"), f, []byte("begin "))
	if err := s.Commit(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	f.Discard()
	if got := contentOf(t, s, m); got != "begin "+large {
		t.Errorf("got %d bytes, want %d", len(got), len(large)+6)
	}
	for _, leftover := range []string{id(7).String(), draftPrefix + id(8).String(), "README"} {
		if err := os.WriteFile(filepath.Join(dir, leftover), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	names := func() (list []string) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if _, segment := parseSegmentName(e.Name()); !segment {
				list = append(list, e.Name())
			}
		}
		return list
	}
	if got, want := names(), []string{filepath.Base(name), "README"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	remove(t, s, s.Get(first))
	if got := names(); !slices.Equal(got, []string{"README"}) {
		t.Errorf("got %q, want README only", got)
	}
	unused, err := s.File(id(9))
	if err != nil {
		t.Fatal(err)
	}
	unused.Discard()
	unused.Discard()
	if got := names(); !slices.Equal(got, []string{"README"}) {
		t.Errorf("got %q, want README only", got)
	}
}

// ParseIDOf is the id that a file is named after.
func ParseIDOf(name string) (ID, error) {
	id, ok := ParseID(filepath.Base(name))
	if !ok {
		return id, fmt.Errorf("%s is not named after an id", name)
	}
	return id, nil
}

func TestIDs(t *testing.T) {
	t.Parallel()
	last := ""
	for i := range 100 {
		text := id(i).String()
		parsed, ok := ParseID(text)
		if !ok || parsed.String() != text || text <= last {
			t.Fatalf("got %q after %q, parsed %v", text, last, ok)
		}
		last = text
	}
	if got := NewID(time.UnixMilli(1<<50 - 1)).String(); !strings.HasPrefix(got, "zzzzzzzzzz") {
		t.Errorf("got %s", got)
	}
	for _, bad := range []string{"", "x", "../../../etc/pass", strings.Repeat("A", idLength), strings.Repeat("i", idLength), strings.Repeat("0", idLength+1)} {
		if _, ok := ParseID(bad); ok {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}

// A message in the queue costs little memory.
func TestMemory(t *testing.T) {
	const count, most = 100000, 120 // bytes, with a pointer as the Value
	s := open(t, t.TempDir())
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	envelope := bytes.Repeat([]byte("e"), 200)
	before := heap()
	for i := 0; i < count; i += 1000 {
		var b Batch[string]
		for k := range 1000 {
			b.Add(id(i+k), envelope, nil)
		}
		if err := s.Commit(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
	}
	if each := float64(heap()-before) / count; each > most {
		t.Errorf("%.0f bytes a message, want at most %d", each, most)
	}
	runtime.KeepAlive(s)
}
