package ftp_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/session"
	"gateway/session/sessiontest"
)

// syncBuffer is a buffer that a logger writes and a test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestDialogues plays testdata/dialogue. A line "C:" is sent, "S:" is awaited
// with "*" for anything ("S: EOF" is the end), "TLS" does the handshake, "L: a | b"
// wants the logins of the record to be exactly those outcomes, "+" sends text without waiting, with \r\n and \xNN as in Go
// strings. The first lines may be "# words" and "@ encrypted" for the rule that
// refuses clear logins, "@ brownout" for one that does for a while, "@ warned" for one
// that will. The tree holds hello.txt and folder "sub".
func TestDialogues(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/dialogue/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	certificate := serverTLS(t)
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			play(t, string(text), ftp.Config{TLS: certificate, Hostname: "files.example.com"})
		})
	}
}

func play(t *testing.T, text string, cfg ftp.Config) {
	var rules sessiontest.Rules
	if strings.Contains(text, "\n@ encrypted") {
		rules = sessiontest.Encrypted
	}
	if strings.Contains(text, "\n@ brownout") {
		rules = func(q session.Request) session.Verdict {
			v := sessiontest.Encrypted(q)
			v.Retry = time.Date(2027, 3, 1, 10, 5, 0, 0, time.UTC)
			return v
		}
	}
	if strings.Contains(text, "\n@ warned") {
		rules = func(session.Request) session.Verdict {
			return session.Verdict{Allowed: true, Notice: "From 2027-04-01 on, use TLS."}
		}
	}
	if strings.Contains(text, "\n@ no certificate") {
		cfg.TLS = nil
	}
	f := start(t, rules, cfg)
	f.tree.put(t, "hello.txt", "hello\n")
	f.tree.put(t, "sub/inner.txt", "inner\n")
	c := f.dialSilent(t)
	for i, row := range strings.Split(text, "\n") {
		kind, rest, _ := strings.Cut(row, " ")
		switch kind {
		case "", "#", "@":
		case "C:":
			c.send(rest + "\r\n")
		case "+":
			c.send(unescape(t, rest))
		case "S:":
			if got := c.line(); !sessiontest.Like(got, rest) {
				t.Fatalf("line %d: got %q, want %q", i+1, got, rest)
			}
		case "TLS":
			c.handshake()
		case "L:":
			var got []string
			for _, e := range f.core.Record.Events("login") {
				got = append(got, e.Outcome+" "+string(e.Stage)+" "+e.Credential)
			}
			if want := strings.Split(rest, " | "); strings.Join(got, " | ") != strings.Join(want, " | ") {
				t.Fatalf("line %d: logins %q, want %q", i+1, got, want)
			}
		default:
			t.Fatalf("line %d: cannot read %q", i+1, row)
		}
	}
}

func unescape(t *testing.T, s string) string {
	t.Helper()
	text, err := strconv.Unquote(`"` + s + `"`)
	if err != nil {
		t.Fatalf("cannot read %q: %v", s, err)
	}
	return text
}
