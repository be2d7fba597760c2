package sftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	client "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/storage"
	disk "gateway/storage/local"
	"gateway/transfer"
)

// talk is a subsystem without a network.
type talk struct {
	core    *sessiontest.Core
	fs      *fakeFS // nil on disk
	dir     string  // where the tree lies
	session *session.Session
	tree    *transfer.Files
	pool    *buffers
	panics  int
	winscp  bool
}

func newTalk(t testing.TB) *talk {
	t.Helper()
	fs := newFakeFS(t)
	k := newTalkOn(t, fs, fs.dir)
	k.fs = fs
	return k
}

// newTalkOn is a subsystem with the tree given, which lies in dir.
func newTalkOn(t testing.TB, tree storage.FS, dir string) *talk {
	t.Helper()
	core := sessiontest.New(t, nil)
	s, err := core.Connect(t, session.SFTP, session.SSH).Offer(t.Context(), session.Password("alice", "right"))
	if err != nil {
		t.Fatal(err)
	}
	return &talk{core: core, dir: dir, session: s, tree: transfer.New(s, tree, transfer.Limits{OpenFiles: 4}), pool: newBuffers()}
}

// newTalkOnDisk is a subsystem with a folder of the system.
func newTalkOnDisk(t testing.TB) *talk {
	t.Helper()
	trees := disk.Tree{Base: t.TempDir()}
	tree, err := trees.Open("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return newTalkOn(t, tree, filepath.Join(trees.Base, "alice"))
}

// say sends packets after SSH_FXP_INIT and the end of the channel, and returns
// the answers after SSH_FXP_VERSION. Handles are 1, 2, and so on.
func (k *talk) say(t testing.TB, packets ...[]byte) [][]byte {
	t.Helper()
	answers := k.sayAll(t, append(send(1, 3), bytes.Join(packets, nil)...))
	if len(answers) == 0 || answers[0][0] != typeVersion {
		t.Fatalf("answered %q, want a version", answers)
	}
	return answers[1:]
}

func (k *talk) sayAll(t testing.TB, sent []byte) [][]byte {
	t.Helper()
	p := &pipe{in: bytes.NewReader(sent)}
	busy := &activity{}
	f := newFiles(context.WithoutCancel(t.Context()), k.session, k.tree, busy, k.pool, p)
	f.panicked = func(any) { k.panics++ }
	f.handles.next = counted()
	f.linkFirst = k.winscp
	f.serve()
	if _, free := busy.quiet(busy.last); !free || len(f.handles.open) != 0 || f.handles.ahead != 0 {
		t.Errorf("%d handles and %d answers were not given back", len(f.handles.open), f.handles.ahead)
	}
	var list [][]byte
	for out := p.out.Bytes(); len(out) > 0; {
		n := int(binary.BigEndian.Uint32(out))
		list = append(list, out[4:4+n])
		out = out[4+n:]
	}
	return list
}

// nth is the nth handle that talk gives out.
func nth(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

// code is the status in an answer, or what else it is.
func code(answer []byte) string {
	if answer[0] != typeStatus {
		return fmt.Sprintf("type %d", answer[0])
	}
	return fmt.Sprint(binary.BigEndian.Uint32(answer[5:]))
}

func codes(answers [][]byte) string {
	var list []string
	for _, a := range answers {
		list = append(list, code(a))
	}
	return strings.Join(list, " ")
}

func (k *talk) put(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(k.dir, name), []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

// Packets whose length cannot be, and those that are not whole, end the
// subsystem; what came before them is answered.
func TestLengthOfPackets(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	for name, end := range map[string][]byte{
		"0":                  {0, 0, 0, 0},
		"1":                  {0, 0, 0, 1, 5},
		"4":                  {0, 0, 0, 4, 5, 0, 0, 0},
		"256 KiB and 1":      binary.BigEndian.AppendUint32(nil, maxPacket+1),
		"2^31":               {0x80, 0, 0, 0},
		"2^32-1":             {0xff, 0xff, 0xff, 0xff},
		"nothing":            {},
		"part of the length": {0, 0},
		"part of the body":   {0, 0, 0, 9, 5},
	} {
		sent := [][]byte{send(16, 7, "a"), end}
		if !strings.HasPrefix(name, "part") {
			sent = append(sent, send(16, 8, "b"))
		}
		answers := k.say(t, sent...)
		if len(answers) == 0 || answers[0][0] != typeName || binary.BigEndian.Uint32(answers[0][1:]) != 7 {
			t.Errorf("%s: answered %q, want the name first", name, answers)
		}
		if want := name == "nothing"; len(answers) == 2 != want {
			t.Errorf("%s: %d answers", name, len(answers))
		}
	}
	longest := send(16, 9, strings.Repeat("x", maxPacket-9))
	if got := codes(k.say(t, longest, send(16, 7, "a"))); got != "5 type 104" {
		t.Errorf("longest packet: %s", got)
	}
	if answers := k.sayAll(t, send(16, 7, "a")); len(answers) != 0 {
		t.Errorf("before INIT: answered %q", answers)
	}
}

// A packet that lacks any of its bytes is answered as such, and the next is
// taken.
func TestTruncatedAtEveryByte(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	for _, whole := range [][]byte{
		send(3, 1, "f", 1, 0), send(3, 1, "f", 1, attrSize|attrUIDGID|attrPermissions|attrTimes, int64(1), 1, 1, 1, 1, 1),
		send(3, 1, "f", 1, attrExtended, 1, "a", "b"),
		send(4, 1, nth(1)), send(5, 1, nth(1), int64(0), 9), send(6, 1, nth(1), int64(0), "data"), send(7, 1, "f"), send(8, 1, nth(1)),
		send(9, 1, "f", 1, int64(1)), send(10, 1, nth(1), 4, 1), send(11, 1, "f"), send(12, 1, nth(1)), send(13, 1, "f"), send(14, 1, "f", 0),
		send(15, 1, "f"), send(16, 1, "f"), send(17, 1, "f"), send(18, 1, "f", "g"), send(19, 1, "f"), send(20, 1, "f", "g"),
		send(200, 1, "posix-rename@openssh.com", "f", "g"), send(200, 1, "hardlink@openssh.com", "f", "g"),
		send(200, 1, "statvfs@openssh.com", "f"), send(200, 1, "fstatvfs@openssh.com", nth(1)), send(200, 1, "fsync@openssh.com", nth(1)),
		send(200, 1, "lsetstat@openssh.com", "f", 4, 1), send(200, 1, "expand-path@openssh.com", "f"), send(200, 1, "home-directory", "f"),
		send(200, 1, "users-groups-by-id@openssh.com", "\x00\x00\x00\x00", "\x00\x00\x00\x01"), send(200, 1, "copy-data", nth(1), int64(0), int64(0), nth(2), int64(0)),
		send(200, 1, "check-file", nth(1), "md5", int64(0), int64(0), 0), send(200, 1, "check-file-name", "f", "md5", int64(0), int64(0), 0),
		send(200, 1, "check-file-handle", nth(1), "md5", int64(0), int64(0), 0), send(200, 1, "vendor-id", "a", "b", "c", int64(1)),
	} {
		for n := 5; n < len(whole)-4; n++ {
			body := whole[4 : 4+n]
			packet := append(binary.BigEndian.AppendUint32(nil, uint32(n)), body...)
			got := codes(k.say(t, packet, send(16, 7, "a")))
			if whole[4] == typeExtended && n < 9+int(binary.BigEndian.Uint32(whole[9:])) {
				if got != "5 type 104" && got != "8 type 104" {
					t.Errorf("%q: %s", body, got)
				}
				continue
			}
			if got != "5 type 104" {
				t.Errorf("%q: answered %s, want 5 (bad message) and a name", body, got)
			}
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.put(t, "f", "content")
	if err := os.Mkdir(filepath.Join(k.dir, "d"), 0o750); err != nil {
		t.Fatal(err)
	}
	read, write := send(3, 1, "f", 1, 0), send(3, 1, "g", 0x1a, 0)
	for _, c := range []struct {
		name    string
		packets [][]byte
		want    string
	}{
		{"unknown types", [][]byte{send(0, 1), send(2, 1), send(21, 1), send(99, 1), send(101, 1), send(255, 1)}, "8 8 8 8 8 8"},
		{"unknown extension", [][]byte{send(200, 1, "copy-files", "a"), send(200, 1, ""), send(200, 1, strings.Repeat("x", 9000))}, "8 8 8"},
		{"handle of another", [][]byte{read, send(5, 1, nth(2), int64(0), 1), send(8, 1, nth(0)), send(4, 1, nth(math.MaxUint64))}, "type 102 4 4 2"},
		{"handle of another length", [][]byte{read, send(5, 1, "", int64(0), 1), send(8, 1, nth(1)+"x"), send(4, 1, nth(1)[1:])}, "type 102 4 4 2"},
		{"closed handle", [][]byte{read, send(4, 1, nth(1)), send(4, 1, nth(1)), send(5, 1, nth(1), int64(0), 1)}, "type 102 0 2 4"},
		{"folder as file", [][]byte{send(11, 1, "d"), send(5, 1, nth(1), int64(0), 1), send(6, 1, nth(1), int64(0), "x"), send(8, 1, nth(1)), send(12, 1, nth(1))}, "type 102 4 4 4 1"},
		{"file as folder", [][]byte{read, send(12, 1, nth(1)), send(11, 1, "f")}, "type 102 4 2"},
		{"offsets of a read", [][]byte{read, send(5, 1, nth(1), int64(-1), 9), send(5, 1, nth(1), int64(math.MinInt64), 9), send(5, 1, nth(1), int64(math.MaxInt64), 9), send(5, 1, nth(1), int64(7), 9), send(5, 1, nth(1), int64(0), 0)}, "type 102 5 5 5 1 type 103"},
		{"offset of a write", [][]byte{write, send(6, 1, nth(1), int64(-1), "x"), send(4, 1, nth(1))}, "type 102 5 5"},
		{"end of a write", [][]byte{write, send(6, 1, nth(1), int64(math.MaxInt64), "x"), send(4, 1, nth(1))}, "type 102 5 5"},
		{"read of what is written", [][]byte{write, send(5, 1, nth(1), int64(0), 9)}, "type 102 2"},
		{"write to what is read", [][]byte{read, send(6, 1, nth(1), int64(0), "x"), send(10, 1, nth(1), 1, int64(0))}, "type 102 2 3"},
		{"no flags", [][]byte{send(3, 1, "f", 0, 0)}, "5"},
		{"setuid", [][]byte{send(3, 1, "h", 0x1a, 4, 0o104755), send(9, 1, "f", 4, 0o4755), send(9, 1, "f", 4, 0o1755)}, "3 3 3"},
		{"owner", [][]byte{send(9, 1, "f", 2, 0, 0)}, "8"},
		{"size at 2^63", [][]byte{send(9, 1, "f", 1, int64(-1))}, "5"},
		{"many extended attributes", [][]byte{send(9, 1, "f", -1<<31, -1)}, "5"},
		{"names", [][]byte{send(16, 1, strings.Repeat("x", 4097)), send(13, 1, "a\x00b"), send(13, 1, "a\rb"), send(13, 1, "a\nb"), send(16, 1, "../../x"), send(17, 1, "\xff\xfe")}, "5 5 5 5 type 104 2"},
		{"too many open", [][]byte{read, read, read, read, read, send(4, 1, nth(2)), read}, "type 102 type 102 type 102 type 102 4 0 type 102"},
		{"rename over", [][]byte{send(14, 1, "e", 0), send(18, 1, "f", "e"), send(15, 1, "e")}, "0 4 0"},
	} {
		if got := codes(k.say(t, c.packets...)); got != c.want {
			t.Errorf("%s: answered %s, want %s", c.name, got, c.want)
		}
	}
}

// Ten thousand opens leave no more than the limit open, and folders have a limit
// of their own.
func TestManyOpens(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.put(t, "f", "content")
	for what, c := range map[string]struct {
		packet []byte
		want   int
	}{"file": {send(3, 1, "f", 1, 0), 4}, "folder": {send(11, 1, "/"), maxFolders}} {
		opened := 0
		for _, a := range k.say(t, bytes.Repeat(c.packet, 10_000)) {
			if a[0] == typeHandle {
				opened++
			}
		}
		if opened != c.want {
			t.Errorf("%s: %d opened, want %d", what, opened, c.want)
		}
	}
}

func TestHandlesCannotBeGuessed(t *testing.T) {
	t.Parallel()
	seen := map[uint64]bool{}
	for range 1000 {
		seen[randomHandle()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different of 1000", len(seen))
	}
}

// Whatever the name of an open file shows by now, its handle is the file.
func TestRenameOfAnOpenFile(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.put(t, "f", "seven b")
	k.put(t, "other", "three")
	answers := k.say(t, send(3, 1, "f", 1, 0), send(200, 1, "posix-rename@openssh.com", "other", "f"), send(8, 1, nth(1)), send(17, 1, "f"),
		send(5, 1, nth(1), int64(0), 100))
	if got := codes(answers); got != "type 102 0 type 105 type 105 type 103" {
		t.Fatalf("answered %s", got)
	}
	if got := binary.BigEndian.Uint64(answers[2][9:]); got != 7 {
		t.Errorf("FSTAT: size %d, want 7", got)
	}
	if got := binary.BigEndian.Uint64(answers[3][9:]); got != 5 {
		t.Errorf("STAT: size %d, want 5", got)
	}
	if got := string(answers[4][9:]); got != "seven b" {
		t.Errorf("READ: %q", got)
	}
}

// An upload cut after any of its packets shows nothing, unless the CLOSE came.
func TestCutAtEveryPacket(t *testing.T) {
	t.Parallel()
	upload := [][]byte{send(3, 1, "up", 0x1a, 0), send(6, 2, nth(1), int64(0), "first "), send(6, 3, nth(1), int64(6), "second"), send(10, 4, nth(1), 4, 0o600), send(4, 5, nth(1))}
	for n := range len(upload) + 1 {
		k := newTalk(t)
		k.say(t, upload[:n]...)
		_, err := os.Stat(filepath.Join(k.dir, "up"))
		if seen, want := err == nil, n == len(upload); seen != want {
			t.Errorf("after %d packets: seen %v, want %v", n, seen, want)
		}
		if got, want := k.fs.aborts.Load(), n > 0 && n < len(upload); got == 1 != want {
			t.Errorf("after %d packets: %d aborts", n, got)
		}
	}
}

// A fault of ours in a request ends the subsystem, and aborts what is open.
func TestPanicAborts(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.fs.panics.Store(true)
	k.sayAll(t, bytes.Join([][]byte{send(1, 3), send(3, 1, "up", 0x1a, 0), send(14, 2, "d", 0), send(4, 3, nth(1))}, nil))
	if k.panics != 1 || k.fs.aborts.Load() != 1 || k.fs.commits.Load() != 0 {
		t.Errorf("%d panics, %d aborts, %d commits, want 1, 1, 0", k.panics, k.fs.aborts.Load(), k.fs.commits.Load())
	}
}

func TestExtensions(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.put(t, "f", "content")
	if err := os.Symlink("f", filepath.Join(k.dir, "l")); err != nil {
		t.Fatal(err)
	}
	ext := func(fields ...any) []byte { return send(200, append([]any{1}, fields...)...) }
	answers := k.say(t,
		ext("limits@openssh.com"), ext("statvfs@openssh.com", "/"), send(3, 1, "f", 1, 0), ext("fstatvfs@openssh.com", nth(1)), ext("fstatvfs@openssh.com", nth(9)),
		ext("fsync@openssh.com", nth(1)), ext("fsync@openssh.com", nth(9)), ext("lsetstat@openssh.com", "f", 4, 0o600), ext("lsetstat@openssh.com", "l", 4, 0o600),
		ext("hardlink@openssh.com", "f", "f2"), send(18, 1, "f", "f2"), ext("posix-rename@openssh.com", "f2", "f3"),
	)
	if got, want := codes(answers), "type 201 type 201 type 102 type 201 4 0 2 0 4 0 4 0"; got != want {
		t.Fatalf("answered %s, want %s", got, want)
	}
	var limits [4]uint64
	for i := range limits {
		limits[i] = binary.BigEndian.Uint64(answers[0][5+8*i:])
	}
	if limits != [4]uint64{maxPacket, maxData, maxData, 4} {
		t.Errorf("limits %d", limits)
	}
	for path, want := range map[string]string{"~": "/", "~/x": "/x", "~alice/x": "/x", "x/../y": "/y", "~/../..": "/", "a~": "/a~"} {
		a := k.say(t, ext("expand-path@openssh.com", path))[0]
		if a[0] != typeName || string(a[13:13+len(want)]) != want {
			t.Errorf("expand-path %q: %q", path, a)
		}
	}
	if got := codes(k.say(t, ext("expand-path@openssh.com", "~bob"), ext("home-directory", "bob"), ext("home-directory", ""), ext("home-directory", "alice"))); got != "2 4 type 104 type 104" {
		t.Errorf("homes: answered %s", got)
	}
}

// WinSCP names the link first, as the draft does; all others the target.
func TestOrderOfSymlink(t *testing.T) {
	t.Parallel()
	for _, winscp := range []bool{false, true} {
		k := newTalk(t)
		k.winscp = winscp
		first, second := "target", "link"
		if winscp {
			first, second = second, first
		}
		if got := codes(k.say(t, send(20, 1, first, second))); got != "0" {
			t.Errorf("answered %s", got)
		}
		if got, err := os.Readlink(filepath.Join(k.dir, "link")); err != nil || got != "target" {
			t.Errorf("WinSCP %v: link to %q, %v", winscp, got, err)
		}
	}
}

// WinSCP is known by its identification.
func TestWinSCPIsKnown(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	c, err := ssh.Dial("tcp", f.addr, &ssh.ClientConfig{
		User: "alice", Auth: []ssh.AuthMethod{ssh.Password("right")}, HostKeyCallback: ssh.FixedHostKey(f.host),
		ClientVersion: "SSH-2.0-WinSCP_release_6.3.5",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	files, err := client.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	// The library sends the names in this order.
	if err := files.Symlink("link", "target"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(filepath.Join(f.fs.dir, "link")); err != nil || got != "target" {
		t.Errorf("link to %q, %v, want target", got, err)
	}
}

func TestLongName(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.put(t, "f", "content")
	if err := os.Chmod(filepath.Join(k.dir, "f"), 0o754); err != nil {
		t.Fatal(err)
	}
	a := k.say(t, send(11, 1, "/"), send(12, 1, nth(1)))[1]
	if want := "-rwxr-xr--    1 alice    alice               7 "; !strings.Contains(string(a), want) {
		t.Errorf("answered %q, want %q in it", a, want)
	}
}

// Appending goes on behind what is left after the file was cut.
func TestAppendAfterTruncate(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.put(t, "log", "0123456789")
	got := codes(k.say(t, send(3, 1, "log", openWrite|openAppend, 0), send(6, 1, nth(1), int64(0), "x"), send(10, 1, nth(1), 1, int64(3)),
		send(6, 1, nth(1), int64(99), "y"), send(4, 1, nth(1))))
	content, err := os.ReadFile(filepath.Join(k.dir, "log"))
	if got != "type 102 0 0 0 0" || err != nil || string(content) != "012y" {
		t.Errorf("answered %s, stored %q, %v", got, content, err)
	}
}
