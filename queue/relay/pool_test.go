package relay

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Connections are kept for the next message; after a refusal RSET comes first.
func TestConnectionIsKept(t *testing.T) {
	t.Parallel()
	for _, extension := range []string{"PIPELINING", "SIZE"} {
		t.Run(extension, func(t *testing.T) {
			t.Parallel()
			s := &sink{extensions: []string{extension}}
			s.answer = noVainData(s)
			c := &Client{Hostname: "gw.example.com"}
			target := endpoint(s.start(t, "127.0.0.1:0"), "")
			for _, who := range []string{"a@y.test", "nobody@y.test", "b@y.test", "c@y.test"} {
				r := c.Deliver(t.Context(), target, letter(who))
				want := Delivered
				if who == "nobody@y.test" {
					want = Failed
				}
				if r.Statuses[0].Outcome != want {
					t.Errorf("%s: got %+v", who, r)
				}
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if connections, messages := s.count(); connections != 1 || messages != 3 {
				t.Errorf("got %d connections and %d messages, want 1 and 3", connections, messages)
			}
			if got := s.heard("RSET", "QUIT"); !slices.Equal(got, []string{"RSET", "QUIT"}) {
				t.Errorf("got %q", got)
			}
		})
	}
}

// noVainData refuses nobody@y.test, and DATA after that.
func noVainData(s *sink) func(string) string {
	return func(line string) string {
		if line == "RCPT TO:<nobody@y.test>" {
			return "550 5.1.1 who"
		}
		if line == "DATA" {
			if last := s.heard("RCPT"); last[len(last)-1] == "RCPT TO:<nobody@y.test>" {
				return "554 5.5.1 no valid recipients"
			}
		}
		return ""
	}
}

// A connection that the peer has closed meanwhile is replaced without a word, by
// whatever it said.
func TestStaleConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	for _, parting := range []string{"drop", "421 4.4.2 idle for too long"} {
		t.Run(parting, func(t *testing.T) {
			t.Parallel()
			var mails atomic.Int32
			s := &sink{extensions: []string{"PIPELINING"}}
			s.answer = func(line string) string {
				if strings.HasPrefix(line, "MAIL") {
					if mails.Add(1) == 2 {
						return parting
					}
				}
				return ""
			}
			c := &Client{Hostname: "gw.example.com"}
			target := endpoint(s.start(t, "127.0.0.1:0"), "")
			for range 3 {
				r := c.Deliver(t.Context(), target, letter("b@y.test"))
				wantStatus(t, r.Statuses[0], Delivered, "2.0.0", "taken")
			}
			_ = c.Close()
			if connections, messages := s.count(); connections != 2 || messages != 3 {
				t.Errorf("got %d connections and %d messages, want 2 and 3", connections, messages)
			}
		})
	}
}

// Bounds of what is kept: time, number, messages; and nothing after Close.
func TestKeptConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		client      *Client
		connections int
	}{
		"not at all":        {&Client{IdleTimeout: -1}, 4},
		"two messages each": {&Client{MaxMessages: 2}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &sink{}
			target := endpoint(s.start(t, "127.0.0.1:0"), "")
			for range 4 {
				wantStatus(t, c.client.Deliver(t.Context(), target, letter("b@y.test")).Statuses[0], Delivered, "2.0.0", "taken")
			}
			_ = c.client.Close()
			if connections, _ := s.count(); connections != c.connections {
				t.Errorf("got %d connections, want %d", connections, c.connections)
			}
		})
	}
}

func TestIdleConnectionsLeave(t *testing.T) {
	t.Parallel()
	left := make(chan string, 1)
	s := &sink{answer: func(line string) string {
		if line == "QUIT" {
			left <- line
		}
		return ""
	}}
	c := &Client{IdleTimeout: time.Millisecond}
	target := endpoint(s.start(t, "127.0.0.1:0"), "")
	wantStatus(t, c.Deliver(t.Context(), target, letter("b@y.test")).Statuses[0], Delivered, "2.0.0", "taken")
	<-left
	_ = c.Close()
}

func TestDeliverAfterClose(t *testing.T) {
	t.Parallel()
	s := &sink{}
	c := &Client{}
	target := endpoint(s.start(t, "127.0.0.1:0"), "")
	_ = c.Close()
	wantStatus(t, c.Deliver(t.Context(), target, letter("b@y.test")).Statuses[0], Delivered, "2.0.0", "taken")
	if len(c.idle.kept) != 0 {
		t.Error("a connection is kept after Close")
	}
	_ = c.Close()
}

// Many at once: nobody gets another's answer.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := &sink{extensions: []string{"PIPELINING"}}
	s.answer = func(line string) string {
		if line == "RCPT TO:<odd@y.test>" {
			return "550 5.1.1 odd"
		}
		return ""
	}
	c := &Client{MaxIdle: 2, MaxMessages: 7}
	target := endpoint(s.start(t, "127.0.0.1:0"), "")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				r := c.Deliver(t.Context(), target, letter("even@y.test", "odd@y.test"))
				if r.Statuses[0].Outcome != Delivered || r.Statuses[1].Outcome != Failed {
					t.Errorf("got %+v", r)
				}
			}
		})
	}
	all.Wait()
	_ = c.Close()
	if _, n := s.count(); n != 160 {
		t.Errorf("got %d messages", n)
	}
}
