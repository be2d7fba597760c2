package sftp

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

func ext(fields ...any) []byte { return send(200, append([]any{1}, fields...)...) }

// The rules know requests by the names that OpenSSH's sftp-server lists with -Q.
func TestRequestNames(t *testing.T) {
	t.Parallel()
	openssh := strings.Fields(`open close read write lstat fstat setstat fsetstat opendir readdir remove mkdir rmdir realpath stat rename
		readlink symlink posix-rename statvfs fstatvfs hardlink fsync lsetstat limits expand-path copy-data home-directory users-groups-by-id`)
	ours := []string{"check-file", "check-file-name", "check-file-handle", "vendor-id"}
	var names []string
	for kind := range 256 {
		if op := operationOf(byte(kind)); op.run != nil && kind != typeInit {
			names = append(names, op.name)
		}
	}
	for _, e := range extensions() {
		names = append(names, extensionOf(e.name).name)
	}
	want := append(openssh, ours...)
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

func TestCopyData(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.put(t, "f", "0123456789")
	read, write, both := send(3, 1, "f", openRead, 0), send(3, 1, "g", openWrite|openCreate|openTruncate, 0), send(3, 1, "g", openRead|openWrite|openCreate|openTruncate, 0)
	end := send(4, 1, nth(2))
	copyOf := func(from string, at, n int64, to string, off int64) []byte {
		return ext("copy-data", from, at, n, to, off)
	}
	for _, c := range []struct {
		name    string
		packets [][]byte
		codes   string
		want    string // in g; "-" if there is none
	}{
		{"to the end", [][]byte{read, write, copyOf(nth(1), 0, 0, nth(2), 0), end}, "type 102 type 102 0 0", "0123456789"},
		{"a part, twice", [][]byte{read, write, copyOf(nth(1), 2, 3, nth(2), 1), copyOf(nth(1), 0, 1, nth(2), 0), end}, "type 102 type 102 0 0 0", "0234"},
		{"behind what was written", [][]byte{read, write, send(6, 1, nth(2), int64(0), "ab"), copyOf(nth(1), 8, 0, nth(2), 2), end}, "type 102 type 102 0 0 0", "ab89"},
		{"more than there is", [][]byte{read, write, copyOf(nth(1), 8, 9, nth(2), 0), end}, "type 102 type 102 1 0", "89"},
		{"from behind the end", [][]byte{read, write, copyOf(nth(1), 99, 0, nth(2), 0), end}, "type 102 type 102 0 0", ""},
		{"from what is written", [][]byte{both, send(3, 1, "h", openWrite|openCreate, 0), send(6, 1, nth(1), int64(0), "xyz"), copyOf(nth(1), 1, 0, nth(2), 0), send(4, 1, nth(1)), end}, "type 102 type 102 0 0 0 0", "xyz"},
		{"from what may not be read", [][]byte{write, send(3, 1, "h", openWrite|openCreate, 0), copyOf(nth(1), 0, 0, nth(2), 0)}, "type 102 type 102 2", "-"},
		{"onto itself", [][]byte{both, copyOf(nth(1), 0, 0, nth(1), 0)}, "type 102 4", "-"},
		{"to what is read", [][]byte{read, read, copyOf(nth(1), 0, 0, nth(2), 0)}, "type 102 type 102 2", "-"},
		{"of a folder", [][]byte{send(11, 1, "/"), write, copyOf(nth(1), 0, 0, nth(2), 0), copyOf(nth(2), 0, 0, nth(1), 0)}, "type 102 type 102 4 4", "-"},
		{"unknown", [][]byte{read, copyOf(nth(1), 0, 0, nth(9), 0), copyOf(nth(9), 0, 0, nth(1), 0)}, "type 102 4 4", "-"},
		{"offsets", [][]byte{read, write, copyOf(nth(1), math.MinInt64, 0, nth(2), 0), copyOf(nth(1), 0, 0, nth(2), -1)}, "type 102 type 102 5 5", "-"},
		{"end beyond 2^63", [][]byte{read, write, copyOf(nth(1), 0, 0, nth(2), math.MaxInt64), end}, "type 102 type 102 5 5", "-"},
		{"all there can be", [][]byte{read, write, copyOf(nth(1), 0, -1, nth(2), 0), end}, "type 102 type 102 1 0", "0123456789"},
	} {
		_ = os.Remove(filepath.Join(k.dir, "g"))
		if got := codes(k.say(t, c.packets...)); got != c.codes {
			t.Errorf("%s: answered %s, want %s", c.name, got, c.codes)
		}
		got, err := os.ReadFile(filepath.Join(k.dir, "g"))
		if c.want == "-" != (err != nil) || err == nil && string(got) != c.want {
			t.Errorf("%s: stored %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	k.put(t, "log", "old ")
	got := codes(k.say(t, read, send(3, 1, "log", openWrite|openAppend, 0), copyOf(nth(1), 0, 2, nth(2), 0), copyOf(nth(1), 8, 0, nth(2), 0), end))
	content, err := os.ReadFile(filepath.Join(k.dir, "log"))
	if got != "type 102 type 102 0 0 0" || string(content) != "old 0189" || err != nil {
		t.Errorf("append: answered %s, stored %q, %v", got, content, err)
	}
}

// A copy needs room like any write, and is recorded with what it moved.
func TestCopyDataWithinQuota(t *testing.T) {
	t.Parallel()
	access := session.FullAccess()
	access.Quota = session.Quota{Bytes: 250_000}
	f, _ := onDisk(t, access)
	_, c := f.alice(t)
	content := strings.Repeat("0123456789", 10_000)
	if err := store(c, "f", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, content); err != nil {
		t.Fatal(err)
	}
	l := f.light(t)
	from := l.open(t, "f", openRead)
	to := l.open(t, "a", openWrite|openCreate|openTruncate)
	l.send(t, ext("copy-data", from, int64(0), int64(0), to, int64(0)))
	one := code(l.answer(t))
	l.send(t, send(4, 1, to))
	if got := one + " " + code(l.answer(t)); got != "0 0" {
		t.Errorf("what fits: %s", got)
	}
	copied := false
	for _, e := range f.core.Record.Events(session.EventFile) {
		copied = copied || e.Verb == session.Write && e.Path == "/a" && e.Outcome == session.OutcomeDone && e.Bytes == int64(len(content))
	}
	if !copied {
		t.Error("the copy is not in the record")
	}
	handle := l.open(t, "c", openWrite|openCreate|openTruncate)
	l.send(t, ext("copy-data", from, int64(0), int64(0), handle, int64(0)))
	if a := l.answer(t); code(a) != "4" || !strings.Contains(string(a), "Over quota") {
		t.Errorf("more than fits: %q", a)
	}
	l.send(t, send(4, 1, handle))
	if a := l.answer(t); code(a) != "4" {
		t.Errorf("its CLOSE: %q", a)
	}
	if _, err := c.Stat("c"); err == nil {
		t.Error("what did not fit is seen")
	}
}

func TestCheckFile(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	content := strings.Repeat("0123456789abcdef", 100)
	k.put(t, "f", content)
	k.put(t, "empty", "")
	sums := func(sum func(string) []byte, parts ...string) string {
		var all []byte
		for _, p := range parts {
			all = append(all, sum(p)...)
		}
		return string(all)
	}
	inMD5 := func(s string) []byte { b := md5.Sum([]byte(s)); return b[:] }
	inSHA1 := func(s string) []byte { b := sha1.Sum([]byte(s)); return b[:] }
	inSHA256 := func(s string) []byte { b := sha256.Sum256([]byte(s)); return b[:] }
	for _, c := range []struct {
		name   string
		packet []byte
		want   string // algorithm and digests; a code if there are none
	}{
		{"whole", ext("check-file-name", "f", "sha256", int64(0), int64(0), 0), "sha256" + sums(inSHA256, content)},
		{"first that is known", ext("check-file-name", "f", "crc32,sha1,md5", int64(0), int64(0), 0), "sha1" + sums(inSHA1, content)},
		{"part", ext("check-file-name", "/f", "md5", int64(10), int64(20), 0), "md5" + sums(inMD5, content[10:30])},
		{"to the end", ext("check-file-name", "f", "md5", int64(1590), int64(99), 0), "md5" + sums(inMD5, content[1590:])},
		{"blocks", ext("check-file-name", "f", "md5", int64(0), int64(0), 1000), "md5" + sums(inMD5, content[:1000], content[1000:])},
		{"handle", ext("check-file-handle", nth(1), "sha1", int64(0), int64(0), 0), "sha1" + sums(inSHA1, content)},
		{"handle of paramiko", ext("check-file", nth(1), "sha1", int64(0), int64(0), 0), "check-filesha1" + sums(inSHA1, content)},
		{"empty", ext("check-file-name", "empty", "md5", int64(0), int64(0), 0), "md5" + sums(inMD5, "")},
		{"blocks of nothing", ext("check-file-name", "empty", "md5", int64(0), int64(0), 256), "md5"},
		{"unknown", ext("check-file-name", "f", "crc32", int64(0), int64(0), 0), "8"},
		{"no list", ext("check-file-name", "f", "", int64(0), int64(0), 0), "8"},
		{"short blocks", ext("check-file-name", "f", "md5", int64(0), int64(0), 255), "5"},
		{"behind the end", ext("check-file-name", "f", "md5", int64(1601), int64(0), 0), "5"},
		{"offset", ext("check-file-name", "f", "md5", int64(-1), int64(0), 0), "5"},
		{"folder", ext("check-file-name", "/", "md5", int64(0), int64(0), 0), "4"},
		{"missing", ext("check-file-name", "x", "md5", int64(0), int64(0), 0), "2"},
		{"written only", ext("check-file-handle", nth(2), "md5", int64(0), int64(0), 0), "2"},
		{"folder's handle", ext("check-file-handle", nth(3), "md5", int64(0), int64(0), 0), "4"},
	} {
		answers := k.say(t, send(3, 1, "f", openRead, 0), send(3, 1, "g", openWrite|openCreate, 0), send(11, 1, "/"), c.packet)
		a := answers[3]
		got := code(a)
		if a[0] == typeExtendedReply {
			p := parser{rest: a[5:]}
			got = string(p.bytes())
			if got == "check-file" {
				got += string(p.bytes())
			}
			got += string(p.rest)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	k.put(t, "big", strings.Repeat("x", 256*5000))
	if a := k.say(t, ext("check-file-name", "big", "md5", int64(0), int64(0), 256))[0]; code(a) != "4" || !strings.Contains(string(a), "Too many blocks") {
		t.Errorf("too many blocks: %q", a)
	}
	reads := 0
	for _, e := range k.core.Record.Events(session.EventFile) {
		if e.Verb == session.Read && e.Path == "/big" {
			reads++
		}
	}
	if reads != 1 {
		t.Errorf("%d records of reading, want 1", reads)
	}
}

// A digest tells what is in a file, so it needs the permission to read.
func TestCheckFileIsReading(t *testing.T) {
	t.Parallel()
	f, _ := onDisk(t, session.Access{Rules: []session.PathRule{{Path: "/", May: session.MayAll &^ session.MayRead}}})
	_, c := f.alice(t)
	if err := store(c, "f", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, "x"); err != nil {
		t.Fatal(err)
	}
	l := f.light(t)
	handle := l.open(t, "f", openRead|openWrite)
	for _, packet := range [][]byte{ext("check-file-name", "f", "md5", int64(0), int64(0), 0), ext("check-file-handle", handle, "md5", int64(0), int64(0), 0)} {
		l.send(t, packet)
		if got := code(l.answer(t)); got != "3" {
			t.Errorf("answered %s, want 3", got)
		}
	}
	if out, said, status := runCommand(t, l.conn, "md5sum f", ""); out != "" || said != "md5sum: Permission denied\n" || status != 1 {
		t.Errorf("md5sum: %q, %q, %d", out, said, status)
	}
}

func TestUsersGroups(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	for _, c := range []struct{ users, groups int }{{2, 1}, {0, 0}, {0, 3}} {
		a := k.say(t, ext("users-groups-by-id@openssh.com", strings.Repeat("\x00\x00\x00\x07", c.users), strings.Repeat("\x00\x00\x00\x00", c.groups)))[0]
		if a[0] != typeExtendedReply {
			t.Fatalf("answered %q", a)
		}
		p := parser{rest: a[5:]}
		for what, n := range []int{c.users, c.groups} {
			names := parser{rest: p.bytes()}
			for range n {
				if got := string(names.bytes()); got != "alice" {
					t.Errorf("%d: %q", what, got)
				}
			}
			if len(names.rest) > 0 || names.bad {
				t.Errorf("%d: %q is left", what, names.rest)
			}
		}
	}
	if got := codes(k.say(t, ext("users-groups-by-id@openssh.com", "abc", ""), ext("users-groups-by-id@openssh.com", strings.Repeat("\x00", 40_000), ""))); got != "5 4" {
		t.Errorf("answered %s", got)
	}
}

// What a client says it is, is in the record of its connection.
func TestVendorIsRecorded(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	l := f.light(t)
	l.send(t, ext("vendor-id", "Van\x00Dyke\n", "SecureFX", "9.5", int64(3)))
	if got := code(l.answer(t)); got != "0" {
		t.Errorf("answered %s", got)
	}
	_ = l.conn.Close()
	if e := f.connection(t); e.Client != "SSH-2.0-Go; VanDyke SecureFX 9.5" {
		t.Errorf("client %q", e.Client)
	}
}

// OpenSSH's client copies on the server, and asks for names of users.
func TestOpenSSHExtensions(t *testing.T) {
	t.Parallel()
	need(t, "sftp", "sshpass")
	f, trees := onDisk(t, session.FullAccess())
	src, content := local(t, 3<<20+7)
	batch := strings.Join([]string{"put " + src + " a", "cp a b", "ln a hard", "ls -l", "df"}, "\n")
	args := append([]string{"-e", "sftp"}, f.openssh(t, "-oBatchMode=no", "-b", "-", "alice@127.0.0.1")...)
	out := runClient(t, batch, "sshpass", args...)
	for _, name := range []string{"a", "b", "hard"} {
		if got, err := os.ReadFile(filepath.Join(trees.Base, "alice", name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v\n%s", name, len(got), err, out)
		}
	}
	if strings.Count(out, "alice    alice") != 3 {
		t.Errorf("owners are not named:\n%s", out)
	}
}

// Attributes of a link itself change, and not those of what it leads to.
func TestLsetstat(t *testing.T) {
	t.Parallel()
	k := newTalkOnDisk(t)
	k.put(t, "f", "content")
	changed := func(name string) time.Time {
		info, err := os.Lstat(filepath.Join(k.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime()
	}
	before := changed("f")
	set := func(name string, attrs ...any) []byte {
		return ext(append([]any{"lsetstat@openssh.com", name}, attrs...)...)
	}
	got := codes(k.say(t,
		send(20, 1, "f", "l"), send(20, 1, "none", "dangling"),
		set("l", attrTimes, 1, 86400), set("dangling", attrTimes, 1, 86400), set("l", attrPermissions, 0o600),
		set("f", attrSize, int64(0)), set("l", attrUIDGID, 0, 0), set("nothing", attrTimes, 1, 1), set("f", attrPermissions, 0o600),
	))
	if want := "0 0 0 0 4 5 8 2 0"; got != want {
		t.Errorf("answered %s, want %s", got, want)
	}
	for name, want := range map[string]time.Time{"l": time.Unix(86400, 0), "dangling": time.Unix(86400, 0), "f": before} {
		if got := changed(name); !got.Equal(want) {
			t.Errorf("%s: changed at %v, want %v", name, got, want)
		}
	}
}
