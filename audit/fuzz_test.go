package audit

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// FuzzTail puts arbitrary bytes behind whole lines: no whole line is ever lost,
// and the record goes on.
func FuzzTail(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("\n"))
	f.Add([]byte(`{"seq":3,"time":"2026-11-23T07:14:02.000000Z","node":"n","event":"login"}`))
	f.Add([]byte(`{"seq":3,"time":"2026-11-23T07:14:02.000000Z","node":"n","event":"login"}` + "\n" + `{"seq":`))
	f.Add([]byte(`{"seq":9,"time":"2026-11-23T07:14:02.000000Z","node":"n","event":"login"}` + "\n"))
	f.Add([]byte(`{"seq":9223372036854775807,"time":"",` + "\n"))
	f.Add([]byte("\x00\x00\x00\n" + `{"seq":4,"time":"2026-11-23T07:14:02.000000Z","node":"n","event":"login"}` + "\n"))
	f.Fuzz(func(t *testing.T, tail []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, segmentName(1))
		var whole []byte
		for i := range 2 {
			e := login("alice")
			e.Seq, e.Time, e.Node = int64(i+1), time.Unix(1795000000, 0), "n"
			line, err := encode(e)
			if err != nil {
				t.Fatal(err)
			}
			whole = append(whole, line...)
		}
		if err := os.WriteFile(path, append(whole, tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, config(dir))
		if err := l.Commit(t.Context(), login("bob")); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(after, whole) {
			t.Fatalf("got %q, want it to begin with %q", after, whole)
		}
		found := false
		for rec, err := range NewReader(dir).Query(t.Context(), Filter{Event: session.EventLogin}) {
			found = found || err == nil && rec.Event.User == "bob"
		}
		if !found {
			t.Error("what was written after the start is not found")
		}
		if _, err := Verify(t.Context(), dir); err != nil {
			t.Error(err)
		}
	})
}

// FuzzScan is the part of FuzzTail that reads, without a disk and so much
// faster: what is found good is whole lines in sequence, and nothing that could
// be a line is cut off unless the segment is kept as damaged.
func FuzzScan(f *testing.F) {
	const line = `{"seq":1,"time":"2026-11-23T07:14:02.000000Z","node":"n","event":"login"}` + "\n"
	f.Add([]byte(line))
	f.Add([]byte(line + `{"seq":2,`))
	f.Add([]byte(line + "\x00\n" + strings.Replace(line, "1", "2", 1)))
	f.Add([]byte(strings.Replace(line, "1", "9", 1)))
	f.Add([]byte(`{"seq":1,"time":"","event":"audit","verb":"checkpoint","hash":"0:"}` + "\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		leaves := 0
		s, err := scanSegment(t.Context(), bytes.NewReader(data), 1, func([]byte) { leaves++ })
		if err != nil {
			t.Fatal(err)
		}
		if s.good < 0 || s.good+s.cut != int64(len(data)) || s.good > 0 && data[s.good-1] != '\n' {
			t.Fatalf("got %+v of %d bytes", s, len(data))
		}
		for n := range bytes.Lines(data[:s.good]) {
			leaves--
			if _, ok := quickSeq(bytes.TrimSuffix(n, []byte("\n"))); !ok {
				t.Errorf("%q is taken for a line", n)
			}
		}
		if leaves != 0 {
			t.Errorf("%d leaves too many", leaves)
		}
		for n := range bytes.Lines(data[s.good:]) {
			n, whole := bytes.CutSuffix(n, []byte("\n"))
			if seq, ok := quickSeq(n); ok && whole && !s.damaged {
				t.Errorf("the line of seq %d would be cut off", seq)
			}
		}
		if (s.cut > 0) != (s.reason != "") {
			t.Errorf("cut %d with reason %q", s.cut, s.reason)
		}
	})
}

// FuzzLine: whatever decodes can be written again, shown on one line, and then
// has the one form.
func FuzzLine(f *testing.F) {
	e := benchLogin()
	e.Seq, e.Time = 7, time.Unix(1795000000, 1000)
	line, err := encode(e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line[:len(line)-1])
	f.Add([]byte(`{"seq":1,"time":"2026-11-23T07:14:02Z","event":"mail","from":"","to":["a@b"],"reason":"\u001b[31m\ud800"}`))
	f.Add([]byte(`{"seq":1,"seq":2}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, line []byte) {
		_, _ = quickSeq(line)
		_ = lineTime(line)
		_ = lineSeq(line)
		e, err := decode(line)
		if err != nil {
			return
		}
		shown := Line(e)
		for _, r := range shown {
			if r < ' ' || r == 0x7f || r == 0x202e {
				t.Errorf("line for people has %U: %q", r, shown)
			}
		}
		again, err := encode(e)
		if err != nil {
			return // times that RFC 3339 cannot say, lines that are too long
		}
		if again[len(again)-1] != '\n' || bytes.Count(again, []byte("\n")) != 1 {
			t.Fatalf("got %q, want one line", again)
		}
		once := again[:len(again)-1]
		if !json.Valid(once) {
			t.Fatalf("not JSON: %q", once)
		}
		back, err := decode(once)
		if err != nil {
			t.Fatal(err)
		}
		if !canonical(once, back) {
			t.Fatalf("%q is not what it is encoded to", once)
		}
		if seq, ok := quickSeq(once); !ok || seq != e.Seq || lineSeq(once) != e.Seq {
			t.Fatalf("quick look at %q: got seq %d (%v), want %d", once, seq, ok, e.Seq)
		}
	})
}

// FuzzEvent: an event with any texts in it is written in the one form.
func FuzzEvent(f *testing.F) {
	f.Add("alice", "/a\xffb\ufffd", "a@b", "<&>\u2028", uint16(0))
	f.Add("", "\x00\n\r\x7f", "", "\\ufffd", uint16(22))
	f.Fuzz(func(t *testing.T, user, path, from, reason string, port uint16) {
		e := session.Event{Seq: 1, Time: time.Unix(1795000000, 0), Event: session.EventFile, User: user, Path: path, From: &from, Reason: reason,
			To: []string{path, user}, Remote: netip.AddrPortFrom(netip.Addr{}, port)}
		line, err := encode(e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode(line[:len(line)-1])
		if err != nil {
			t.Fatal(err)
		}
		if !canonical(line[:len(line)-1], back) {
			t.Errorf("%q is not what it is encoded to", line)
		}
	})
}

func FuzzWhen(f *testing.F) {
	for _, s := range []string{"2026-11-23T07:14:02Z", "2026-11-23", "90m", "30d", "2h", "", "d", "-1d", "99999999999999999999d", "1e3h", "2026-13-01"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 23, 7, 14, 2, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		since, err := ParseSince(s, now)
		until, err2 := ParseUntil(s, now)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%q: since %v, until %v", s, err, err2)
		}
		if err != nil {
			return
		}
		if until.Before(since) {
			t.Errorf("%q: until %v is before since %v", s, until, since)
		}
		if _, ok := parseAgo(s); ok && (since.After(now) || since.Before(now.AddDate(-101, 0, 0))) {
			t.Errorf("%q: got %v", s, since)
		}
	})
}

func FuzzTreeEdge(f *testing.F) {
	var t tree
	for range 5 {
		t.add([]byte("x"))
	}
	f.Add(t.marshal())
	f.Add([]byte("0\n"))
	f.Add([]byte("-1\n"))
	f.Add([]byte("3\nAAAA\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		edge, err := unmarshalTree(data)
		if err != nil {
			return
		}
		want := edge.checkpoint()
		again, err := unmarshalTree(edge.marshal())
		if err != nil || again.checkpoint() != want {
			t.Errorf("got %v (%v), want %s", again, err, want)
		}
	})
}
