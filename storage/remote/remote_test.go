package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/upstream"
	"gateway/storage/storagetest"
)

// testServer is an SFTP server in this process, of pkg/sftp.
type testServer struct {
	address, pin string
	root         string

	mu    sync.Mutex
	conns []net.Conn
}

func startUpstream(t *testing.T) *testServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, cfg := newUpstream(t)
	u.address = ln.Addr().String()
	t.Cleanup(func() { _ = ln.Close(); u.cut() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			u.take(conn)
			go serveSFTP(conn, cfg)
		}
	}()
	return u
}

// newUpstream returns one that nobody can reach yet.
func newUpstream(t *testing.T) (*testServer, *ssh.ServerConfig) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	u := &testServer{pin: ssh.FingerprintSHA256(signer.PublicKey()), root: t.TempDir()}
	cfg := &ssh.ServerConfig{PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if c.User() == "gateway" && string(password) == "secret" {
			return nil, nil
		}
		return nil, errors.New("no")
	}}
	cfg.AddHostKey(signer)
	return u, cfg
}

// take remembers a connection.
func (u *testServer) take(conn net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conns = append(u.conns, conn)
}

// cut ends all connections, as a failing network would.
func (u *testServer) cut() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.conns {
		_ = c.Close()
	}
	u.conns = nil
}

func serveSFTP(conn net.Conn, cfg *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				_ = r.Reply(r.Type == "subsystem", nil)
			}
		}()
		server, err := sftp.NewServer(channel)
		if err != nil {
			return
		}
		go func() { _ = server.Serve() }()
	}
}

func (u *testServer) config() Config {
	return Config{Address: u.address, User: "gateway", Password: session.NewSecret("secret"), HostKeys: []string{u.pin}, Root: u.root}
}

func open(t *testing.T, u *testServer) *FS {
	t.Helper()
	s := New(u.config())
	t.Cleanup(func() { _ = s.Close() })
	f, err := s.Open(t.Context(), "joe")
	if err != nil {
		t.Fatal(err)
	}
	return f.(*FS)
}

func TestContract(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) storage.FS { return open(t, startUpstream(t)) }, storagetest.FollowFolders)
}

func put(t *testing.T, f *FS, name, content string) error {
	t.Helper()
	u, err := f.Create(t.Context(), name, storage.CreateOptions{})
	if err != nil {
		return err
	}
	if _, err := u.WriteAt([]byte(content), 0); err != nil {
		_ = u.Abort(true)
		return err
	}
	return u.Commit(t.Context())
}

func content(t *testing.T, f *FS, name string) string {
	t.Helper()
	file, err := f.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(file, 0, info.Size))
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// A server that goes away in mid-upload leaves the file as it was, is connected to anew,
// and the upload can go on.
func TestServerGoesAway(t *testing.T) {
	t.Parallel()
	server := startUpstream(t)
	f := open(t, server)
	if err := put(t, f, "a", "old content"); err != nil {
		t.Fatal(err)
	}
	u, err := f.Create(t.Context(), "b", storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = u.WriteAt([]byte("half"), 0)
	if err := errors.Join(err, u.Sync()); err != nil {
		t.Fatal(err)
	}
	server.cut()
	for err == nil { // until the client has noticed
		_, err = u.WriteAt([]byte("more"), 4)
	}
	if !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("a write without a server: %v", err)
	}
	if err := u.Abort(true); err == nil {
		t.Error("an upload without a server was kept")
	}
	for !u.(*upload).client.lease.Conn.Broken() { // until it was put away
	}
	if got := content(t, f, "a"); got != "old content" {
		t.Errorf("a is %q", got)
	}
	info, err := f.Stat(t.Context(), "b")
	if err != nil || !info.Partial || info.Size < 4 {
		t.Fatalf("b: %+v, %v", info, err)
	}
	if u, err = f.Create(t.Context(), "b", storage.CreateOptions{Keep: 4}); err != nil {
		t.Fatal(err)
	}
	if _, err := u.WriteAt([]byte(" and half"), 4); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := content(t, f, "b"); got != "half and half" {
		t.Errorf("b is %q", got)
	}
}

// What links say is the server's business: none is followed, wherever it leads.
func TestLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	server := startUpstream(t)
	f := open(t, server)
	outside := filepath.Join(server.root, "ann")
	if err := errors.Join(os.Mkdir(outside, 0o755), os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o644),
		os.Symlink(outside, filepath.Join(server.root, "joe", "way")), os.Symlink(filepath.Join(outside, "secret"), filepath.Join(server.root, "joe", "file"))); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for what, err := range map[string]error{
		"open through": second(f.Open(ctx, "way/secret")), "open": second(f.Open(ctx, "file")), "stat": second(f.Stat(ctx, "file")),
		"write through": put(t, f, "way/new", "x"), "write": put(t, f, "file", "x"), "mkdir": f.Mkdir(ctx, "way/d"), "remove": f.Remove(ctx, "way/secret"),
		"setattr": f.SetAttr(ctx, "file", storage.Attr{Size: new(int64)}), "rename": f.Rename(ctx, "way/secret", "mine", true),
	} {
		if !errors.Is(err, session.ErrDenied) {
			t.Errorf("%s: got %v", what, err)
		}
		if err != nil && strings.Contains(err.Error(), server.root) {
			t.Errorf("%s: the error says where the tree is: %v", what, err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(got) != "x" {
		t.Errorf("outside: %q, %v", got, err)
	}
}

func second[T any](_ T, err error) error { return err }

// A server with another key is not logged in to.
func TestHostKey(t *testing.T) {
	t.Parallel()
	cfg := startUpstream(t).config()
	cfg.HostKeys = []string{"SHA256:another"}
	if _, err := New(cfg).Open(context.Background(), "joe"); !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "somebody is between") {
		t.Errorf("got %v", err)
	}
}

// stalling is the server's end of a connection that can stop answering. What it writes is
// taken at once, as by a network: SSH has both sides write first.
type stalling struct {
	net.Conn
	stalled *atomic.Bool
	written chan []byte
	over    chan struct{}
	once    sync.Once
}

func (s *stalling) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.stalled.Load() {
		<-s.over
		return 0, io.EOF
	}
	return n, err
}

func (s *stalling) Write(p []byte) (int, error) {
	select {
	case s.written <- bytes.Clone(p):
		return len(p), nil
	case <-s.over:
		return 0, net.ErrClosed
	}
}

// carry carries what was written.
func (s *stalling) carry() {
	for {
		select {
		case p := <-s.written:
			if _, err := s.Conn.Write(p); err != nil {
				return
			}
		case <-s.over:
			return
		}
	}
}

func (s *stalling) Close() error {
	s.once.Do(func() { close(s.over) })
	return s.Conn.Close()
}

// A server that hangs is given up after a while, and connected to anew.
func TestServerThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, sshd := newUpstream(t)
		server.address = "192.0.2.7:22"
		var stalled atomic.Bool
		cfg := server.config()
		cfg.dial = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			conn := &stalling{Conn: there, stalled: &stalled, written: make(chan []byte, 100), over: make(chan struct{})}
			go conn.carry()
			server.take(conn)
			go serveSFTP(conn, sshd)
			return here, nil
		}
		s := New(cfg)
		defer server.cut()
		defer s.Close()
		f, err := s.Open(t.Context(), "joe")
		if err != nil {
			t.Fatal(err)
		}
		stalled.Store(true)
		began := time.Now()
		if _, err := f.Stat(t.Context(), "a"); !errors.Is(err, session.ErrUnavailable) || time.Since(began) > 2*upstream.DefaultTimeout {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		stalled.Store(false)
		if _, err := f.Stat(t.Context(), "a"); !errors.Is(err, session.ErrNotExist) {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// Files that are open at the same time are on connections of their own, up to the bound.
func TestConnections(t *testing.T) {
	t.Parallel()
	server := startUpstream(t)
	f := open(t, server)
	if err := put(t, f, "a", "content"); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		file, err := f.Open(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if n := len(server.conns); n != upstream.DefaultConnections {
		t.Errorf("%d connections, want %d", n, upstream.DefaultConnections)
	}
}

// What is read in sequence, elsewhere and from several sides is what is there, and a file
// that grows is read to its end.
func TestReading(t *testing.T) {
	t.Parallel()
	server := startUpstream(t)
	f := open(t, server)
	want := strings.Repeat("0123456789abcdef", 300_000)
	if err := put(t, f, "a", want); err != nil {
		t.Fatal(err)
	}
	file, err := f.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := make([]byte, 255<<10)
	for _, off := range []int64{0, 255 << 10, 4_000_000, 510 << 10, 17, 765 << 10, 0} {
		if n, err := file.ReadAt(p, off); n != len(p) || err != nil || string(p) != want[off:off+int64(n)] {
			t.Errorf("at %d: %d bytes, %v", off, n, err)
		}
	}
	grown, err := os.OpenFile(filepath.Join(server.root, "joe", "a"), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = grown.WriteString("more")
	}
	if err := errors.Join(err, grown.Close()); err != nil {
		t.Fatal(err)
	}
	if n, err := file.ReadAt(p, int64(len(want))); string(p[:n]) != "more" || err != io.EOF {
		t.Errorf("what was added: %q, %v", p[:n], err)
	}
}
