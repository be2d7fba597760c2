package ftp_test

import (
	"context"
	"strings"
	"testing"

	"gateway/ftp"
	"gateway/session"
	"gateway/storage/local"
	"gateway/transfer"
)

// startLocal serves trees of the local system, one for each account, and returns
// where those are.
func startLocal(t *testing.T, cfg ftp.Config) (*fixture, local.Tree) {
	t.Helper()
	trees := local.Tree{Base: t.TempDir()}
	cfg.Files = func(_ context.Context, s *session.Session) (*transfer.Files, error) {
		tree, err := trees.Open(s.Identity().User, nil)
		return transfer.New(s, tree, transfer.Limits{}), err
	}
	return start(t, nil, cfg), trees
}

// permit is the access of "/=list,read /in=drop".
func permit(t *testing.T, text string) session.Access {
	t.Helper()
	var a session.Access
	for field := range strings.FieldsSeq(text) {
		path, words, _ := strings.Cut(field, "=")
		may, err := session.ParsePermissions(words)
		if err != nil {
			t.Fatal(err)
		}
		a.Rules = append(a.Rules, session.PathRule{Path: path, May: may})
	}
	return a
}

// In a drop box no verb tells a name that is there from one that is not: not a
// file, not a link, not what is below them.
func TestDropBoxTellsNoNames(t *testing.T) {
	t.Parallel()
	f, _ := startLocal(t, ftp.Config{})
	c := f.dial(t).login()
	c.do("MKD in", "257 *")
	c.stor("STOR in/report", "secret", "226 *")
	c.do("SITE SYMLINK report in/link", "200 *")
	c.do("SITE SYMLINK nowhere in/dangling", "200 *")
	c.do("SITE SYMLINK / in/root", "200 *")
	f.core.Accounts.Allow("alice", permit(t, "/=list,read /in=drop"))
	c = f.dial(t).login()
	for _, command := range []string{
		"SIZE in/%", "MDTM in/%", "MLST in/%", "STAT in/%", "STAT -l in/%", "CWD in/%", "RNFR in/%", "AVBL in/%",
		"SIZE in/%/x", "MLST in/%/..", "CWD in/%/x", "RNFR in/%/x", "STAT in/%/", "STAT in/%*", "STAT in/*%", "STAT in/?%",
		"HASH in/%", "XMD5 in/%", `XCRC "in/%" 0 1`, "XSHA in/% 0 1", "DELE in/%", "RMD in/%", "MKD in/%",
		"MFMT 20200101000000 in/%", "MDTM 20200101000000 in/%", "MFF Modify=20200101000000; in/%", "SITE CHMOD 600 in/%",
		"SITE UTIME 202001010000 in/%", "SITE SYMLINK x in/%", "SITE SYMLINK in/% y", "HASH in/%/x", "DELE in/%/x",
	} {
		want := c.sent(strings.ReplaceAll(command, "%", "nosuch"))
		for _, name := range []string{"report", "link", "dangling", "root"} {
			got := c.sent(strings.ReplaceAll(command, "%", name))
			if strings.ReplaceAll(got, name, "nosuch") != want {
				t.Errorf("%s: %s gets %q, a name that is not there %q", command, name, got, want)
			}
		}
	}
	for _, command := range []string{"RETR in/%", "NLST in/%", "LIST in/%*", "MLSD in/%", "NLST -R in/%"} {
		c.epsv()
		want := c.sent(strings.ReplaceAll(command, "%", "nosuch"))
		for _, name := range []string{"report", "link", "dangling", "root"} {
			if got := c.sent(strings.ReplaceAll(command, "%", name)); got != want {
				t.Errorf("%s: %s gets %q, a name that is not there %q", command, name, got, want)
			}
		}
	}
	if got := c.retr("NLST -R"); got != "in\r\n" {
		t.Errorf("NLST -R: %q", got)
	}
}

// sent sends a command and returns the reply.
func (c *client) sent(command string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	return c.reply()
}

// The fact Perm is what this account may do there, not what the mode says.
func TestPermFact(t *testing.T) {
	t.Parallel()
	f, _ := startLocal(t, ftp.Config{})
	c := f.dial(t).login()
	for _, folder := range []string{"in", "out"} {
		c.do("MKD "+folder, "257 *")
	}
	c.stor("STOR out/f", "x", "226 *")
	c.do("SITE SYMLINK f out/link", "200 *")
	c.do("OPTS MLST Perm;", "200 *")
	if got := c.retr("MLSD"); got != "Perm=cdeflmp; in\r\nPerm=cdeflmp; out\r\n" && got != "Perm=cdeflmp; out\r\nPerm=cdeflmp; in\r\n" {
		t.Errorf("with every right: %q", got)
	}
	c.do("MLST out/f", "250-*\n Perm=adfrw; /out/f\n250 End")
	f.core.Accounts.Allow("alice", permit(t, "/=list,read,delete /in=drop /out=list,read,create,append,rename"))
	c = f.dial(t).login()
	c.do("OPTS MLST Perm;", "200 *")
	for name, want := range map[string]string{"/": "elp", "/in": "ce", "/out": "cel", "/out/f": "afr"} {
		c.do("MLST "+name, "250-*\n Perm="+want+"; "+name+"\n250 End")
	}
	got := c.retr("MLSD out")
	if !strings.Contains(got, "Perm=afr; f\r\n") || !strings.Contains(got, "Perm=f; link\r\n") {
		t.Errorf("MLSD: %q", got)
	}
}
