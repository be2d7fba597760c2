package sftp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/transfer"
)

func TestShellAndCommandsAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	c, _ := f.alice(t)
	for name, run := range map[string]func(*ssh.Session) error{
		"exec":  func(s *ssh.Session) error { return s.Run("rm -rf /") },
		"shell": func(s *ssh.Session) error { return errors.Join(s.Shell(), s.Wait()) },
	} {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		s.Stderr = &out
		err = run(s)
		exit, ok := errors.AsType[*ssh.ExitError](err)
		if !ok || exit.ExitStatus() != 1 || out.String() != sftpOnly {
			t.Errorf("%s: %v, said %q", name, err, out.String())
		}
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.RequestPty("xterm", 25, 80, nil); err == nil {
		t.Error("a terminal was given")
	}
	if err := s.Setenv("LD_PRELOAD", "x"); err == nil {
		t.Error("a variable was set")
	}
	if err := s.RequestSubsystem("netconf"); err == nil {
		t.Error("another subsystem was started")
	}
	for _, name := range []string{"auth-agent-req@openssh.com", "x11-req", "window-change", "signal"} {
		if ok, err := s.SendRequest(name, true, nil); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

func TestForwardingIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	c, _ := f.alice(t)
	if _, err := c.Dial("tcp", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "forwarding is not allowed") {
		t.Errorf("direct-tcpip: %v", err)
	}
	if _, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("tcpip-forward was granted")
	}
	if ok, _, err := c.SendRequest(keepaliveRequest, true, nil); err != nil || !ok {
		t.Errorf("keepalive: %v, %v", ok, err)
	}
	for _, kind := range []string{"direct-streamlocal@openssh.com", "x11", "forwarded-tcpip", "tun@openssh.com"} {
		if _, _, err := c.OpenChannel(kind, nil); err == nil || !strings.Contains(err.Error(), "forwarding is not allowed") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, name := range []string{"streamlocal-forward@openssh.com", "cancel-tcpip-forward", "no-more-sessions@openssh.com"} {
		if ok, _, err := c.SendRequest(name, true, nil); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	if _, _, err := c.OpenChannel("mystery", nil); err == nil || !strings.Contains(err.Error(), "unknown channel type") {
		t.Errorf("mystery: %v", err)
	}
}

func TestMaxSessions(t *testing.T) {
	t.Parallel()
	f := start(t, nil, func(c *Config) { c.MaxSessions = 3 })
	c, _ := f.alice(t) // holds one
	var open []*ssh.Session
	for range 2 {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	if _, err := c.NewSession(); err == nil || !strings.Contains(err.Error(), "too many sessions") {
		t.Errorf("fourth: %v, want too many sessions", err)
	}
	_ = open[0].Close()
	wait(t, "place for another", func() (struct{}, bool) {
		s, err := c.NewSession()
		if err == nil {
			_ = s.Close()
		}
		return struct{}{}, err == nil
	})
}

func TestKilledSessionEnds(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	conn, c := f.alice(t)
	file, err := c.Create("half")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if !f.core.Gate.Kill(f.core.Gate.Sessions()[0].ID) {
		t.Fatal("no session to kill")
	}
	_ = conn.Wait()
	if e := f.connection(t); e.Reason != session.ErrKilled.Error() || e.Outcome != session.OutcomeSession {
		t.Errorf("connection %s", sessiontest.String(e))
	}
	if f.fs.commits.Load() != 0 || f.fs.aborts.Load() != 1 {
		t.Errorf("%d commits and %d aborts, want an abort", f.fs.commits.Load(), f.fs.aborts.Load())
	}
}

// Draining ends idle connections at once and lets transfers finish.
func TestDrain(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	idle, _ := f.alice(t)
	busy, c := f.alice(t)
	file, err := c.Create("last")
	if err != nil {
		t.Fatal(err)
	}
	silent := f.dialConn(t)
	stopped := make(chan struct{})
	go func() { f.stop(); close(stopped) }()
	_ = idle.Wait()
	_, _ = io.Copy(io.Discard, silent)
	select {
	case <-stopped:
		t.Fatal("stopped with a file open")
	default:
	}
	if _, err := file.Write([]byte("content")); err != nil {
		t.Errorf("write while draining: %v", err)
	}
	if _, err := c.Create("another"); err == nil || !strings.Contains(err.Error(), "Shutting down") {
		t.Errorf("open while draining: %v", err)
	}
	if err := file.Close(); err != nil {
		t.Errorf("CLOSE while draining: %v", err)
	}
	_ = busy.Wait()
	<-stopped
	if got, err := os.ReadFile(filepath.Join(f.fs.dir, "last")); err != nil || string(got) != "content" {
		t.Errorf("stored %q, %v", got, err)
	}
}

// When the grace period is over, what is left is cut, and aborted.
func TestShutdownCuts(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	conn, c := f.alice(t)
	if _, err := c.Create("half"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	_ = conn.Wait()
	if f.fs.aborts.Load() != 1 || f.fs.commits.Load() != 0 {
		t.Errorf("%d commits and %d aborts, want an abort", f.fs.commits.Load(), f.fs.aborts.Load())
	}
}

// logIn is alice's connection in a test without a network.
func (f *fixture) logIn(t *testing.T, c net.Conn) (ssh.Conn, <-chan *ssh.Request) {
	t.Helper()
	conn, _, requests, err := ssh.NewClientConn(c, "pipe", &ssh.ClientConfig{
		User: "alice", Auth: []ssh.AuthMethod{ssh.Password("right")}, HostKeyCallback: ssh.FixedHostKey(f.host),
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn, requests
}

// Keepalives, of either side, are not requests for files.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		f := startOn(t, ln, nil, nil)
		conn, requests := f.logIn(t, ln.dial(t))
		began := time.Now()
		go ssh.DiscardRequests(requests)
		asking := make(chan struct{})
		go func() {
			defer close(asking)
			for {
				if _, _, err := conn.SendRequest(keepaliveRequest, true, nil); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		}()
		_ = conn.Wait()
		if took := time.Since(began); took != defaultIdleTimeout {
			t.Errorf("cut off after %v, want %v", took, defaultIdleTimeout)
		}
		<-asking
		if e := f.connection(t); e.Reason != session.ErrIdle.Error() {
			t.Errorf("connection %s", sessiontest.String(e))
		}
	})
}

// A client that answers keepalives stays; one that answers nothing is cut off.
func TestKeepalive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		f := startOn(t, ln, nil, func(c *Config) { c.IdleTimeout = 24 * time.Hour })
		conn, requests := f.logIn(t, ln.dial(t))
		began := time.Now()
		if told := <-requests; told.Type != hostKeysAnnounce || told.WantReply {
			t.Errorf("told %q", told.Type)
		}
		const answered = 20
		for i := range answered {
			asked := <-requests
			if asked == nil {
				t.Fatalf("cut off after %d answers", i)
			}
			if asked.Type != keepaliveRequest || !asked.WantReply {
				t.Errorf("asked %q", asked.Type)
			}
			_ = asked.Reply(false, nil)
		}
		go func() { // read and never answer
			for range requests {
			}
		}()
		_ = conn.Wait()
		if took, want := time.Since(began), (answered+defaultKeepalives)*defaultKeepalive; took != want {
			t.Errorf("cut off after %v, want %v", took, want)
		}
		if e := f.connection(t); e.Reason != session.ErrIdle.Error() {
			t.Errorf("connection %s", sessiontest.String(e))
		}
	})
}

func TestTreeThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	f := start(t, nil, func(c *Config) {
		c.Files = func(context.Context, *session.Session) (*transfer.Files, error) {
			return nil, errors.New("in /secret/place: no such folder")
		}
	})
	c, err := f.dial(t, "alice", ssh.Password("right"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, _ := s.StdoutPipe()
	said, _ := s.StderrPipe()
	if err := s.RequestSubsystem("sftp"); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(out); len(got) != 0 {
		t.Errorf("said %q", got)
	}
	if got, _ := io.ReadAll(said); string(got) != "Service not available, try again later.\r\n" {
		t.Errorf("said %q", got)
	}
}

// Nothing is left running when the connections are over. Not parallel: it counts
// goroutines.
func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	f := start(t, nil, nil)
	for range 5 {
		conn, c := f.alice(t)
		if _, err := c.Create("open"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadDir("/"); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	_, _ = f.dial(t, "alice", ssh.Password("wrong"))
	_ = f.dialConn(t).Close()
	f.stop()
	wait(t, "end of all goroutines", func() (struct{}, bool) { return struct{}{}, runtime.NumGoroutine() <= before })
}
