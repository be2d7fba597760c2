package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gateway/session"
)

// made is the only segment of a spool with some messages, each synced by itself, and
// the offsets at which they begin.
func made(tb testing.TB, count int) (segment []byte, begins []int) {
	tb.Helper()
	dir := tb.TempDir()
	s := open(tb, dir)
	for i := range count {
		m := put(tb, s, id(i), fmt.Sprint("m", i), strings.Repeat("x", 50))
		begins = append(begins, int(m.at.offset))
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	if err != nil {
		tb.Fatal(err)
	}
	return b, begins
}

// reopened writes a segment, opens it, and returns the envelopes of what is there.
func reopened(tb testing.TB, segment []byte) (dir string, envelopes []string) {
	tb.Helper()
	dir = tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, segmentName(1)), segment, 0o600); err != nil {
		tb.Fatal(err)
	}
	s := open(tb, dir)
	for _, line := range dump(tb, s) {
		envelope, _, _ := strings.Cut(line, " ")
		envelopes = append(envelopes, envelope)
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	return dir, envelopes
}

func kept(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, damagedPrefix+segmentName(1)))
	return err == nil
}

// Wherever a crash cuts the log, what was synced before is there, nothing is half
// there, and nothing is held to be damage.
func TestTornTail(t *testing.T) {
	t.Parallel()
	segment, begins := made(t, 3)
	for cut := startSize; cut < len(segment); cut += 7 {
		whole := 0
		for _, begin := range append(begins[1:], len(segment)) {
			if begin <= cut {
				whole++
			}
		}
		dir, got := reopened(t, segment[:cut])
		if len(got) != whole || kept(dir) {
			t.Errorf("cut at %d: got %q, want %d messages and no damage", cut, got, whole)
		}
		info, err := os.Stat(filepath.Join(dir, segmentName(1)))
		if whole > 0 && (err != nil || info.Size() != int64(append(begins, len(segment))[whole])) {
			t.Errorf("cut at %d: the file was not cut back: %v, %v", cut, info, err)
		}
	}
}

// The disk may write the pages of one group in any order: a later record that is
// whole does not make damage of an earlier one that is not.
func TestTornGroup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, id(0), "m0", "synced")
	var b Batch[string]
	for i := range 3 {
		b.Add(id(i+1), []byte(fmt.Sprint("m", i+1)), nil, bytes.Repeat([]byte("y"), 100))
	}
	for i := range b.records {
		b.records[i].flags = 0
	}
	// As three batches that went out in one write.
	var group []*request[string]
	for i := range b.records {
		group = append(group, &request[string]{records: b.records[i : i+1]})
	}
	if err := s.put(group); err != nil {
		t.Fatal(err)
	}
	second := int(group[1].records[0].message.at.offset)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	segment, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]int{"head": second + 3, "envelope": second + headSize, "content": second + headSize + 2 + 50} {
		torn := bytes.Clone(segment)
		torn[at] ^= 0xff
		if dir, got := reopened(t, torn); !slices.Equal(got, []string{"m0", "m1"}) || kept(dir) {
			t.Errorf("%s: got %q, kept %v; want m0 and m1, and no damage", name, got, kept(dir))
		}
	}
}

// Damage before the last write is told and kept, and costs only what it hit.
func TestDamage(t *testing.T) {
	t.Parallel()
	segment, begins := made(t, 5)
	for name, at := range map[string]int{"head": begins[2] + 5, "envelope": begins[2] + headSize} {
		damaged := bytes.Clone(segment)
		damaged[at] ^= 1
		dir, got := reopened(t, damaged)
		if !slices.Equal(got, []string{"m0", "m1", "m3", "m4"}) || !kept(dir) {
			t.Errorf("%s: got %q, kept %v", name, got, kept(dir))
		}
		again, err := os.ReadFile(filepath.Join(dir, damagedPrefix+segmentName(1)))
		if err != nil || !bytes.Equal(again, damaged) {
			t.Errorf("%s: the kept segment is not what was there: %v", name, err)
		}
	}
	damaged := bytes.Clone(segment)
	damaged[3] ^= 1
	dir, got := reopened(t, damaged)
	if len(got) != 0 || !kept(dir) {
		t.Errorf("start: got %q, kept %v", got, kept(dir))
	}
}

// A damaged content is found by who reads it; its envelope stays.
func TestDamagedContent(t *testing.T) {
	t.Parallel()
	segment, begins := made(t, 3)
	segment[begins[1]+headSize+2+10] ^= 1
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, segmentName(1)), segment, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	m := s.After(ID{}, 2)[1]
	if _, err := s.Envelope(m); err != nil {
		t.Error(err)
	}
	if _, err := s.Content(m); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want %v", err, ErrDamaged)
	}
}

// A content that looks like records is a content, also where the log is searched for
// records after damage.
func TestForgedRecords(t *testing.T) {
	t.Parallel()
	_, begins := made(t, 1)
	forged := head{kind: kindMessage, id: id(99), group: 1 << 20, sums: [2]uint32{sum(), sum()}}.append(nil, 0)
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, id(1), "m1", strings.Repeat(string(forged), 10))
	put(t, s, id(2), "m2", "x")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	segment, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	if err != nil {
		t.Fatal(err)
	}
	segment[begins[0]+6] ^= 1
	if _, got := reopened(t, segment); !slices.Equal(got, []string{"m2"}) {
		t.Errorf("got %q, want m2", got)
	}
}

// After a write that failed nothing of it stays, and what comes later holds.
func TestFailedWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, id(1), "a", "x")
	seg := s.writer.active
	writable := seg.file
	readOnly, err := os.Open(writable.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	failing := id(2)
	fail := func() error {
		var b Batch[string]
		b.Add(failing, []byte("b"), nil)
		return s.Commit(t.Context(), &b)
	}
	s.mu.Lock()
	seg.file = readOnly
	s.mu.Unlock()
	for range 2 {
		if err := fail(); err == nil || errors.Is(err, session.ErrNoSpace) {
			t.Errorf("got %v, want an error", err)
		}
	}
	s.mu.Lock()
	seg.file = writable
	s.mu.Unlock()
	if err := fail(); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, open(t, dir)); !slices.Equal(got, []string{"a  x", "b  "}) {
		t.Errorf("got %q", got)
	}
}

// A full disk refuses mail and loses none; what frees space goes on.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("a small file system of its own takes root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() {
		// Detached: a program that another test starts meanwhile has our files until it runs.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	s := open(t, filepath.Join(dir, "mail"))
	defer s.Close()
	var messages []*Message[string]
	var err error
	for i := 0; err == nil; i++ {
		var b Batch[string]
		m := b.Add(id(i), []byte("e"), nil, make([]byte, 8000))
		if err = s.Commit(t.Context(), &b); err == nil {
			messages = append(messages, m)
		}
	}
	if !errors.Is(err, session.ErrNoSpace) || len(messages) < 30 {
		t.Fatalf("got %v after %d messages, want %v", err, len(messages), session.ErrNoSpace)
	}
	setState(t, s, messages[0], "changed")
	for _, m := range messages[1:] {
		remove(t, s, m)
	}
	await(t, s, "no segment goes", func() bool { return len(segmentsOf(t, s.cfg.Dir)) <= 2 })
	put(t, s, id(1000), "new", "x")
	if got := dump(t, s); len(got) != 2 || !strings.HasPrefix(got[0], "e changed") {
		t.Errorf("got %.20q", got)
	}
}

// Whatever lies in a segment, Open ends, and what it finds can be read.
func FuzzReplay(f *testing.F) {
	segment, begins := made(f, 4)
	f.Add(segment, uint16(begins[1]), byte(1))
	f.Add(segment[:len(segment)-10], uint16(0), byte(0))
	f.Add([]byte("GWSPOOL1"), uint16(3), byte(7))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, flip byte) {
		if int(at) < len(b) {
			b = bytes.Clone(b)
			b[at] ^= flip
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, segmentName(1)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		list := dump(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := dump(t, open(t, dir)); !slices.Equal(got, list) {
			t.Fatalf("got %q, and again %q", list, got)
		}
	})
}

// A head is what it was written as, and any change of it is seen.
func FuzzHead(f *testing.F) {
	f.Add(head{kind: kindMessage, flags: flagFile, group: 12, envelope: 3, content: 4}.append(nil, 7), uint32(7))
	f.Fuzz(func(t *testing.T, b []byte, salt uint32) {
		h, ok := parseHead(b, salt)
		if !ok {
			return
		}
		if again := h.append(nil, salt); !bytes.Equal(again, b[:headSize]) {
			t.Fatalf("got %x, want %x", again, b[:headSize])
		}
		if _, ok := parseHead(b, salt+1); ok {
			t.Fatal("taken with another salt")
		}
		binary.LittleEndian.PutUint32(b[headSize-4:], binary.LittleEndian.Uint32(b[headSize-4:])+1)
		if _, ok := parseHead(b, salt); ok {
			t.Fatal("taken with a wrong sum")
		}
	})
}
