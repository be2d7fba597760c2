package ftp_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/session"
)

// names are the last words of the lines of a listing.
func names(text string) string {
	var list []string
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		list = append(list, line[strings.LastIndexByte(line, ' ')+1:])
	}
	return strings.Join(list, " ")
}

func TestListOptions(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	for i, name := range []string{"b", "a", "d/e/z", "d/y", "c"} {
		f.tree.put(t, name, "1")
		at := time.Date(2020, 1, 1+i, 0, 0, 0, 0, time.UTC)
		if err := os.Chtimes(filepath.Join(f.tree.dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	for name, do := range map[string]error{
		"up": os.Symlink("..", filepath.Join(f.tree.dir, "d", "up")), "a": os.Chmod(filepath.Join(f.tree.dir, "a"), 0o755),
	} {
		if do != nil {
			t.Fatalf("%s: %v", name, do)
		}
	}
	at := time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(f.tree.dir, "d"), at, at); err != nil {
		t.Fatal(err)
	}
	c := f.dial(t).login()
	for command, want := range map[string]string{
		"LIST":         "a b c d",
		"LIST -a":      "a b c d",
		"LIST -la -1":  "a b c d",
		"LIST -t":      "c a b d",
		"LIST -tr":     "d b a c",
		"LIST -r":      "d c b a",
		"LIST -lF":     "a* b c d/",
		"LIST -F d":    "e/ up@ y",
		"LIST -R":      ".: a b c d  ./d: e up y  ./d/e: z",
		"LIST -R d":    "d: e up y  d/e: z",
		"LIST -lR /d/": "/d: e up y  /d/e: z",
		"LIST -R a*":   "a",
		"LIST -R a":    "a",
		"NLST -R":      "a b c d d/e d/up d/y d/e/z",
		"NLST -R d":    "d/e d/up d/y d/e/z",
		"NLST -F":      "a* b c d/",
		"NLST -r [ab]": "b a",
		"NLST -Q":      "a b c d",
		"NLST */":      "/a /b /c /d",
		"NLST d/y*/":   "/d/y",
		"NLST a/.":     "/a",
		"NLST d/.":     "d/./e d/./up d/./y",
	} {
		if got := names(c.retr(command)); got != want {
			t.Errorf("%s: got %q, want %q", command, got, want)
		}
	}
	if got := names(c.retr("LIST -lr -- d")); got != "y up e" {
		t.Errorf("LIST -lr -- d: got %q", got)
	}
	if got := names(c.retr("NLST -R /")); !strings.HasPrefix(got, "/a /b /c /d /d/e") {
		t.Errorf("NLST -R /: got %q", got)
	}
}

// A recursive listing that is cut says so, or a mirror would remove what it does
// not see. Each folder shown is decided and recorded.
func TestRecursiveListingIsBounded(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, strings.Repeat("d/", ftp.MaxDepth+5)+"f", "1")
	c := f.dial(t).login()
	d := c.data()
	c.do("LIST -R", "150 *")
	_, _ = io.Copy(io.Discard, d)
	c.expect("451 Listing not complete*")
	lists := 0
	for _, e := range f.core.Record.Events(session.EventFile) {
		if e.Verb == session.List {
			lists++
		}
	}
	if lists != ftp.MaxDepth+1 {
		t.Errorf("recorded %d folders, want %d", lists, ftp.MaxDepth+1)
	}
	c.do("CWD "+strings.Repeat("d/", ftp.MaxDepth), "250 *")
	if got := names(c.retr("LIST -R")); !strings.Contains(got, "f") {
		t.Errorf("deeper: got %q", got)
	}
}

// CVE-2011-0418 and its kin: wildcards cost what a folder costs, not more.
func TestGlobsAreBounded(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	for i := range 50 {
		f.tree.put(t, strings.Repeat("a", 200)+itoa(i), "1")
	}
	c := f.dial(t).login()
	began := time.Now()
	for _, pattern := range []string{
		strings.Repeat("*a", 8) + "b", strings.Repeat("*", 100), "{{*},{*},{*},{*}}", strings.Repeat("*/../", 200) + "*b",
		strings.Repeat("[", 250), strings.Repeat("*?", 8) + "[^a]", strings.Repeat("{a,b}", 100),
	} {
		answered(t, pattern[:10], c.do("STAT "+pattern, "*"))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

// By default both types move the bytes as they are, and a text file that was sent
// in TYPE A comes back as it was; restarting works in both.
func TestASCIIWithoutConversion(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "f", "a\nb\r\nc\x00\xff")
	c := f.dial(t).login()
	c.do("TYPE A", "200 *")
	if got := c.retr("RETR f"); got != "a\nb\r\nc\x00\xff" {
		t.Errorf("got %q", got)
	}
	c.do("REST 2", "350 *")
	if got := c.retr("RETR f"); got != "b\r\nc\x00\xff" {
		t.Errorf("restarted: got %q", got)
	}
	c.stor("STOR g", "x\r\ny\n", "226 *")
	if got := f.tree.get(t, "g"); got != "x\r\ny\n" {
		t.Errorf("stored %q", got)
	}
}
