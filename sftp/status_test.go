package sftp

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// sftpServer is OpenSSH's server, whose answers ours are compared with.
const sftpServer = "/usr/lib/openssh/sftp-server"

// nthOpened stands for the handle that the nth OPEN of a case was given.
type nthOpened int

// A situation is what a client asks in a tree that furnish has made, and how
// both servers answer.
type situation struct {
	name    string
	packets [][]any // type, number and fields of each
	// ours is how we answer where that is on purpose another answer than
	// OpenSSH's; docs/protocols/sftp.md tells why.
	ours string
}

// furnish makes the tree that situations begin with.
func furnish(t *testing.T, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.WriteFile(at("f"), []byte("content"), 0o640), os.Mkdir(at("d"), 0o750), os.WriteFile(at("d/e"), []byte("x"), 0o640),
		os.Mkdir(at("empty"), 0o750), os.Symlink("f", at("l")), os.Symlink("d", at("dl")), os.Symlink("none", at("dangling")),
		os.Symlink("loop2", at("loop1")), os.Symlink("loop1", at("loop2")), syscall.Mkfifo(at("fifo"), 0o640),
	); err != nil {
		t.Fatal(err)
	}
}

// packetsFor words a situation with the handles that a server gives out.
func (s situation) packetsFor(handle func(n int) string) []byte {
	all := send(typeInit, fileVersion)
	for _, fields := range s.packets {
		fields = slices.Clone(fields)
		for i, f := range fields {
			if n, ok := f.(nthOpened); ok {
				fields[i] = handle(int(n))
			}
		}
		all = append(all, send(byte(fields[0].(int)), fields[1:]...)...)
	}
	return all
}

// opensshAnswers runs OpenSSH's server in dir.
func (s situation) opensshAnswers(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), sftpServer)
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It leaves at the end of its input, whatever it has yet to answer.
	if _, err := in.Write(s.packetsFor(func(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n-1))) })); err != nil {
		t.Fatal(err)
	}
	var answers [][]byte
	for range len(s.packets) + 1 {
		var head [4]byte
		if _, err := io.ReadFull(out, head[:]); err != nil {
			break // it gave up
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(out, body); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, body)
	}
	_ = in.Close()
	_ = cmd.Wait() // 255 where it gave up
	if len(answers) == 0 {
		t.Fatal("no answer at all")
	}
	return codes(answers[1:])
}

// Statuses are those of OpenSSH's own server, but for what is listed as ours.
func TestStatusesAsOpenSSH(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(sftpServer); err != nil {
		t.Skip("needs OpenSSH's sftp-server")
	}
	for _, s := range situations() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			theirs := t.TempDir()
			furnish(t, theirs)
			want := s.opensshAnswers(t, theirs)
			k := newTalkOnDisk(t)
			furnish(t, k.dir)
			got := codes(k.sayAll(t, s.packetsFor(func(n int) string { return nth(uint64(n)) }))[1:])
			if s.ours == "" && got != want || s.ours != "" && got != s.ours {
				t.Errorf("answered %s, want %s as OpenSSH does", got, want)
			}
			if s.ours == want {
				t.Errorf("answered %s, and so does OpenSSH: that is no difference", want)
			}
		})
	}
}

func situations() []situation {
	const (
		create = openWrite | openCreate
		excl   = create | openExclusive
		trunc  = create | openTruncate
	)
	long, longer := strings.Repeat("x", 256), strings.Repeat("x/", 2100)
	lsetstat, posix, hardlink := "lsetstat@openssh.com", "posix-rename@openssh.com", "hardlink@openssh.com"
	first := nthOpened(1)
	return []situation{
		// Names that lead nowhere.
		{name: "open nothing", packets: [][]any{{typeOpen, 1, "none", openRead, 0}}},
		{name: "open below a file", packets: [][]any{{typeOpen, 1, "f/x", openRead, 0}, {typeOpen, 1, "f/x", create, 0}}},
		{name: "open below nothing", packets: [][]any{{typeOpen, 1, "none/x", create, 0}}},
		{name: "stat of nothing", packets: [][]any{{typeStat, 1, "none"}, {typeLstat, 1, "none"}, {typeStat, 1, "f/x"}, {typeLstat, 1, "f/x"}}},
		{name: "stat of an empty name", ours: "type 105", packets: [][]any{{typeStat, 1, ""}}},
		{name: "links in a circle", packets: [][]any{{typeStat, 1, "loop1"}, {typeLstat, 1, "loop1"}, {typeOpen, 1, "loop1", openRead, 0}, {typeOpendir, 1, "loop1"}, {typeStat, 1, "loop1/x"}}},
		{name: "link to nothing", packets: [][]any{{typeStat, 1, "dangling"}, {typeLstat, 1, "dangling"}, {typeOpen, 1, "dangling", openRead, 0}, {typeReadlink, 1, "dangling"}}},
		{name: "long part", packets: [][]any{{typeStat, 1, long}, {typeOpen, 1, long, create, 0}, {typeMkdir, 1, long, 0}, {typeRename, 1, "f", long}, {typeRemove, 1, long}}},
		{name: "long path", packets: [][]any{{typeStat, 1, longer}, {typeOpen, 1, longer, openRead, 0}, {typeOpendir, 1, longer}, {typeSymlink, 1, "f", longer}}},
		// OPEN and its flags.
		{name: "no flags", ours: "5", packets: [][]any{{typeOpen, 1, "f", 0, 0}}},
		{name: "create what is there", packets: [][]any{{typeOpen, 1, "f", excl, 0}}},
		{name: "exclusive link to nothing", packets: [][]any{{typeOpen, 1, "dangling", excl, 0}}},
		{name: "write without create", packets: [][]any{{typeOpen, 1, "none", openWrite, 0}, {typeOpen, 1, "f", openWrite, 0}}},
		{name: "write a folder", packets: [][]any{{typeOpen, 1, "d", trunc, 0}}},
		{name: "read a folder", ours: "4", packets: [][]any{{typeOpen, 1, "d", openRead, 0}}},
		{name: "truncate", packets: [][]any{{typeOpen, 1, "f", trunc, 0}, {typeClose, 1, first}, {typeStat, 1, "f"}}},
		{name: "create through a link to nothing", packets: [][]any{{typeOpen, 1, "dangling", create, 0}, {typeClose, 1, first}, {typeStat, 1, "none"}}},
		// Handles.
		{name: "no such handle", packets: [][]any{{typeClose, 1, "none"}, {typeRead, 1, "none", int64(0), 1}, {typeWrite, 1, "none", int64(0), "x"}, {typeFstat, 1, "none"}, {typeReaddir, 1, "none"}, {typeFsetstat, 1, "none", attrPermissions, 0o600}}},
		{name: "handle of extensions", packets: [][]any{{typeExtended, 1, "fstatvfs@openssh.com", "none"}, {typeExtended, 1, "fsync@openssh.com", "none"}}},
		{name: "empty handle", packets: [][]any{{typeClose, 1, ""}, {typeFstat, 1, ""}}},
		{name: "closed twice", packets: [][]any{{typeOpen, 1, "f", openRead, 0}, {typeClose, 1, first}, {typeClose, 1, first}, {typeRead, 1, first, int64(0), 1}}},
		{name: "folder as file", packets: [][]any{{typeOpendir, 1, "d"}, {typeRead, 1, first, int64(0), 1}, {typeWrite, 1, first, int64(0), "x"}, {typeClose, 1, first}}},
		{name: "file as folder", packets: [][]any{{typeOpen, 1, "f", openRead, 0}, {typeReaddir, 1, first}}},
		{name: "write to what is read", packets: [][]any{{typeOpen, 1, "f", openRead, 0}, {typeWrite, 1, first, int64(0), "x"}}},
		{name: "read what is written", packets: [][]any{{typeOpen, 1, "new", create, 0}, {typeRead, 1, first, int64(0), 1}}},
		{name: "read at the end", packets: [][]any{{typeOpen, 1, "f", openRead, 0}, {typeRead, 1, first, int64(7), 1}, {typeRead, 1, first, int64(0), 100}, {typeRead, 1, first, int64(1 << 40), 1}}},
		{name: "read at 2^63", packets: [][]any{{typeOpen, 1, "f", openRead, 0}, {typeRead, 1, first, int64(-1 << 63), 1}, {typeRead, 1, first, int64(-1), 1}}},
		{name: "read nothing", packets: [][]any{{typeOpen, 1, "f", openRead, 0}, {typeRead, 1, first, int64(0), 0}}},
		{name: "write at 2^63", packets: [][]any{{typeOpen, 1, "new", create, 0}, {typeWrite, 1, first, int64(-1 << 63), "x"}}},
		{name: "write nothing", packets: [][]any{{typeOpen, 1, "new", create, 0}, {typeWrite, 1, first, int64(0), ""}, {typeClose, 1, first}}},
		// Folders.
		{name: "listing", packets: [][]any{{typeOpendir, 1, "empty"}, {typeClose, 1, first}, {typeOpendir, 1, "f"}, {typeOpendir, 1, "none"}, {typeOpendir, 1, "f/x"}, {typeOpendir, 1, "dangling"}}},
		{name: "make a folder that is there", packets: [][]any{{typeMkdir, 1, "d", 0}, {typeMkdir, 1, "f", 0}, {typeMkdir, 1, "dangling", 0}}},
		{name: "make a folder nowhere", packets: [][]any{{typeMkdir, 1, "none/x", 0}, {typeMkdir, 1, "f/x", 0}, {typeMkdir, 1, "loop1/x", 0}}},
		{name: "remove a folder", packets: [][]any{{typeRmdir, 1, "empty"}, {typeRmdir, 1, "empty"}, {typeRmdir, 1, "d"}, {typeRmdir, 1, "f"}, {typeRmdir, 1, "dl"}, {typeRmdir, 1, "f/x"}}},
		// Removing and renaming.
		{name: "remove", packets: [][]any{{typeRemove, 1, "f"}, {typeRemove, 1, "f"}, {typeRemove, 1, "d/e"}, {typeRemove, 1, "l"}, {typeRemove, 1, "d/e/x"}}},
		{name: "remove a folder as a file", packets: [][]any{{typeRemove, 1, "d"}, {typeRemove, 1, "empty"}}},
		{name: "rename", packets: [][]any{{typeRename, 1, "f", "g"}, {typeRename, 1, "f", "g"}, {typeRename, 1, "d", "dd"}}},
		{name: "rename over", packets: [][]any{{typeRename, 1, "f", "d/e"}, {typeRename, 1, "f", "d"}, {typeRename, 1, "f", "l"}}},
		{name: "rename to itself", packets: [][]any{{typeRename, 1, "f", "f"}, {typeExtended, 1, posix, "f", "f"}}},
		{name: "rename nowhere", packets: [][]any{{typeRename, 1, "f", "none/x"}, {typeRename, 1, "f", "d/e/x"}, {typeRename, 1, "none", "x"}}},
		{name: "rename a folder into itself", packets: [][]any{{typeRename, 1, "d", "d/x"}, {typeExtended, 1, posix, "d", "d/x"}}},
		{name: "posix-rename", packets: [][]any{{typeExtended, 1, posix, "f", "d/e"}, {typeExtended, 1, posix, "f", "g"}, {typeExtended, 1, posix, "d/e", "none/x"}}},
		{name: "posix-rename a folder over", packets: [][]any{{typeExtended, 1, posix, "empty", "d"}, {typeExtended, 1, posix, "empty", "f"}, {typeExtended, 1, posix, "f", "d"}}},
		// Links.
		{name: "readlink", packets: [][]any{{typeReadlink, 1, "l"}, {typeReadlink, 1, "none"}, {typeReadlink, 1, "f/x"}}},
		{name: "readlink of a file", packets: [][]any{{typeReadlink, 1, "f"}, {typeReadlink, 1, "d"}}},
		{name: "symlink", packets: [][]any{{typeSymlink, 1, "f", "new"}, {typeSymlink, 1, "f", "d"}, {typeSymlink, 1, "f", "none/x"}, {typeSymlink, 1, "f", "f/x"}, {typeSymlink, 1, "f", long}}},
		{name: "symlink out of the tree", ours: "3", packets: [][]any{{typeSymlink, 1, "../../x", "out"}}},
		{name: "symlink to an empty name", ours: "5", packets: [][]any{{typeSymlink, 1, "", "new"}}},
		{name: "hardlink", packets: [][]any{{typeExtended, 1, hardlink, "f", "new"}, {typeExtended, 1, hardlink, "f", "d"}, {typeExtended, 1, hardlink, "none", "x"}, {typeExtended, 1, hardlink, "f", "none/x"}, {typeExtended, 1, hardlink, "f/x", "y"}}},
		{name: "hardlink of a folder", packets: [][]any{{typeExtended, 1, hardlink, "d", "new"}}},
		// Attributes.
		{name: "setstat", packets: [][]any{{typeSetstat, 1, "f", attrPermissions, 0o600}, {typeSetstat, 1, "f", attrTimes, 1, 1}, {typeSetstat, 1, "f", attrSize, int64(3)}, {typeSetstat, 1, "f", 0}}},
		{name: "setstat of nothing", packets: [][]any{{typeSetstat, 1, "none", attrPermissions, 0o600}, {typeSetstat, 1, "dangling", attrPermissions, 0o600}, {typeSetstat, 1, "loop1", attrPermissions, 0o600}, {typeSetstat, 1, "f/x", attrTimes, 1, 1}}},
		{name: "setstat of a folder", packets: [][]any{{typeSetstat, 1, "d", attrPermissions, 0o700}, {typeSetstat, 1, "d", attrTimes, 1, 1}}},
		{name: "size of a folder", packets: [][]any{{typeSetstat, 1, "d", attrSize, int64(0)}}},
		{name: "size at 2^63", packets: [][]any{{typeSetstat, 1, "f", attrSize, int64(-1)}}},
		{name: "lsetstat", packets: [][]any{{typeExtended, 1, lsetstat, "l", attrTimes, 1, 1}, {typeExtended, 1, lsetstat, "dangling", attrTimes, 1, 1}, {typeExtended, 1, lsetstat, "f", attrTimes, 1, 1}, {typeExtended, 1, lsetstat, "none", attrTimes, 1, 1}, {typeExtended, 1, lsetstat, "f", attrPermissions, 0o600}}},
		{name: "lsetstat of a link's mode and size", packets: [][]any{{typeExtended, 1, lsetstat, "l", attrPermissions, 0o600}, {typeExtended, 1, lsetstat, "l", attrSize, int64(0)}, {typeExtended, 1, lsetstat, "f", attrSize, int64(0)}}},
		{name: "fsetstat", packets: [][]any{{typeOpen, 1, "new", create, 0}, {typeFsetstat, 1, first, attrPermissions, 0o600}, {typeFsetstat, 1, first, attrSize, int64(9)}, {typeFsetstat, 1, first, attrTimes, 1, 1}, {typeClose, 1, first}}},
		{name: "fsetstat of what is read", ours: "type 102 3", packets: [][]any{{typeOpen, 1, "f", openRead, 0}, {typeFsetstat, 1, first, attrTimes, 1, 1}}},
		{name: "setuid", ours: "3", packets: [][]any{{typeSetstat, 1, "f", attrPermissions, 0o4755}}},
		// The rest.
		{name: "realpath", packets: [][]any{{typeRealpath, 1, "."}, {typeRealpath, 1, "f"}, {typeRealpath, 1, "none"}}},
		{name: "realpath below nothing", ours: "type 104 type 104", packets: [][]any{{typeRealpath, 1, "none/x"}, {typeRealpath, 1, "f/x"}}},
		{name: "expand-path", packets: [][]any{{typeExtended, 1, "expand-path@openssh.com", "~"}, {typeExtended, 1, "expand-path@openssh.com", "f"}, {typeExtended, 1, "expand-path@openssh.com", "~nobody-of-that-name"}}},
		{name: "home-directory", packets: [][]any{{typeExtended, 1, "home-directory", "nobody-of-that-name"}}},
		{name: "statvfs", packets: [][]any{{typeExtended, 1, "statvfs@openssh.com", "f"}}},
		{name: "statvfs of nothing", ours: "type 201", packets: [][]any{{typeExtended, 1, "statvfs@openssh.com", "none"}}},
		{name: "copy-data to itself", packets: [][]any{{typeOpen, 1, "new", create | openRead, 0}, {typeExtended, 1, "copy-data", first, int64(0), int64(0), first, int64(0)}}},
		{name: "copy-data of no handle", packets: [][]any{{typeOpen, 1, "f", openRead, 0}, {typeExtended, 1, "copy-data", first, int64(0), int64(0), "none", int64(0)}, {typeExtended, 1, "copy-data", "none", int64(0), int64(0), first, int64(0)}}},
		{name: "copy-data to what is read", packets: [][]any{{typeOpen, 1, "f", openRead, 0}, {typeOpen, 1, "d/e", openRead, 0}, {typeExtended, 1, "copy-data", first, int64(0), int64(0), nthOpened(2), int64(0)}}},
		{name: "unknown extension", packets: [][]any{{typeExtended, 1, "none@example.com", "x"}}},
		{name: "read a fifo", packets: [][]any{{typeLstat, 1, "fifo"}, {typeRemove, 1, "fifo"}}},
	}
}
