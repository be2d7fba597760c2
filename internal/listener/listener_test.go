package listener_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"gateway/internal/listener"
	"gateway/session"
	"gateway/session/sessiontest"
)

// serve starts a server on a port of the kernel's choice, behind proxies in those
// networks.
func serve(t *testing.T, core *sessiontest.Core, handle func(context.Context, *listener.Conn, *session.Attempt) error, proxies ...string) (*listener.Server, net.Addr, <-chan error) {
	t.Helper()
	s := &listener.Server{
		Gate: core.Gate, Name: "test", Protocol: session.FTP, Handle: handle,
		Refuse: func(c net.Conn, cause error) { _, _ = io.WriteString(c, "refused: "+cause.Error()+"\n") },
	}
	for _, p := range proxies {
		s.Proxies = append(s.Proxies, netip.MustParsePrefix(p))
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(t.Context(), ln) }()
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	return s, ln.Addr(), done
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func echoLine(_ context.Context, c *listener.Conn, _ *session.Attempt) error {
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil {
		_, err = io.WriteString(c, line)
	}
	return err
}

func TestServeCountsAndRecords(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	s, addr, served := serve(t, core, echoLine)
	c := dial(t, addr)
	_, _ = io.WriteString(c, "hello\n")
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "hello\n" {
		t.Fatalf("got %q, %v", got, err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatalf("Shutdown: %v", err)
	}
	if err := <-served; !errors.Is(err, listener.ErrServerClosed) {
		t.Errorf("Serve returned %v", err)
	}
	events := core.Record.Events(session.EventConnection)
	if len(events) != 1 || events[0].BytesIn != 6 || events[0].BytesOut != 6 || events[0].Listener != "test" {
		t.Errorf("got %+v", events)
	}
}

// A panic ends its connection only, and has its record.
func TestPanicEndsOneConnection(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	s, addr, _ := serve(t, core, func(ctx context.Context, c *listener.Conn, a *session.Attempt) error {
		line, _ := bufio.NewReader(c).ReadString('\n')
		if line == "boom\n" {
			panic("boom")
		}
		_, err := io.WriteString(c, line)
		return err
	})
	bad, good := dial(t, addr), dial(t, addr)
	_, _ = io.WriteString(bad, "boom\n")
	if _, err := io.ReadAll(bad); err != nil {
		t.Logf("the panicking connection ended with %v", err)
	}
	_, _ = io.WriteString(good, "hi\n")
	if got, err := io.ReadAll(good); string(got) != "hi\n" || err != nil {
		t.Errorf("the other connection got %q, %v", got, err)
	}
	_ = s.Shutdown(t.Context())
	outcomes := core.Record.Outcomes()
	if len(outcomes) != 2 || outcomes[0] != "connection failed" && outcomes[1] != "connection failed" {
		t.Errorf("got %q", outcomes)
	}
	if got := core.Limits.Offences(); len(got) == 0 || got[0] != session.Crash && got[1] != session.Crash {
		t.Errorf("offences %v", got)
	}
}

func TestRefusedConnectionIsTold(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	core.Limits.Refuse("Admit", session.ErrTooMany)
	s, addr, _ := serve(t, core, echoLine)
	got, err := io.ReadAll(dial(t, addr))
	if err != nil || string(got) != "refused: too many\n" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = s.Shutdown(t.Context())
}

func TestShutdownDrainsThenCuts(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	started := make(chan struct{}, 2)
	s, addr, _ := serve(t, core, func(_ context.Context, c *listener.Conn, _ *session.Attempt) error {
		line, _ := bufio.NewReader(c).ReadString('\n')
		started <- struct{}{}
		if line == "stubborn\n" {
			_, err := io.ReadAll(c)
			return err
		}
		<-c.Draining()
		_, _ = io.WriteString(c, "bye\n")
		return session.ErrShutdown
	})
	polite, stubborn := dial(t, addr), dial(t, addr)
	_, _ = io.WriteString(polite, "polite\n")
	_, _ = io.WriteString(stubborn, "stubborn\n")
	<-started
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(ctx) }()
	if got, err := io.ReadAll(polite); string(got) != "bye\n" || err != nil {
		t.Errorf("the polite one got %q, %v", got, err)
	}
	select {
	case err := <-stopped:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown returned %v", err)
	}
	_ = stubborn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(stubborn); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the stubborn one was not cut: %v", err)
	}
	if n := len(core.Record.Events(session.EventConnection)); n != 2 {
		t.Errorf("%d connection records, want 2", n)
	}
}
