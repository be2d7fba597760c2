package ftp

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"strings"
	"testing"
	"time"

	"gateway/session"
	"gateway/storage"
)

func TestParseHost(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Files.Example.COM": "files.example.com", "example.": "example", "a_b.c-d": "a_b.c-d", "192.0.2.7": "192.0.2.7",
		"[2001:DB8::7]": "2001:db8::7", "[::1": "", "::1": "", "[192.0.2.7]": "", "[fe80::1%eth0]": "", "": "", ".": "", "a..b": "",
		"-a": "", "a-": "", "a b": "", "a/b": "", "a\x00": "", strings.Repeat("a", 64): "", strings.Repeat("a.", 128): "",
		"example..": "",
	} {
		got, err := parseHost(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestParseMode(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]fs.FileMode{
		"0": 0, "644": 0o644, "0640": 0o640, "4755": fs.ModeSetuid | 0o755, "2000": fs.ModeSetgid, "1777": fs.ModeSticky | 0o777,
	} {
		if got, ok := parseMode(in); !ok || got != want {
			t.Errorf("%q: got %v, %v, want %v", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "8", "07777", "-644", "+644", "0x1", "u+x", "64 4"} {
		if got, ok := parseMode(in); ok {
			t.Errorf("%q: got %v, want a refusal", in, got)
		}
	}
}

// SITE IDLE shortens how long silence is borne, until the next user.
func TestIdleIsShortened(t *testing.T) {
	t.Parallel()
	cfg := Config{IdleTimeout: time.Minute, LoginGrace: time.Hour}.withDefaults()
	c := &conn{cfg: &cfg, lastCommand: time.Now(), began: time.Now()}
	c.reset()
	for arg, want := range map[string]time.Duration{"40": 40 * time.Second, "3600": time.Minute, "1": time.Minute, "-40": time.Minute, "": time.Minute} {
		c.reset()
		c.siteIdle(t.Context(), arg)
		if at, _ := c.deadline(); at.Sub(c.lastCommand) != want {
			t.Errorf("SITE IDLE %s: got %s, want %s", arg, at.Sub(c.lastCommand), want)
		}
	}
}

// The average is taken over a window, not over the whole transfer: what was quick
// once may not drip for ever.
func TestTooSlow(t *testing.T) {
	t.Parallel()
	const window, rate = 10 * time.Second, 100
	now := time.Now()
	tr := &running{}
	look := func(after time.Duration, moved int64, want bool) {
		t.Helper()
		now = now.Add(after)
		tr.progress.Add(moved)
		if got := tr.tooSlow(now, window, rate); got != want {
			t.Errorf("%d bytes in %s: got %v, want %v", moved, after, got, want)
		}
	}
	look(time.Hour, 0, false) // waiting for the data connection has its own limit
	tr.copying.Store(true)
	look(9*time.Second, 0, false)
	look(time.Second, 1000, false)
	look(10*time.Second, 1<<30, false)
	look(5*time.Second, 1, false)
	look(5*time.Second, 998, true)
	tr.copying.Store(false)
	look(time.Hour, 0, false) // committing takes what it takes
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"example.com", "[::1]", "[", "a..b", strings.Repeat("a.", 200), "xn--bcher-kva.example", "[::ffff:1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := parseHost(s)
		if err == nil && (name == "" || len(name) > maxHost || strings.ContainsAny(name, " []\r\n\x00/")) {
			t.Fatalf("%q: %q", s, name)
		}
	})
}

func FuzzFacts(f *testing.F) {
	for _, s := range []string{
		"Modify=20240229123456;UNIX.mode=0600; f", "modify=20240229123456; a b", "=; f", ";; f", "UNIX.mode=7777; f", "Create=1; f",
		"Type;Size;", strings.Repeat("Modify=;", 100) + " f",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		attr, shown, name, err := parseMFF(s)
		switch {
		case err != nil:
			if !errors.Is(err, errFact) && !errors.Is(err, errFactValue) {
				t.Fatal(err)
			}
		case name == "" || !strings.HasSuffix(s, " "+name) || !strings.HasSuffix(shown, ";") || attr.ModTime == nil && attr.Perm == nil:
			t.Fatalf("%q: %+v %q %q", s, attr, shown, name)
		}
		set := parseFacts(s)
		if again := parseFacts(set.names()); again != set {
			t.Fatalf("%q: %b, and again %b", s, set, again)
		}
	})
}

func FuzzDigestArguments(f *testing.F) {
	for _, s := range []string{"0 49", "1 0", "9223372036854775807 9223372036854775807", `"a b" 1 2`, "a b 1 2", `"`, "f 1 2", "1 2", " 1 2"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, exists bool) {
		if from, until, ok := parseRange(s); ok && (from < 0 || until != 0 && until <= from) {
			t.Fatalf("%q: %d-%d", s, from, until)
		}
		name, from, until, ok := parseChecksum(s, func(string) bool { return exists })
		if ok && (name == "" || !strings.Contains(s, name) || from < 0 || until < 0 || until != 0 && until <= from) {
			t.Fatalf("%q: %q %d-%d", s, name, from, until)
		}
		if algorithm, known := algorithmIndex(s); known && !strings.EqualFold(algorithms()[algorithm].name, s) {
			t.Fatalf("%q: %d", s, algorithm)
		}
	})
}

func FuzzSiteArguments(f *testing.F) {
	for _, s := range []string{
		"20240229123456 f", "202402291234 f", "f 20240229123456 20240229123456 20240229123456 UTC", `"a ""b"" c" d`, `"`, `""`, `"a"b`, "a b c",
		" 20240229123456 20240229123456 20240229123456 UTC",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if attr, name, ok := parseUtime(s); ok && (name == "" || attr.ModTime == nil || attr.ModTime.Year() > 9999) {
			t.Fatalf("%q: %+v %q", s, attr, name)
		}
		names, ok := parseNames(s)
		for _, name := range names {
			if ok && name == "" {
				t.Fatalf("%q: %q", s, names)
			}
		}
	})
}

// entries is a folder without a record.
type entries iter.Seq2[storage.Info, error]

func (e entries) Entries(context.Context) iter.Seq2[storage.Info, error] {
	return iter.Seq2[storage.Info, error](e)
}
func (e entries) Carried(session.Channel)                  {}
func (e entries) Close(_ context.Context, err error) error { return err }

// FuzzGlob: whatever the pattern, each entry is looked at once and none is made up,
// and sorting loses none.
func FuzzGlob(f *testing.F) {
	for _, s := range []string{"*", "*a*a*a*a*b", "[a-", "[]a]", "?\\", "-t *", "{a,b}", strings.Repeat("*?", 8)} {
		f.Add(s, "aaaa", ".b")
	}
	f.Fuzz(func(t *testing.T, pattern, one, other string) {
		opts, name := parseListArgument(pattern)
		if !isPattern(name) {
			return
		}
		l := &listing{opts: opts, pattern: name, first: entries(func(yield func(storage.Info, error) bool) {
			_ = yield(storage.Info{Name: one}, nil) && yield(storage.Info{Name: other}, nil)
		})}
		l.opts.recursive = false
		shown := 0
		for r, err := range l.rows(context.Background()) {
			if err != nil || r.info.Name != one && r.info.Name != other {
				t.Fatalf("%q: %+v, %v", pattern, r, err)
			}
			shown++
		}
		if shown > 2 {
			t.Fatalf("%q: %d entries of 2", pattern, shown)
		}
	})
}

// Sorting is bounded: what does not fit is shown all the same, behind the rest.
func TestSortingIsBounded(t *testing.T) {
	t.Parallel()
	const count = maxSorted + 5
	many := entries(func(yield func(storage.Info, error) bool) {
		for i := range count {
			if !yield(storage.Info{Name: decimal(int64(count - i)), ModTime: time.Unix(int64(i), 0)}, nil) {
				return
			}
		}
	})
	l := &listing{opts: listOptions{byTime: true}, first: many}
	var last time.Time
	n := 0
	for r, err := range l.rows(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && n < maxSorted && r.info.ModTime.After(last) {
			t.Fatalf("entry %d is newer than the one before", n)
		}
		last = r.info.ModTime
		n++
	}
	if n != count {
		t.Errorf("got %d entries, want %d", n, count)
	}
}

func FuzzOpts(f *testing.F) {
	for _, s := range []string{"UTF8 ON", "UTF-8", "UTF8 OFF", "MLST Type;Size;", "MLST", "HASH", "HASH crc32", "HASH CRC-37", "X", " ", "MLST \n200 x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := &conn{cfg: &Config{}}
		r := c.opts(context.Background(), s)
		if r.code != 200 && r.code != 501 && r.code != 504 || strings.Contains(r.text, "\n") || algorithms()[c.hash].name == "" || c.facts > allFacts {
			t.Fatalf("%q: %v", s, r)
		}
	})
}
