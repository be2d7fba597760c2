package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// sample writes a record with some of everything and returns its folder.
func sample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	l := open(t, config(dir))
	from := ""
	event := func(kind, outcome, user, remote string, protocol session.Protocol, channel session.ChannelKind) session.Event {
		return session.Event{Event: kind, Outcome: outcome, User: user, Remote: netip.MustParseAddrPort(remote), Protocol: protocol,
			Channel: &session.Channel{Kind: channel}}
	}
	mail := event("mail", "done", "alice", "[2001:db8::7]:4", session.Submission, session.TLS)
	mail.Channel, mail.Verb, mail.From, mail.To = nil, session.Bounce, &from, []string{"a@example.com"}
	for _, e := range []session.Event{
		event("login", "granted", "alice", "192.0.2.7:1", session.SFTP, session.SSH),
		event("login", "refused", "unknown:abcd", "192.0.2.7:2", session.FTP, session.Plain),
		event("login", "refused", "bob", "[::ffff:198.51.100.9]:3", session.FTP, session.TLS),
		mail,
		event("connection", "no-login", "", "10.0.0.1:5", session.FTP, session.Plain),
	} {
		if err := l.Commit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestQueryFilters(t *testing.T) {
	t.Parallel()
	dir := sample(t)
	for name, c := range map[string]struct {
		filter Filter
		want   string // seqs
	}{
		"all":             {Filter{}, "[1 2 3 4 5 6 7 8]"},
		"event":           {Filter{Event: "login"}, "[2 3 4]"},
		"outcome":         {Filter{Event: "login", Outcome: "refused"}, "[3 4]"},
		"user":            {Filter{Users: []string{"alice"}}, "[2 5]"},
		"user and hash":   {Filter{Users: []string{"nobody", "unknown:abcd"}}, "[3]"},
		"network":         {Filter{Remote: netip.MustParsePrefix("192.0.2.0/24")}, "[2 3]"},
		"mapped address":  {Filter{Remote: netip.MustParsePrefix("198.51.100.9/32")}, "[4]"},
		"network of IPv6": {Filter{Remote: netip.MustParsePrefix("2001:db8::/32")}, "[5]"},
		"protocol":        {Filter{Protocol: session.FTP}, "[3 4 6]"},
		"channel":         {Filter{Channel: "plain"}, "[3 6]"},
		"limit":           {Filter{Limit: 2}, "[1 2]"},
		"since":           {Filter{Since: time.Now().Add(time.Hour)}, "[]"},
		"until":           {Filter{Until: time.Now().Add(-2 * time.Hour)}, "[]"},
		"none":            {Filter{Event: "admin"}, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seqs := []int64{}
			for _, e := range stored(t, dir, c.filter) {
				seqs = append(seqs, e.Seq)
			}
			if got := fmt.Sprint(seqs); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestQueryGivesTheStoredBytes(t *testing.T) {
	t.Parallel()
	dir := sample(t)
	want, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for rec, err := range NewReader(dir).Query(t.Context(), Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(append(got, rec.Raw...), '\n')
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if !bytes.Contains(want, []byte(`"from":"","to":["a@example.com"]`)) {
		t.Errorf("the null reverse-path is not written: %s", want)
	}
}

func TestBadFilters(t *testing.T) {
	t.Parallel()
	f := Filter{Event: "logn", Outcome: "x", Protocol: "http", Channel: "clear", Users: []string{""}, Limit: -1,
		Since: time.Unix(2, 0), Until: time.Unix(1, 0)}
	err := f.Validate()
	for _, want := range []string{`event "logn": want one of connection, login`, `outcome "x"`, `protocol "http"`,
		`channel "clear": want one of plain, tls, ssh`, "user: empty", "limit -1", "since 1970-01-01T00:00:02Z is not before"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to contain %q", err, want)
		}
	}
	n := 0
	for _, err := range NewReader(t.TempDir()).Query(t.Context(), f) {
		if n++; err == nil {
			t.Error("got a record for a bad filter")
		}
	}
	if n != 1 {
		t.Errorf("got %d results, want one error", n)
	}
}

func TestQueryOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, err := range NewReader(filepath.Join(t.TempDir(), "none")).Query(t.Context(), Filter{}) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no folder: got %v", err)
		}
	}
	empty := t.TempDir()
	n := 0
	for _, err := range NewReader(empty).Query(t.Context(), Filter{}) {
		if n++; err == nil || !strings.Contains(err.Error(), "no segments in") {
			t.Errorf("empty folder: got %v", err)
		}
	}
	if _, err := Verify(t.Context(), empty); err == nil || n != 1 {
		t.Errorf("got %v and %d results, want an error from each", err, n)
	}
}

func TestQueryNamesALineThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := sample(t)
	path := filepath.Join(dir, segmentName(1))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte(`{"seq":3,`), []byte(`{"seq"=3,`), 1)
	data = bytes.Replace(data, []byte(`{"seq":5,`), append(bytes.Repeat([]byte("x"), 3*maxLine), `{"seq":5,`...), 1)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	for rec, err := range NewReader(dir).Query(t.Context(), Filter{}) {
		if err != nil {
			bad := new(LineError)
			if !errors.As(err, &bad) {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint("bad:", bad.Line))
			continue
		}
		got = append(got, fmt.Sprint(rec.Event.Seq))
	}
	if got, want := strings.Join(got, " "), "1 2 bad:3 4 bad:5 6 7 8"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// timed writes segments of one line each, an hour and a half apart.
func timed(t *testing.T, n int) (dir string, start time.Time) {
	t.Helper()
	dir, start = t.TempDir(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		e := login("alice")
		e.Seq, e.Node, e.Time = int64(i+1), "n1", start.Add(time.Duration(i)*90*time.Minute)
		line, err := encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, segmentName(e.Seq)), line, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, start
}

func TestQueryByTimePassesOverSegments(t *testing.T) {
	t.Parallel()
	dir, start := timed(t, 20)
	f := Filter{Since: start.Add(9 * 90 * time.Minute), Until: start.Add(12 * 90 * time.Minute)}
	var seqs []int64
	for _, e := range stored(t, dir, f) {
		seqs = append(seqs, e.Seq)
	}
	if got, want := fmt.Sprint(seqs), "[10 11 12]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// What is passed over is not even read.
	for _, seq := range []int64{3, 18} {
		if err := os.WriteFile(filepath.Join(dir, segmentName(seq)), []byte("broken\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(stored(t, dir, f)); got != 3 {
		t.Errorf("got %d events, want 3", got)
	}
}

func TestParseNetwork(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "10.20.1.1/16": "10.20.0.0/16", "2001:db8::1": "2001:db8::1/128", "::ffff:192.0.2.7": "192.0.2.7/32",
		"::ffff:192.0.2.7/120": "192.0.2.0/24", "": "", "10.0.0.0/33": "", "plant": "", "fe80::1%eth0": "", "::ffff:1.2.3.4/8": "",
	} {
		got, err := ParseNetwork(in)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%q: got %v (%v), want %q", in, got, err, want)
		}
	}
}

func TestParseTimes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 7, 14, 2, 0, time.UTC)
	for in, want := range map[string][2]string{
		"2026-11-23T08:14:02+01:00": {"2026-11-23T07:14:02Z", "2026-11-23T07:14:02Z"},
		"2026-11-20":                {"2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"},
		"90m":                       {"2026-11-23T05:44:02Z", "2026-11-23T05:44:02Z"},
		"30d":                       {"2026-10-24T07:14:02Z", "2026-10-24T07:14:02Z"},
		"2h":                        {"2026-11-23T05:14:02Z", "2026-11-23T05:14:02Z"},
		"1w":                        {"2026-11-16T07:14:02Z", "2026-11-16T07:14:02Z"},
		"yesterday":                 {}, "": {}, "-2h": {}, "2": {}, "1.5h": {}, "5000000000h": {}, "2026-02-30": {},
	} {
		since, err := ParseSince(in, now)
		until, err2 := ParseUntil(in, now)
		if want[0] == "" {
			if err == nil || err2 == nil || !strings.Contains(err.Error(), "want 2026") {
				t.Errorf("%q: got %v, %v, want errors that say how", in, err, err2)
			}
			continue
		}
		if got := since.Format(time.RFC3339); err != nil || got != want[0] {
			t.Errorf("since %q: got %s (%v), want %s", in, got, err, want[0])
		}
		if got := until.Format(time.RFC3339); err2 != nil || got != want[1] {
			t.Errorf("until %q: got %s (%v), want %s", in, got, err2, want[1])
		}
	}
}

// tailed collects the users of what Tail gives.
func tailed(t *testing.T, r *Reader, n int, f Filter) []string {
	t.Helper()
	var users []string
	for rec, err := range r.Tail(t.Context(), n, false, f) {
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, rec.Event.User)
	}
	return users
}

func TestTailGivesTheLast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := config(dir)
	cfg.SegmentSize = 2048
	l := open(t, cfg)
	for i := range 100 {
		if err := l.Append(login(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	logins := Filter{Event: "login"}
	for name, r := range map[string]*Reader{"own": l.Reader(), "another process": NewReader(dir)} {
		for _, n := range []int{0, 1, 3, 50, 100, 1000} {
			got := tailed(t, r, n, logins)
			if len(got) != min(n, 100) || n > 0 && (got[0] != fmt.Sprint(100-min(n, 100)) || got[len(got)-1] != "99") {
				t.Errorf("%s, last %d: got %d: %v", name, n, len(got), got)
			}
		}
	}
	if got := fmt.Sprint(tailed(t, l.Reader(), 2, Filter{Users: []string{"7", "8", "9"}})); got != "[8 9]" {
		t.Errorf("got %s, want [8 9]", got)
	}
	for _, n := range []int{-1, MaxTail + 1} {
		for _, err := range l.Reader().Tail(t.Context(), n, false, Filter{}) {
			if err == nil {
				t.Errorf("last %d: got no error", n)
			}
		}
	}
}

func TestTailOfALongSegment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, config(dir))
	for i := range 3000 {
		e := benchLogin()
		e.User = fmt.Sprint(i)
		if err := l.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{1, 10, 2999} {
		got := tailed(t, l.Reader(), n, Filter{Event: "login"})
		if len(got) != n || got[0] != fmt.Sprint(3000-n) || got[n-1] != "2999" {
			t.Errorf("last %d: got %d", n, len(got))
		}
	}
}

func TestTailFollows(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprint("own=", own), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cfg := config(dir)
			cfg.SegmentSize = 1024
			l := open(t, cfg)
			r := NewReader(dir)
			if own {
				r = l.Reader()
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			commit := func(user string) {
				if err := l.Commit(ctx, login(user)); err != nil {
					t.Error(err)
				}
			}
			commit("0")
			next := 0
			for rec, err := range r.Tail(ctx, 1, true, Filter{Event: "login"}) {
				if err != nil {
					t.Fatal(err)
				}
				if got, want := rec.Event.User, fmt.Sprint(next); got != want {
					t.Fatalf("got %s, want %s", got, want)
				}
				if own && rec.Event.Seq > l.Durable() {
					t.Errorf("seq %d was shown, durable is %d", rec.Event.Seq, l.Durable())
				}
				if next++; next == 20 {
					cancel()
				} else {
					commit(fmt.Sprint(next))
				}
			}
			if next != 20 {
				t.Errorf("got %d events, want 20", next)
			}
		})
	}
}

func TestTailEndsWhenTheLogIsClosed(t *testing.T) {
	t.Parallel()
	l := open(t, config(t.TempDir()))
	var verbs []string
	for rec, err := range l.Reader().Tail(t.Context(), 1, true, Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if verbs = append(verbs, string(rec.Event.Verb)); len(verbs) == 1 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := fmt.Sprint(verbs), "[start stop checkpoint]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A reader that is slower than the writer comes to an end: what is written while
// it reads is not for it.
func TestQueryOfAGrowingRecordEnds(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	cfg.SegmentSize = 4 << 10
	l := open(t, cfg)
	commit := func() {
		if err := l.Commit(t.Context(), benchLogin()); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		commit()
	}
	for name, r := range map[string]*Reader{"own": l.Reader(), "foreign": NewReader(cfg.Dir)} {
		seen, before := 0, l.Durable()
		for _, err := range r.Query(t.Context(), Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if seen++; int64(seen) > before {
				t.Fatalf("%s: %d events of a record that had %d", name, seen, before)
			}
			commit()
		}
		if int64(seen) != before {
			t.Errorf("%s: got %d events, want %d", name, seen, before)
		}
	}
}

// One event is found by its number, in whichever segment.
func TestAt(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	cfg.SegmentSize = 4096
	l := open(t, cfg)
	for range 100 {
		if err := l.Append(benchLogin()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*Reader{l.Reader(), NewReader(cfg.Dir)} {
		for seq := int64(1); seq <= 101; seq++ { // the first is of the record itself
			if rec, err := r.At(t.Context(), seq); err != nil || rec.Event.Seq != seq {
				t.Fatalf("seq %d: got %d, %v", seq, rec.Event.Seq, err)
			}
		}
		for _, seq := range []int64{-1, 0, 1000} {
			if _, err := r.At(t.Context(), seq); !errors.Is(err, ErrNoEvent) {
				t.Errorf("seq %d: got %v", seq, err)
			}
		}
	}
}
