package sftp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"gateway/internal/listener"
	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/transfer"
)

// fixture is a server on loopback with alice's tree.
type fixture struct {
	core   *sessiontest.Core
	fs     *fakeFS
	server *Server
	addr   string
	host   ssh.PublicKey
	stop   func() // shuts the server down, once
}

func newSigner(t testing.TB, kind string) ssh.Signer {
	t.Helper()
	var key any
	var err error
	switch kind {
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// start runs a server on loopback with the rules given; change may alter its
// Config.
func start(t testing.TB, rules sessiontest.Rules, change func(*Config)) *fixture {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, ln, rules, change)
}

// pipes is a listener without a network, for tests in which time is not real.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(t testing.TB) net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	b := &buffered{Conn: ours, out: make(chan []byte, 1024), closed: make(chan struct{})}
	t.Cleanup(func() { _ = b.Close() })
	go b.pump()
	return b
}

// buffered is an end of a pipe that can be written to before the other end
// reads: both sides of SSH write first.
type buffered struct {
	net.Conn
	out    chan []byte
	closed chan struct{}
	once   sync.Once
}

func (b *buffered) Write(p []byte) (int, error) {
	select {
	case b.out <- bytes.Clone(p):
		return len(p), nil
	case <-b.closed:
		return 0, net.ErrClosed
	}
}

func (b *buffered) pump() {
	for {
		select {
		case p := <-b.out:
			if _, err := b.Conn.Write(p); err != nil {
				_ = b.Close()
				return
			}
		case <-b.closed:
			return
		}
	}
}

func (b *buffered) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Conn.Close()
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func startOn(t testing.TB, ln net.Listener, rules sessiontest.Rules, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{core: sessiontest.New(t, rules), fs: newFakeFS(t)}
	host := newSigner(t, "ed25519")
	f.host = host.PublicKey()
	cfg := Config{
		Gate: f.core.Gate, HostKeys: []ssh.Signer{host}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Files: func(_ context.Context, s *session.Session) (*transfer.Files, error) {
			return transfer.New(s, f.fs, transfer.Limits{OpenFiles: 8}), nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	f.server = New(cfg)
	f.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(context.Background(), ln) }()
	stopped := false
	f.stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, listener.ErrServerClosed) {
			t.Errorf("Serve: %v, want ErrServerClosed", err)
		}
	}
	t.Cleanup(f.stop)
	return f
}

// dial logs in with the methods given.
func (f *fixture) dial(t testing.TB, user string, methods ...ssh.AuthMethod) (*ssh.Client, error) {
	t.Helper()
	c, err := ssh.Dial("tcp", f.addr, &ssh.ClientConfig{
		User: user, Auth: methods, HostKeyCallback: ssh.FixedHostKey(f.host), Timeout: 10 * time.Second,
	})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// alice is a logged-in connection with the subsystem running.
func (f *fixture) alice(t testing.TB) (*ssh.Client, *client.Client) {
	t.Helper()
	c, err := f.dial(t, "alice", ssh.Password("right"))
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	files, err := client.NewClient(c)
	if err != nil {
		t.Fatalf("start subsystem: %v", err)
	}
	t.Cleanup(func() { _ = files.Close() })
	return c, files
}

// connection waits for the record of the one connection that ends.
func (f *fixture) connection(t testing.TB) session.Event {
	t.Helper()
	return wait(t, "connection record", func() (session.Event, bool) {
		list := f.core.Record.Events(session.EventConnection)
		if len(list) == 0 {
			return session.Event{}, false
		}
		return list[0], true
	})
}

// wait asks until get says yes.
func wait[T any](t testing.TB, what string, get func() (T, bool)) T {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if v, ok := get(); ok {
			return v
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}

func TestPutGetListRename(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	_, c := f.alice(t)

	content := make([]byte, 3<<20+17)
	_, _ = rand.Read(content)
	file, err := c.Create("/up.bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.ReadFrom(bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(f.fs.dir, "up.bin")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before CLOSE the file is seen: %v", err)
	}
	if err := file.Close(); err != nil {
		t.Fatalf("CLOSE: %v", err)
	}
	got, err := os.ReadFile(filepath.Join(f.fs.dir, "up.bin"))
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("stored %d bytes, %v; want %d equal ones", len(got), err, len(content))
	}
	back, err := c.Open("up.bin")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(back); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v; want %d equal ones", len(got), err, len(content))
	}
	_ = back.Close()

	for _, step := range []struct {
		name string
		do   func() error
		want error
	}{
		{"mkdir", func() error { return c.Mkdir("dir") }, nil},
		{"mkdir again", func() error { return c.Mkdir("dir") }, errors.New("File exists")},
		{"rename", func() error { return c.Rename("up.bin", "dir/a") }, nil},
		{"symlink", func() error { return c.Symlink("dir/a", "link") }, nil},
		{"link", func() error { return c.Link("dir/a", "b") }, nil},
		{"rename over", func() error { return c.Rename("b", "dir/a") }, errors.New("File exists")},
		{"symlink", func() error { return c.Symlink("dir/a", "other") }, nil},
		{"posix-rename over", func() error { return c.PosixRename("other", "link") }, nil},
		{"remove", func() error { return c.Remove("b") }, nil},
		{"chmod", func() error { return c.Chmod("dir/a", 0o600) }, nil},
		{"setuid", func() error { return c.Chmod("dir/a", 0o600|os.ModeSetuid) }, os.ErrPermission},
		{"chtimes", func() error { return c.Chtimes("dir/a", time.Unix(1e9, 0), time.Unix(1e9, 0)) }, nil},
		{"chown", func() error { return c.Chown("dir/a", 0, 0) }, errors.New("Operation unsupported")},
		{"rmdir not empty", func() error { return c.RemoveDirectory("dir") }, errors.New("Directory not empty")},
		{"remove missing", func() error { return c.Remove("nothing") }, os.ErrNotExist},
		{"newline", func() error { return c.Mkdir("a\nb") }, errors.New("Name not allowed")},
		{"nul", func() error { return c.Mkdir("a\x00b") }, errors.New("Name not allowed")},
	} {
		err := step.do()
		switch {
		case step.want == nil && err != nil:
			t.Errorf("%s: %v", step.name, err)
		case step.want != nil && err == nil:
			t.Errorf("%s: done, want %v", step.name, step.want)
		case err != nil && !errors.Is(err, step.want) && !strings.Contains(err.Error(), step.want.Error()):
			t.Errorf("%s: got %v, want %v", step.name, err, step.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the answer shows our side: %v", step.name, err)
		}
	}
	list, err := c.ReadDir("/")
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if err != nil || !slices.Equal(names, []string{"dir", "link"}) {
		t.Errorf("list %q, %v", names, err)
	}
	if target, err := c.ReadLink("link"); err != nil || target != "dir/a" {
		t.Errorf("readlink %q, %v", target, err)
	}
	if real, err := c.RealPath("dir/../../x/."); err != nil || real != "/x" {
		t.Errorf("realpath %q, %v", real, err)
	}
	if info, err := c.Stat("dir/a"); err != nil || info.Size() != int64(len(content)) ||
		info.Mode() != 0o600 || info.ModTime().Unix() != 1e9 {
		t.Errorf("stat %+v, %v", info, err)
	}
	if info, err := c.Lstat("link"); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("lstat %+v, %v", info, err)
	}
	if v, err := c.StatVFS("/"); err != nil || v.TotalSpace() != 1<<30 || v.FreeSpace() != 1<<29 {
		t.Errorf("statvfs %+v, %v", v, err)
	}
}

func TestListingOfManyNames(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	const many = 450
	for i := range many {
		name := strings.Repeat("n", 200) + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		if err := os.WriteFile(filepath.Join(f.fs.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, c := f.alice(t)
	list, err := c.ReadDir("/")
	if err != nil || len(list) != many {
		t.Errorf("got %d names, %v, want %d", len(list), err, many)
	}
}

// Promise 5: an upload whose connection dies is never seen, and can be resumed.
func TestDroppedConnectionAborts(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	conn, c := f.alice(t)
	file, err := c.Create("half")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("first ")); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	wait(t, "abort", func() (struct{}, bool) { return struct{}{}, f.fs.aborts.Load() == 1 })
	if n := f.fs.commits.Load(); n != 0 {
		t.Errorf("%d commits, want none", n)
	}
	if _, err := os.Stat(filepath.Join(f.fs.dir, "half")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is seen: %v", err)
	}

	_, c = f.alice(t)
	info, err := c.Stat("half")
	if err != nil || info.Size() != 6 {
		t.Fatalf("stat of what was kept: %v, %v, want 6 bytes", info, err)
	}
	file, err = c.OpenFile("half", os.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("second"), 6); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(f.fs.dir, "half")); err != nil || string(got) != "first second" {
		t.Errorf("stored %q, %v", got, err)
	}
}

// A channel that ends while the connection lives is a dropped upload as well.
func TestClosedChannelAborts(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	_, c := f.alice(t)
	if _, err := c.Create("half"); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	wait(t, "abort", func() (struct{}, bool) { return struct{}{}, f.fs.aborts.Load() == 1 })
	if n := f.fs.commits.Load(); n != 0 {
		t.Errorf("%d commits, want none", n)
	}
}

// The status of CLOSE says whether the file is there.
func TestFailureToStoreIsTheStatusOfClose(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	_, c := f.alice(t)
	file, err := c.Create("full")
	if err != nil {
		t.Fatal(err)
	}
	fault := error(session.ErrNoSpace)
	f.fs.writeFault.Store(&fault)
	if err := file.Close(); err == nil || !strings.Contains(err.Error(), "No space left") {
		t.Errorf("CLOSE: got %v, want No space left", err)
	}

	file, err = c.Create("hole")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("x")); err == nil {
		t.Error("write: done, want a failure")
	}
	f.fs.writeFault.Store(nil)
	if err := file.Close(); err == nil {
		t.Error("CLOSE after a failed write: done, want a failure")
	}
	if _, err := os.Stat(filepath.Join(f.fs.dir, "hole")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file with a hole is seen: %v", err)
	}
}

// A file opened for appending grows at its end whatever offset its writes name,
// in the order in which they were sent.
func TestAppend(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	want := bytes.Repeat([]byte("0123456789"), 3)
	if err := os.WriteFile(filepath.Join(f.fs.dir, "log"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	_, c := f.alice(t)
	more := make([]byte, 2<<20)
	_, _ = rand.Read(more)
	file, err := c.OpenFile("log", os.O_WRONLY|os.O_APPEND)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.ReadFrom(bytes.NewReader(more)); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(f.fs.dir, "log"))
	if err != nil || !bytes.Equal(got, append(want, more...)) {
		t.Errorf("stored %d bytes, %v, want %d in order", len(got), err, len(want)+len(more))
	}
}

// Requests by handle reach the open file and not what its name shows.
func TestHandleRequests(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	if err := os.WriteFile(filepath.Join(f.fs.dir, "f"), []byte("old content"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, c := f.alice(t)
	file, err := c.OpenFile("f", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if info, err := file.Stat(); err != nil || info.Size() != 3 {
		t.Errorf("FSTAT: %v, %v, want 3 bytes", info, err)
	}
	if info, err := c.Stat("f"); err != nil || info.Size() != 3 {
		t.Errorf("STAT: %v, %v, want 3 bytes", info, err)
	}
	_, other := f.alice(t)
	if info, err := other.Stat("f"); err != nil || info.Size() != 11 {
		t.Errorf("STAT by another: %v, %v, want the 11 bytes that are shown", info, err)
	}
	if err := file.Truncate(2); err != nil {
		t.Errorf("FSETSTAT: %v", err)
	}
	back := make([]byte, 2)
	if _, err := file.ReadAt(back, 0); err != nil || string(back) != "ne" {
		t.Errorf("READ of what was written: %q, %v", back, err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(f.fs.dir, "f")); string(got) != "ne" {
		t.Errorf("stored %q, want ne", got)
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	_, c := f.alice(t)
	var last error
	for i := range 9 {
		_, last = c.Create(fmt.Sprint(i))
	}
	if last == nil || !strings.Contains(last.Error(), "Too many open files") {
		t.Errorf("ninth file: got %v, want Too many open files", last)
	}
}

func TestExclusive(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	_, c := f.alice(t)
	file, err := c.OpenFile("x", os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.OpenFile("x", os.O_WRONLY|os.O_CREATE|os.O_EXCL); err == nil {
		t.Error("created twice")
	}
	if _, err := c.OpenFile("y", os.O_WRONLY); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("write without CREAT: got %v, want no such file", err)
	}
}

// A panic ends its connection only, and the record says so.
func TestPanicEndsOneConnection(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	_, other := f.alice(t)
	_, c := f.alice(t)
	f.fs.panics.Store(true)
	if err := c.Mkdir("d"); err == nil {
		t.Error("mkdir: done, want a failure")
	}
	if e := f.connection(t); e.Outcome != session.OutcomeFailed {
		t.Errorf("outcome %q, want failed", e.Outcome)
	}
	f.fs.panics.Store(false)
	if err := other.Mkdir("d"); err != nil {
		t.Errorf("the other connection: %v", err)
	}
}
