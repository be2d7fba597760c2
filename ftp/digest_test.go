package ftp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/ftp"
	"gateway/session"
)

// A digest of a file that takes for ever leaves the connection free to speak,
// and ends at once when told to.
func TestDigestIsAborted(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "huge", "")
	if err := os.Truncate(filepath.Join(f.tree.dir, "huge"), 1<<40); err != nil {
		t.Skipf("no sparse file: %v", err)
	}
	c := f.dial(t).login()
	for _, verb := range []string{"HASH", "XSHA256"} {
		c.send(verb + " huge\r\n")
		c.do("NOOP", "200 *")
		c.do("STAT", "211-*"+verb+" in progress*")
		c.send("PWD\r\n")
		c.do("ABOR", "426 *")
		c.expect("226 *")
		c.expect("257 *")
	}
	c.send("HASH huge\r\n")
	c.do("NOOP", "200 *")
	_ = c.conn.Close()
	waitFor(t, func() bool { return len(f.core.Record.Events(session.EventConnection)) == 1 })
	if got := f.outcomes(); len(got) != 3 || got[2] != "read failed /huge" {
		t.Errorf("recorded %q", got)
	}
}

// A digest tells what is in a file, so it is recorded as reading it.
func TestDigestIsARead(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "f", "12345")
	f.tree.put(t, "with 1 2", "12345")
	c := f.dial(t).login()
	c.do("HASH f", "213 *")
	c.do("XCRC with 1 2", "250 *") // the name, not a range of "with"
	e := f.core.Record.Events(session.EventFile)
	if len(e) != 2 || e[0].Verb != session.Read || e[0].Bytes != 5 || e[0].Outcome != session.OutcomeDone || e[1].Path != "/with 1 2" {
		t.Errorf("recorded %+v", e)
	}
}

// RANG bounds a download, in clear and under TLS, and only the next one.
func TestRange(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	content := strings.Repeat("0123456789", 200_000)
	f.tree.put(t, "f", content)
	c := f.dial(t).login()
	for _, r := range []struct {
		arg      string
		from, to int
	}{
		{"0 0", 0, 1}, {"3 1500006", 3, 1_500_007}, {"1999999 1999999", 1_999_999, 2_000_000},
		{"1999998 9223372036854775806", 1_999_998, 2_000_000}, {"2000000 2000005", 2_000_000, 2_000_000}, {"1 0", 0, 2_000_000},
	} {
		c.do("RANG "+r.arg, "350 *")
		if got := c.retr("RETR f"); got != content[r.from:r.to] {
			t.Errorf("RANG %s: got %d bytes, want %d", r.arg, len(got), r.to-r.from)
		}
	}
	if got := c.retr("RETR f"); got != content {
		t.Errorf("after a range: got %d bytes", len(got))
	}
	c.do("RANG 1 2", "350 *")
	c.do("REST 5", "350 *") // replaces it
	if got := c.retr("RETR f"); got != content[5:] {
		t.Errorf("REST after RANG: got %d bytes", len(got))
	}
	c.do("RANG 0 9223372036854775807", "501 *")
	c.do("RANG 2000001 2000005", "350 *")
	c.epsv()
	c.do("RETR f", "554 *")
	c.do("RANG 1 2", "350 *")
	c.epsv()
	c.do("STOR new", "504 *")
	if f.tree.has("new") {
		t.Error("an upload with a range was begun")
	}
}
