package ftp_test

import (
	"strings"
	"testing"

	"gateway/ftp"
)

// Renaming through links, onto them, and out of the tree: the links themselves are
// moved or replaced, what they lead to stays where it is.
func TestRenameAcrossLinks(t *testing.T) {
	t.Parallel()
	f, _ := startLocal(t, ftp.Config{})
	c := f.dial(t).login()
	rename := func(from, to, want string) {
		t.Helper()
		c.do("RNFR "+from, "350 *")
		c.do("RNTO "+to, want)
	}
	c.do("MKD a", "257 *")
	c.do("MKD b", "257 *")
	c.stor("STOR a/file", "content", "226 *")
	c.stor("STOR b/other", "other", "226 *")
	c.do("SITE SYMLINK a link", "200 *")
	c.do("SITE SYMLINK a/file filelink", "200 *")
	c.do("SITE SYMLINK loop2 loop1", "200 *")
	c.do("SITE SYMLINK loop1 loop2", "200 *")
	rename("link/file", "b/moved", "250 *")     // through a link
	rename("b/moved", "link/back", "250 *")     // into one
	rename("a/back", "filelink", "250 *")       // onto one: the link is replaced
	rename("b/other", "a/file", "250 *")        // where it led to
	rename("link", "renamed", "250 *")          // one itself
	rename("renamed", "a/inside", "250 *")      // into what it leads to
	rename("a", "a/inside", "5*")               // a folder below itself
	rename("a", "a/inside/deep", "5*")          // and through a link
	rename("filelink", "../../../out", "250 *") // above the root is the root
	rename("out", "loop1/x", "5*")
	rename("loop1", "loop3", "250 *")
	rename("out", "b", "5*") // a file over a folder
	rename("b", "out", "5*") // and the other way
	c.do("RNFR loop2/x", "550 *")
	c.do("RNTO y", "503 *")
	c.do("TYPE I", "200 *")
	if got := c.retr("RETR out"); got != "content" {
		t.Errorf("got %q", got)
	}
	if got := c.retr("RETR a/file"); got != "other" {
		t.Errorf("got %q", got)
	}
	if got := names(c.retr("NLST -r")); got != "out loop3 loop2 b a" {
		t.Errorf("got %q", got)
	}
}

// Names on which rules hang cannot be moved, replaced or moved onto, nor what is
// above them; and a rename needs the right on both sides.
func TestRenameDoesNotMoveRules(t *testing.T) {
	t.Parallel()
	f, _ := startLocal(t, ftp.Config{})
	c := f.dial(t).login()
	for _, folder := range []string{"in", "out", "deep", "deep/box", "free", "fixed"} {
		c.do("MKD "+folder, "257 *")
	}
	c.stor("STOR in/x", "secret", "226 *")
	c.stor("STOR y", "mine", "226 *")
	f.core.Accounts.Allow("alice", permit(t, "/=all /in=drop /deep/box=list /out/none=read /fixed=list,read"))
	c = f.dial(t).login()
	for _, move := range []string{
		"in|taken", "deep|other", "deep/box|box", "free|in", "y|in", "free|deep", "free|deep/box", "y|out/none", "free|out/none", "free|out",
		"in/x|x", "in/x|out/x", "y|in/y", "y|in/x", "y|fixed/y", "y|deep/box/y", "in/../in/x|x", "/|x", "x|/", "y|.", "y|in/..",
	} {
		from, to, _ := strings.Cut(move, "|")
		if got := c.sent("RNFR " + from); strings.HasPrefix(got, "350") {
			c.do("RNTO "+to, "550 *")
		} else if !strings.HasPrefix(got, "550") {
			t.Errorf("%s: got %q", move, got)
		}
	}
	c.do("RMD in", "550 *")
	c.do("RNFR y", "350 *")
	c.do("RNTO free/y", "250 *")
}

// RNFR may be said again, the same name too; the last one counts.
func TestRenameFromIsSaidAgain(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "a", "1")
	f.tree.put(t, "b", "2")
	c := f.dial(t).login()
	c.do("RNFR b", "350 *")
	c.do("RNFR a", "350 *")
	c.do("RNFR a", "350 *")
	c.do("RNTO c", "250 *")
	if f.tree.get(t, "c") != "1" || !f.tree.has("b") {
		t.Error("the wrong file was renamed")
	}
	c.do("RNFR b", "350 *")
	c.do("RNFR missing", "550 *")
	c.do("RNTO d", "503 *")
}
