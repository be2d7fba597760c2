package listener_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"gateway/internal/listener"
	"gateway/session"
	"gateway/session/sessiontest"
)

// behind starts a server on loopback that takes all of proxies for load balancers,
// and answers with what it knows of the peer.
func behind(t *testing.T, core *sessiontest.Core, proxies ...string) (*listener.Server, net.Addr) {
	t.Helper()
	s, addr, _ := serve(t, core, func(_ context.Context, c *listener.Conn, a *session.Attempt) error {
		words := []string{a.Peer().Remote.String(), a.Peer().Local.String(), "direct"}
		if c.Proxied() {
			words[2] = "proxied"
		}
		if c.LocalAddr().String() == a.Peer().Local.String() {
			words = append(words, "own")
		}
		if _, err := io.WriteString(c, strings.Join(words, " ")+"\n"); err != nil {
			return err
		}
		line, err := io.ReadAll(c)
		if string(line) != "hello\n" {
			t.Errorf("the client's first words are %q, %v", line, err)
		}
		return err
	}, proxies...)
	return s, addr
}

// say sends text and returns the answer.
func say(t *testing.T, addr net.Addr, text string) string {
	t.Helper()
	c := dial(t, addr)
	_, _ = io.WriteString(c, text)
	_ = c.(*net.TCPConn).CloseWrite()
	got, _ := io.ReadAll(c)
	return string(got)
}

func TestProxyNamesTheClient(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	s, addr := behind(t, core, "127.0.0.0/8")
	got := say(t, addr, "PROXY TCP4 192.0.2.7 198.51.100.1 40000 21\r\nhello\n")
	if want := "192.0.2.7:40000 198.51.100.1:21 proxied\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := say(t, addr, "PROXY UNKNOWN\r\nhello\n"); !strings.HasPrefix(got, "127.0.0.1:") || !strings.HasSuffix(got, addr.String()+" proxied own\n") {
		t.Errorf("the proxy's own connection: got %q", got)
	}
	_ = s.Shutdown(t.Context())
	events := core.Record.Events(session.EventConnection)
	if len(events) != 2 || events[0].Remote.String() != "192.0.2.7:40000" || events[0].BytesIn != 6 {
		t.Errorf("got %+v", events)
	}
}

// Whoever is not a proxy is who he is, whatever he sends: here the client's first
// words are the header.
func TestStrangersHeaderIsNotBelieved(t *testing.T) {
	t.Parallel()
	for _, proxies := range [][]string{nil, {"192.0.2.0/24", "::1/128"}} {
		core := sessiontest.New(t, nil)
		seen := make(chan string, 1)
		_, addr, _ := serve(t, core, func(_ context.Context, c *listener.Conn, a *session.Attempt) error {
			all, err := io.ReadAll(c)
			seen <- a.Peer().Remote.Addr().String() + " " + string(all)
			if c.Proxied() {
				t.Error("a stranger is taken for a proxy")
			}
			return err
		}, proxies...)
		const header = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 21\r\n"
		say(t, addr, header)
		if got := <-seen; got != "127.0.0.1 "+header {
			t.Errorf("got %q", got)
		}
	}
}

// A proxy without a header is recorded under its own address, once, and not charged:
// it is ours, and a ban would fail its health checks.
func TestProxyWithoutHeaderIsRecorded(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	s, addr := behind(t, core, "127.0.0.1/32")
	sent := []string{"", "hello\n", "PROXY TCP4 192.0.2.7", "PROXY TCP4 x y 1 2\r\nhello\n", "PROXY UNKNOWN " + strings.Repeat("x", 1000)}
	for _, text := range sent {
		if got := say(t, addr, text); got != "" {
			t.Errorf("after %q: got %q", text, got)
		}
	}
	_ = s.Shutdown(t.Context())
	events := core.Record.Events(session.EventConnection)
	if len(events) != len(sent) {
		t.Fatalf("got %d records, want %d", len(events), len(sent))
	}
	for _, e := range events {
		if e.Outcome != session.OutcomeHandshakeFailed || e.Count != 1 || e.Remote.Addr().String() != "127.0.0.1" || !strings.Contains(e.Reason, "PROXY header") {
			t.Errorf("got %+v", e)
		}
	}
	if got := core.Limits.Offences(); len(got) != 0 {
		t.Errorf("charged for %v", got)
	}
	if admitted, _ := core.Limits.Held(); admitted != 0 {
		t.Errorf("%d places are held", admitted)
	}
}

// Connections whose header is outstanding do not hold up the end, and have their
// record too. There are never more of them than maxAwaited.
func TestAwaitedHeaders(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	s, addr := behind(t, core, "127.0.0.1/32")
	const most, more = 512, 20
	for range most + more {
		dial(t, addr)
	}
	refused := func() int { return len(core.Record.Events(session.EventConnection)) }
	for deadline := time.Now().Add(4 * time.Second); refused() < more && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // the kernel's accept queue: nothing to wait on
	}
	began := time.Now()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the end took %v", took)
	}
	tooMany, shutdown := 0, 0
	for _, e := range core.Record.Events(session.EventConnection) {
		switch {
		case e.Outcome != session.OutcomeRefused:
			t.Errorf("got %+v", e)
		case strings.HasPrefix(e.Reason, session.ErrTooMany.Error()):
			tooMany++
		case e.Reason == session.ErrShutdown.Error():
			shutdown++
		}
	}
	if tooMany != more || shutdown != most {
		t.Errorf("got %d too many and %d ended, want %d and %d", tooMany, shutdown, more, most)
	}
}

// The rules and limits see the client that the proxy names.
func TestClientBehindProxyIsRefused(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	core.Limits.Refuse("Admit", session.ErrTooMany)
	s, addr := behind(t, core, "127.0.0.1/32")
	_ = say(t, addr, "PROXY TCP6 2001:db8::7 2001:db8::1 40000 21\r\n")
	_ = s.Shutdown(t.Context())
	events := core.Record.Events(session.EventConnection)
	if len(events) != 1 || events[0].Remote.String() != "[2001:db8::7]:40000" || events[0].Outcome != session.OutcomeRefused {
		t.Errorf("got %+v", events)
	}
}
