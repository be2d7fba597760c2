//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The whole of it on next to nothing, so that it does not rot between releases.
func TestRunPrintsEveryRow(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds and starts a gateway")
	}
	dir := t.TempDir()
	var out bytes.Buffer
	err := run(t.Context(), []string{
		"-peers=none", "-size=1", "-rounds=1", "-messages=40", "-logins=8", "-accounts=2", "-idle=4", "-guessing=1",
		"-small=8", "-entries=20", "-uploads=2", "-dir", dir, "-files", dir,
	}, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	rows := []string{
		"SFTP put", "SFTP get", "FTP put", "FTP get", "FTPS put", "FTPS get", "SFTP, key", "SFTP, password, hashed",
		"SFTP, password, from the memo", "FTP, password, from the memo", "FTPS, password, from the memo",
		"submission, TLS", "mail in clear", "FTP, 20 entries",
	}
	if _, err := findProgram("sftp"); err == nil {
		rows = append(rows, "SFTP put, aes128-gcm@openssh.com", "SFTP get, its own cipher", "SFTP put, 4 KiB", "SFTP get, 4 KiB", "SFTP, 20 entries")
	}
	if _, err := findProgram("smtp-source"); err == nil {
		rows = append(rows, "accepted, a connection each", "accepted, kept connections", "accepted, 64 KiB, kept", "STARTTLS, AUTH, one, QUIT", "relayed")
	}
	for _, row := range rows {
		if !strings.Contains(out.String(), "\n"+row+" ") {
			t.Errorf("no row %q in\n%s", row, out.String())
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: got %v, %v, want nothing", left, err)
	}
}

// Ctrl-C in the middle must leave neither processes nor folders.
func TestInterruptedRunLeavesNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds and starts a gateway")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The logins begin when their first line of progress is written.
	progress := writerFunc(func(p []byte) (int, error) {
		if bytes.HasPrefix(p, []byte("SFTP, key")) {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		return len(p), nil
	})
	err := run(ctx, []string{"-peers=none", "-only=sftp-logins", "-logins=1000000", "-accounts=1", "-dir", dir, "-files", dir}, io.Discard, progress)
	if err == nil || err.Error() != "interrupted" {
		t.Errorf("run: got %v, want interrupted", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: got %v, %v, want nothing", left, err)
	}
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		line, err := os.ReadFile(name)
		if err == nil && bytes.Contains(line, []byte(dir)) {
			t.Errorf("still runs: %q", line)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestParseRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"unknown word":   {"-only", "sftp,nfs"},
		"unknown part":   {"-only", "sftp-mail"},
		"no rounds":      {"-rounds", "0"},
		"no size":        {"-size", "0"},
		"size overflows": {"-size", "9223372036854775807"},
		"argument":       {"sftp"},
		"unknown flag":   {"-fast"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%s: got no error for %q", name, args)
		}
	}
	o, err := parse([]string{"-only", "ftp-small,idle", "-size", "64"}, io.Discard)
	if err != nil || o.size != 64<<20 {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, part := range []struct {
		protocol, subject string
		want              bool
	}{{"ftp", "small", true}, {"ftp", "list", false}, {"sftp", "idle", true}, {"sftp", "logins", false}} {
		if got := o.wants(part.protocol, part.subject); got != part.want {
			t.Errorf("%s-%s is wanted: got %v, want %v", part.protocol, part.subject, got, part.want)
		}
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	// The name holds what could be taken for the end of it.
	const line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1 0 98765 1000000 50"
	p, err := parseStat(42, line)
	want := process{pid: 42, parent: 7, began: "98765", cpu: 1100 * time.Millisecond}
	if err != nil || p != want {
		t.Errorf("got %+v, %v, want %+v", p, err, want)
	}
	for _, bad := range []string{"", "42 (a)", strings.Replace(line, " 22 ", " x ", 1), strings.Replace(line, "S 7 ", "S x ", 1)} {
		if p, err := parseStat(42, bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, p)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("42 (a) S 7 42 42 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1 0 98765 1000000 50")
	f.Add(")))) ")
	f.Fuzz(func(t *testing.T, stat string) {
		if p, err := parseStat(1, stat); err == nil && p.began == "" {
			t.Errorf("%q: got no beginning", stat)
		}
	})
}

func TestParseControlGroupAndMemory(t *testing.T) {
	t.Parallel()
	if got, err := parseUsage("usage_usec 1500000\nuser_usec 1\n"); err != nil || got != 1500*time.Millisecond {
		t.Errorf("usage: got %v, %v, want 1.5s", got, err)
	}
	if got, err := parsePss("55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPss:            123 kB\nPss_Dirty: 1 kB\n"); err != nil || got != 123<<10 {
		t.Errorf("pss: got %d, %v, want %d", got, err, 123<<10)
	}
	if _, err := parseUsage("user_usec 1\n"); err == nil {
		t.Error("cpu.stat without usage: got no error")
	}
	if _, err := parsePss("Pss: many kB\n"); err == nil {
		t.Error("Pss that is no number: got no error")
	}
}

func TestMedianTakesEachFiguresOwn(t *testing.T) {
	t.Parallel()
	got := median([]sample{{3, 10, .5}, {1, 30, .7}, {2, 20, .1}})
	if want := (sample{2, 20, .5}); got != want {
		t.Errorf("of three: got %v, want %v", got, want)
	}
	got = median([]sample{{10, 1, 0}, {20, 3, 1}})
	if want := (sample{15, 2, .5}); got != want {
		t.Errorf("of two: got %v, want %v", got, want)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	table{transfers, []row{
		{"SFTP get", 4, []result{{"gateway", 300, 1.5, .9}, {"OpenSSH", 200, 3, .8}}},
		{"FTP get", 1, []result{{"gateway", 1200, .25, .5}, {"a", 1000, .5, .6}, {"b", 1500, .25, .7}, {"c", 100, .75, .8}}},
		{"FTP put", 1, []result{{"gateway", 1234.5, .25, .5}, {"a", 0, 0, .6}, {"b", 0, 0, .7}, {"c", 0, 0, .8}}},
	}, []string{"a note"}}.print(&out)
	table{idling, []row{{"FTP", 9, []result{{server: "gateway", rate: 12}, {server: "a", rate: 24}, {server: "b", rate: 48}}}}, nil}.print(&out)
	table{idling, []row{{"FTP", 9, []result{{server: "gateway", rate: 12}}}}, nil}.print(&out)
	want := []string{
		"transfers, MB/s at once gateway OpenSSH ratio to best peer busy, in that order",
		"SFTP get 4 300 200 1.50 OpenSSH 90% 80%",
		"transfers, CPU s/GiB at once gateway OpenSSH ratio to best peer",
		"SFTP get 4 1.50 3.00 0.50 OpenSSH",
		"",
		"transfers, MB/s at once gateway a b c ratio to best peer busy, in that order",
		"FTP get 1 1200 1000 1500 100 0.80 b 50% 60% 70% 80%",
		"FTP put 1 1234 0.00 0.00 0.00 - a 50% 60% 70% 80%",
		"transfers, CPU s/GiB at once gateway a b c ratio to best peer",
		"FTP get 1 0.25 0.50 0.25 0.75 1.00 b",
		"FTP put 1 0.25 0.00 0.00 0.00 - a",
		"a note",
		"idle sessions, KiB each at once gateway a b ratio to best peer",
		"FTP 9 12.0 24.0 48.0 0.50 a",
		"idle sessions, KiB each at once gateway ratio to best peer",
		"FTP 9 12.0 -",
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), out.String())
	}
	for i, line := range lines {
		if got := strings.Join(strings.Fields(line), " "); got != want[i] {
			t.Errorf("line %d: got %q, want %q", i, got, want[i])
		}
	}
}

// strace splits a call that another thread interrupts.
func TestTraceSummary(t *testing.T) {
	t.Parallel()
	got := summary(`11 sendfile(9, 10, NULL, 4194304) = 1048576
12 read(3, ""..., 4096) = -1 EAGAIN (Resource temporarily unavailable)
11 sendfile(9, 10, NULL, 4194304 <unfinished ...>
12 write(3, ""..., 24) = 24
11 <... sendfile resumed>) = 2097152
12 +++ exited with 0 +++
`)
	if want := "sendfile 2 (3.0 MiB), write 1 (0.0 MiB)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
