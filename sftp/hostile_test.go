package sftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/session"
	client "github.com/pkg/sftp"
)

// Version 3 is the answer to whatever version a client has, and what else it says
// there does not matter.
func TestEveryInitIsAnswered(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	for _, first := range [][]byte{
		send(1, 0), send(1, 1), send(1, 2), send(1, 3), send(1, 4), send(1, 6), send(1, -1),
		send(1, 3, "newline", "\n", "vendor-id", ""), append([]byte{0, 0, 0, 8}, 1, 0, 0, 0, 3, 0xff, 0xff, 0xff),
	} {
		answers := k.sayAll(t, append(first, send(16, 7, "a")...))
		if len(answers) != 2 || answers[0][0] != typeVersion || binary.BigEndian.Uint32(answers[0][1:]) != fileVersion || answers[1][0] != typeName {
			t.Errorf("%q: answered %q", first, answers)
		}
	}
	if answers := k.sayAll(t, bytes.Join([][]byte{send(1, 3), send(3, 1, "f", openWrite|openCreate, 0), send(1, 6), send(4, 1, nth(1))}, nil)); len(answers) != 4 || code(answers[3]) != "0" {
		t.Errorf("a second INIT: answered %q", answers)
	}
	// The announcements are pairs of strings to the end.
	p := parser{rest: k.sayAll(t, send(1, 3))[0][5:]}
	seen := map[string]string{}
	for len(p.rest) > 0 && !p.bad {
		name := string(p.bytes())
		seen[name] = string(p.bytes())
	}
	if p.bad || seen["copy-data"] != "1" || seen["check-file"] != "sha256,sha512,sha1,md5" || seen["statvfs@openssh.com"] != "2" || !strings.HasPrefix(seen["vendor-id"], "\x00\x00\x00\x07Gateway") {
		t.Errorf("announced %q", seen)
	}
}

// A handle means something in its own channel only, even to the same user.
func TestHandleOfAnotherSession(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	if err := os.WriteFile(f.fs.dir+"/f", []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	one, other := f.light(t), f.light(t)
	handle := one.open(t, "f", openRead)
	for kind, packet := range map[string][]byte{
		"READ": send(5, 1, handle, int64(0), 9), "FSTAT": send(8, 1, handle), "CLOSE": send(4, 1, handle), "WRITE": send(6, 1, handle, int64(0), "x"),
		"READDIR": send(12, 1, handle), "FSETSTAT": send(10, 1, handle, 4, 0o600), "fsync": send(200, 1, "fsync@openssh.com", handle),
		"copy-data": send(200, 1, "copy-data", handle, int64(0), int64(0), handle, int64(0)), "check-file": send(200, 1, "check-file-handle", handle, "md5", int64(0), int64(0), 0),
	} {
		other.send(t, packet)
		if a := other.answer(t); code(a) != "4" && kind != "CLOSE" && kind != "fsync" || !strings.Contains(string(a), "No such handle") {
			t.Errorf("%s: %q", kind, a)
		}
	}
	one.send(t, send(5, 1, handle, int64(0), 9))
	if a := one.answer(t); a[0] != typeData {
		t.Errorf("its own: %q", a)
	}
}

// unread is a channel whose peer sends all at once and reads nothing until told to.
type unread struct {
	mu    sync.Mutex
	in    *bytes.Reader
	read  chan struct{}
	stuck chan struct{}
	once  sync.Once
	rest  []byte
	codes map[byte]int
}

func (u *unread) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.in.Read(p)
}

func (u *unread) Write(p []byte) (int, error) {
	u.once.Do(func() { close(u.stuck) })
	<-u.read
	u.rest = append(u.rest, p...)
	for len(u.rest) >= 4 {
		end := 4 + int(binary.BigEndian.Uint32(u.rest))
		if len(u.rest) < end {
			break
		}
		u.codes[u.rest[4]]++
		u.rest = u.rest[end:]
	}
	return len(p), nil
}

// A client that asks 100,000 times and does not read takes no more memory than one
// buffer for what it asks and one for the answers; when it reads, it gets them all.
func TestManyReadsUnread(t *testing.T) {
	t.Parallel()
	const reads = 100_000
	k := newTalk(t)
	k.put(t, "f", strings.Repeat("x", 1024))
	sent := append(append(send(1, 3), send(3, 1, "f", openRead, 0)...), bytes.Repeat(send(5, 1, nth(1), int64(0), 1024), reads)...)
	u := &unread{in: bytes.NewReader(sent), read: make(chan struct{}), stuck: make(chan struct{}), codes: map[byte]int{}}
	f := newFiles(context.WithoutCancel(t.Context()), k.session, k.tree, &activity{}, k.pool, u)
	f.handles.next = counted()
	f.panicked = func(v any) { t.Errorf("panic: %v", v) }
	done := make(chan struct{})
	go func() { f.serve(); close(done) }()
	<-u.stuck
	u.mu.Lock()
	taken := len(sent) - u.in.Len()
	u.mu.Unlock()
	if taken > inputSize {
		t.Errorf("took %d bytes from a peer that reads nothing, want at most %d", taken, inputSize)
	}
	close(u.read)
	<-done
	if u.codes[typeData] != reads {
		t.Errorf("%d answers with data, want %d (%v)", u.codes[typeData], reads, u.codes)
	}
}

// Names at the limits and of bytes that mean something elsewhere.
func TestNames(t *testing.T) {
	t.Parallel()
	f, _ := onDisk(t, session.FullAccess())
	_, c := f.alice(t)
	create := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	long := strings.Repeat("d/", 2047) + "xx" // 4,096 bytes
	for name, want := range map[string]uint32{
		"":                       codeFailure,
		"..":                     codeFailure, // the root: a folder
		"nul\x00x":               codeBadMessage,
		"cr\rx":                  codeBadMessage,
		"lf\nx":                  codeBadMessage,
		strings.Repeat("x", 256): codeBadMessage,
		long:                     codeBadMessage, // the system wants room for one more
		"\xff\xfe":               codeBadMessage, // not UTF-8
		"nothing/\xc0\xaf":       codeBadMessage,
		long + "x":               codeBadMessage,
		"nothing/x":              codeNoSuchFile,
	} {
		err := store(c, name, create, "x")
		var s *client.StatusError
		switch {
		case want == codeNoSuchFile && errors.Is(err, os.ErrNotExist):
		case errors.As(err, &s) && s.Code == want:
		case want == codeFailure && errors.Is(err, os.ErrPermission):
		default:
			t.Errorf("%.20q: %v, want code %d", name, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "/tmp") {
			t.Errorf("our side is shown: %v", err)
		}
	}
	for _, name := range []string{strings.Repeat("x", 255), " ", "-rf", "a\x1b[31m", `back\slash`, "…", "~", "..."} {
		if err := store(c, name, create, name); err != nil {
			t.Errorf("%.20q: %v", name, err)
			continue
		}
		if info, err := c.Stat(name); err != nil || info.Size() != int64(len(name)) {
			t.Errorf("%.20q: %v, %v", name, info, err)
		}
	}
	if err := store(c, "../../up", create, "x"); err != nil {
		t.Errorf("above the root is the root: %v", err)
	}
	if _, err := c.Stat("/up"); err != nil {
		t.Error(err)
	}
}

// An upload that is cut after any of its packets is not seen, and can be gone on with.
func TestCutUploadIsResumed(t *testing.T) {
	t.Parallel()
	access := session.FullAccess()
	access.Quota = session.Quota{Bytes: 1 << 20, Files: 10}
	for cut := range 5 {
		f, _ := onDisk(t, access)
		l := f.light(t)
		l.send(t, send(3, 1, "up", openWrite|openCreate|openTruncate, 0))
		handle := string(l.answer(t)[9:])
		pieces := []string{"first ", "second ", "third ", "fourth"}
		size := 0
		for n := range cut {
			l.send(t, send(6, 1, handle, int64(size), pieces[n]))
			if a := l.answer(t); code(a) != "0" {
				t.Fatalf("write: %q", a)
			}
			size += len(pieces[n])
		}
		_ = l.conn.Close()
		wait(t, "end of the upload", func() (struct{}, bool) {
			for _, e := range f.core.Record.Events(session.EventFile) {
				if e.Verb == session.Write && e.Outcome == session.OutcomeFailed {
					return struct{}{}, true
				}
			}
			return struct{}{}, false
		})
		_, c := f.alice(t)
		list, err := c.ReadDir("/")
		if err != nil || len(list) != 0 {
			t.Errorf("after %d writes: %v, %v", cut, list, err)
		}
		if _, err := c.Open("up"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after %d writes it can be read: %v", cut, err)
		}
		info, err := c.Stat("up")
		switch {
		case size == 0 && errors.Is(err, os.ErrNotExist):
		case err != nil || info.Size() != int64(size):
			t.Errorf("after %d writes: %v, %v, want %d bytes to go on from", cut, info, err, size)
		}
		whole := strings.Join(pieces, "")
		file, err := c.OpenFile("up", os.O_WRONLY|os.O_CREATE)
		if err == nil {
			_, err = file.WriteAt([]byte(whole[size:]), int64(size))
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		back, err := c.Open("up")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(back); string(got) != whole || err != nil {
			t.Errorf("after %d writes: %q, %v", cut, got, err)
		}
	}
}

// Who reads a file that is replaced reads it to its end; what was being written to it is
// replaced as well.
func TestRenameOntoOpenFiles(t *testing.T) {
	t.Parallel()
	f, _ := onDisk(t, session.FullAccess())
	_, c := f.alice(t)
	create := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	for name, content := range map[string]string{"f": "old content", "g": "new"} {
		if err := store(c, name, create, content); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := c.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	writer, err := c.OpenFile("f", create)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write([]byte("written")); err != nil {
		t.Fatal(err)
	}
	if err := c.Rename("g", "f"); err == nil {
		t.Error("RENAME has replaced a file")
	}
	if err := c.PosixRename("g", "f"); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(reader); string(got) != "old content" || err != nil {
		t.Errorf("reader: %q, %v", got, err)
	}
	if info, err := c.Stat("f"); err != nil || info.Size() != 3 {
		t.Errorf("name: %v, %v", info, err)
	}
	if err := writer.Close(); err != nil {
		t.Error(err)
	}
	if info, err := c.Stat("f"); err != nil || info.Size() != 3 {
		t.Errorf("after the upload: %v, %v", info, err)
	}
}

// A listing of a folder in which files come and go has each that stays, once.
func TestListingWhileTheFolderChanges(t *testing.T) {
	t.Parallel()
	const stay = 10_000
	f, trees := onDisk(t, session.FullAccess())
	_, c := f.alice(t)
	if err := c.Mkdir("d"); err != nil {
		t.Fatal(err)
	}
	dir := trees.Base + "/alice/d/"
	if err := os.WriteFile(dir+"stay00000", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range stay - 1 { // names are what matters, and cheaper than files
		if err := os.Link(dir+"stay00000", fmt.Sprintf("%sstay%05d", dir, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := fmt.Sprintf("%sgo%d", dir, i)
			_ = os.Link(dir+"stay00000", name)
			_ = os.Rename(name, name+"x")
			time.Sleep(20 * time.Microsecond)
			if i >= 100 {
				_ = os.Remove(fmt.Sprintf("%sgo%dx", dir, i-100))
			}
		}
	}()
	for range 2 {
		list, err := c.ReadDir("d")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, e := range list {
			seen[e.Name()]++
		}
		for i := range stay {
			if n := seen[fmt.Sprintf("stay%05d", i)]; n != 1 {
				t.Fatalf("stay%05d is listed %d times", i, n)
			}
		}
	}
	close(stop)
	<-stopped
}

// A channel that is closed in the middle of a long request does not have it done to
// its end.
func TestLongRequestEndsWithItsChannel(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.put(t, "f", strings.Repeat("x", 4<<20))
	gone, end := context.WithCancelCause(t.Context())
	end(errGone)
	p := &pipe{in: bytes.NewReader(bytes.Join([][]byte{
		send(1, 3), send(3, 1, "f", openRead, 0), send(3, 1, "g", openWrite|openCreate, 0),
		send(200, 1, "copy-data", nth(1), int64(0), int64(0), nth(2), int64(0)), send(200, 1, "check-file-name", "f", "md5", int64(0), int64(0), 0),
		send(4, 1, nth(2)),
	}, nil))}
	f := newFiles(t.Context(), k.session, k.tree, &activity{}, k.pool, p)
	f.gone, f.handles.next = gone, counted()
	f.serve()
	if k.fs.commits.Load() != 0 || k.fs.aborts.Load() != 1 {
		t.Errorf("%d commits, %d aborts", k.fs.commits.Load(), k.fs.aborts.Load())
	}
}

// While a client has the server compute a digest, its connection is alive.
func TestKeepaliveDuringDigest(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	file, err := os.Create(f.fs.dir + "/big")
	if err == nil {
		err = errors.Join(file.Truncate(1<<30), file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	l := f.light(t)
	l.send(t, send(200, 1, "check-file-name", "big", "sha512", int64(0), int64(0), 0))
	began := time.Now()
	if _, _, err := l.conn.SendRequest(keepaliveRequest, true, nil); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	answered := make(chan struct{})
	go func() { _, _ = l.out.Peek(4); close(answered) }()
	select {
	case <-answered:
		t.Skip("the digest was faster than a keepalive")
	default:
		t.Logf("keepalive answered after %v", took)
	}
	_ = l.conn.Close() // ends the digest
	f.stop()
}

// A link is stored relative, inside of the tree, or not at all.
func TestLinksStayInside(t *testing.T) {
	t.Parallel()
	f, trees := onDisk(t, session.FullAccess())
	_, c := f.alice(t)
	if err := errors.Join(c.MkdirAll("d/e"), store(c, "d/f", os.O_WRONLY|os.O_CREATE, "x")); err != nil {
		t.Fatal(err)
	}
	for name, link := range map[string]struct{ target, stored string }{
		"d/e/absolute": {"/d/f", "../f"}, "d/e/relative": {"../f", "../f"}, "root": {"/", "."}, "dangling": {"/nowhere", "nowhere"},
	} {
		if err := c.Symlink(link.target, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := os.Readlink(trees.Base + "/alice/" + name); err != nil || got != link.stored {
			t.Errorf("%s: stored %q, %v, want %q", name, got, err, link.stored)
		}
		if got, err := c.ReadLink(name); err != nil || got != link.stored {
			t.Errorf("%s: told %q, %v", name, got, err)
		}
	}
	for _, target := range []string{"../../etc/passwd", "d/../../x", ".."} {
		wantCode(t, target, c.Symlink(target, "out"), codePermissionDenied, "")
	}
	if err := os.Symlink("/etc/passwd", trees.Base+"/alice/foreign"); err != nil {
		t.Fatal(err)
	}
	_, err := c.Open("foreign")
	wantCode(t, "a link that leads out", err, codePermissionDenied, "")
	_, err = c.ReadLink("foreign")
	wantCode(t, "its target", err, codePermissionDenied, "")
}
