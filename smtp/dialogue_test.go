package smtp

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gateway/session"
	"gateway/session/sessiontest"
)

// TestDialogues plays testdata/dialogue/*.txt. A file is a test and documentation:
//
//	# a comment
//	! clear | implicit | relay | notls   how the server is set up
//	! policy=device listener=mfp         by the rules of testdata/policy/device.hcl, under a name
//	S: 250 2.1.0 *                       a line from the server; * stands for anything
//	C: NOOP                              a line from the client
//	R: "a\rb"                            bytes from the client, as a Go string
//	TLS                                  the client begins the handshake
//	END                                  the server closes
//	E: mail done                         an event of the record, in order, when all is over
//	Q: Subject: *                        a line of the last message in the queue
//
// Client lines that follow each other are sent in one write.
func TestDialogues(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/dialogue/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			play(t, strings.Split(strings.TrimRight(string(text), "\n"), "\n"))
		})
	}
}

func play(t *testing.T, lines []string) {
	var settings, wantEvents, wantLines []string
	for _, line := range lines {
		switch {
		case strings.HasPrefix(line, "! "):
			settings = append(settings, strings.Fields(line[2:])...)
		case strings.HasPrefix(line, "E: "):
			wantEvents = append(wantEvents, line[3:])
		case strings.HasPrefix(line, "Q:"):
			wantLines = append(wantLines, strings.TrimPrefix(line[2:], " "))
		}
	}
	implicit := slices.Contains(settings, "implicit")
	var f *fixture
	var rules sessiontest.Rules
	change := func(cfg *Config) {
		cfg.Implicit = implicit
		if slices.Contains(settings, "relay") {
			cfg.Protocol = session.Relay
		}
		if slices.Contains(settings, "notls") {
			cfg.TLS = nil
		}
		for _, setting := range settings {
			if name, ok := strings.CutPrefix(setting, "listener="); ok {
				cfg.Name = name
			}
		}
	}
	for _, setting := range settings {
		if name, ok := strings.CutPrefix(setting, "policy="); ok {
			rules = policy(t, name)
		}
	}
	if slices.Contains(settings, "clear") {
		f = newFixture(t, anything, change)
	} else {
		f = newFixture(t, rules, change)
	}
	p := dialPeer(t, f.listen(t), implicit)
	converse(t, p, lines)
	_ = p.conn.Close()
	if err := f.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.Record.Outcomes(); !slices.Equal(got, wantEvents) {
		t.Errorf("events\n got %q\nwant %q", got, wantEvents)
	}
	checkMail(t, f.queue.all(), wantLines)
	if strings.Contains(f.log.String(), "panic") {
		t.Errorf("log: %s", f.log)
	}
}

func converse(t *testing.T, p *peer, lines []string) {
	var pending strings.Builder
	flush := func() {
		if pending.Len() > 0 {
			p.raw(pending.String())
			pending.Reset()
		}
	}
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "C:"):
			pending.WriteString(strings.TrimPrefix(line[2:], " ") + "\r\n")
		case strings.HasPrefix(line, "R: "):
			raw, err := strconv.Unquote(line[3:])
			if err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
			pending.WriteString(raw)
		case strings.HasPrefix(line, "S: "):
			flush()
			got, err := p.r.ReadString('\n')
			if err != nil || !sessiontest.Like(strings.TrimSuffix(got, "\r\n"), line[3:]) {
				t.Fatalf("line %d: got %q %v, want %q", i+1, got, err, line[3:])
			}
		case line == "TLS":
			flush()
			p.startTLS()
		case line == "END":
			flush()
			p.expectEnd()
		case line == "", line[0] == '#', line[0] == '!', strings.HasPrefix(line, "E: "), strings.HasPrefix(line, "Q:"):
		default:
			t.Fatalf("line %d: %q is no step", i+1, line)
		}
	}
	flush()
}

// checkMail compares the last message, line by line.
func checkMail(t *testing.T, mails []mailed, want []string) {
	if len(want) == 0 {
		return
	}
	if len(mails) == 0 {
		t.Fatal("no message in the queue")
	}
	got := strings.Split(strings.TrimSuffix(mails[len(mails)-1].content, "\r\n"), "\r\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !sessiontest.Like(got[i], want[i]) {
			t.Fatalf("message line %d:\n got %q\nwant %q", i+1, got, want)
		}
	}
}

// eventually waits for something that another goroutine does.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(peerPatience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
