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
		"-peers=false", "-size=1", "-rounds=1", "-messages=40", "-logins=8", "-accounts=2", "-idle=4", "-dir", dir, "-files", dir,
	}, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		"SFTP put", "SFTP get", "FTP put", "FTP get", "FTPS put", "FTPS get", "SFTP, key", "SFTP, password, hashed",
		"SFTP, password, from the memo", "FTP, password, from the memo", "FTPS, password, from the memo",
		"accepted durably", "submission, TLS",
	} {
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
	err := run(ctx, []string{"-peers=false", "-only=logins", "-logins=1000000", "-accounts=1", "-dir", dir, "-files", dir}, io.Discard, progress)
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
		"unknown subject": {"-only", "sftp,nfs"},
		"no rounds":       {"-rounds", "0"},
		"no size":         {"-size", "0"},
		"size overflows":  {"-size", "9223372036854775807"},
		"argument":        {"sftp"},
		"unknown flag":    {"-fast"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%s: got no error for %q", name, args)
		}
	}
	o, err := parse([]string{"-only", "ftp,idle", "-size", "64"}, io.Discard)
	if err != nil || !o.wants("ftp") || o.wants("sftp") || o.size != 64<<20 {
		t.Errorf("got %+v, %v", o, err)
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
		{"FTP get", 1, []result{{"gateway", 1234.5, .25, .5}}},
	}}.print(&out)
	want := []string{
		"transfers at once gateway MB/s peer ratio gateway CPU s/GiB peer ratio busy, gateway/peer",
		"SFTP get 4 300 OpenSSH 200 1.50 1.50 3.00 0.50 90% / 80%",
		"FTP get 1 1234 - - 0.25 - - 50%",
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
