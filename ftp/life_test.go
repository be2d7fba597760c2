package ftp_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/ftp"
	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/transfer"
)

// pipes is a listener without a network, for tests that own the clock.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(t *testing.T) *client {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return &client{t: t, conn: ours, raw: ours, r: bufio.NewReader(ours)}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		do    func(*client)
		after time.Duration
		says  string
		cause string
	}{
		{"login grace", func(*client) {}, 30 * time.Second, "421 Login timeout.", session.ErrGrace.Error()},
		{"login grace is not prolonged by commands", func(c *client) {
			for range 29 {
				time.Sleep(time.Second)
				c.do("NOOP", "200 *")
			}
		}, 30 * time.Second, "421 Login timeout.", session.ErrGrace.Error()},
		{"idle", func(c *client) { c.login() }, 5 * time.Minute, "421 Idle timeout.", session.ErrIdle.Error()},
		{"kept alive without a transfer", func(c *client) {
			c.login()
			for range 19 {
				time.Sleep(30 * time.Second)
				c.do("PWD", "257 *")
			}
		}, 10 * time.Minute, "421 Idle timeout.", session.ErrIdle.Error()},
		{"kept alive by listings on the control connection", func(c *client) {
			c.login()
			for range 19 {
				time.Sleep(30 * time.Second)
				c.do("STAT .", "212*")
			}
		}, 10 * time.Minute, "421 Idle timeout.", session.ErrIdle.Error()},
		{"shortened by the client", func(c *client) {
			c.login()
			c.do("SITE IDLE 40", "200 *")
		}, 40 * time.Second, "421 Idle timeout.", session.ErrIdle.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				core := sessiontest.New(t, nil)
				files := newTree(t)
				server := ftp.New(ftp.Config{Gate: core.Gate, Files: func(_ context.Context, s *session.Session) (*transfer.Files, error) {
					return transfer.New(s, files, transfer.Limits{}), nil
				}})
				ln := newPipes()
				go func() { _ = server.Serve(t.Context(), ln) }()
				cl := ln.dial(t)
				began := time.Now()
				cl.expect("220 *")
				c.do(cl)
				cl.expect(c.says)
				if took := time.Since(began).Round(time.Second); took != c.after {
					t.Errorf("took %v, want %v", took, c.after)
				}
				cl.closed()
				_ = server.Shutdown(t.Context())
				if e := core.Record.Events(session.EventConnection); len(e) != 1 || e[0].Reason != c.cause {
					t.Errorf("got %+v, want one with reason %q", e, c.cause)
				}
			})
		})
	}
}

// A killed or disabled session hears 421 and is closed, idle or in a transfer.
func TestKilledSession(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	idle, busy := f.dial(t).login(), f.dial(t).login()
	busy.data()
	busy.do("STOR f", "150 *")
	before := time.Now()
	if n := f.core.Gate.Revoke("alice"); n != 2 {
		t.Fatalf("%d sessions, want 2", n)
	}
	idle.expect("421 *")
	idle.closed()
	busy.expect("426 *")
	busy.expect("421 *")
	busy.closed()
	if took := time.Since(before); took > time.Second {
		t.Errorf("took %v, want a second at most", took)
	}
	if f.tree.has("f") {
		t.Error("the upload is visible")
	}
}

// D19: draining says 421 to idle connections and lets transfers finish.
func TestD19Shutdown(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	idle, busy, cut := f.dial(t).login(), f.dial(t).login(), f.dial(t).login()
	d := busy.data()
	busy.do("STOR f", "150 *")
	cut.data()
	cut.do("STOR g", "150 *")
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- f.server.Shutdown(ctx) }()
	idle.expect("421 *")
	idle.closed()
	_, _ = io.WriteString(d, "content")
	_ = d.Close()
	busy.expect("226 *")
	busy.expect("421 *")
	busy.closed()
	if got := f.tree.get(t, "f"); got != "content" {
		t.Errorf("got %q", got)
	}
	cancel() // the grace period is over
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if f.tree.has("g") {
		t.Error("the upload that was cut is visible")
	}
}

// A peer with its queue full, and one that said QUIT, cannot hold up a shutdown
// whose grace period is over.
func TestShutdownCutsTransfers(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"QUIT\r\n", strings.Repeat("PWD\r\n", 200)} {
		f := start(t, nil, ftp.Config{})
		c := f.dial(t).login()
		c.data()
		c.do("STOR f", "150 *")
		c.send(more)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := f.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if f.tree.has("f") {
			t.Error("the upload is visible")
		}
	}
}

// D29: who is not served hears 421.
func TestRefusedConnections(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	for _, err := range []error{session.ErrTooMany, session.ErrBanned} {
		f.core.Limits.Refuse("Admit", err)
		c := f.dialSilent(t)
		c.expect("421 *")
		c.closed()
	}
	f.core.Limits.Refuse("Admit", nil)
	denied := start(t, func(session.Request) session.Verdict { return session.Verdict{Hint: "Not from here."} }, ftp.Config{})
	d := denied.dialSilent(t)
	d.expect("421 Not from here.")
	d.closed()
	for method, want := range map[string]string{"Guess": "421 *", "Enter": "421 *"} {
		f.core.Limits.Refuse(method, session.ErrTooMany)
		c := f.dial(t)
		c.do("USER alice", "331 *")
		c.do("PASS right", want)
		c.closed()
		f.core.Limits.Refuse(method, nil)
	}
	f.core.Record.Fail(errors.New("disk full")) // promise 3: what is not recorded is not granted
	c := f.dial(t)
	c.do("USER alice", "331 *")
	c.do("PASS right", "421 *")
	c.closed()
	f.core.Record.Fail(nil)
}

// D32: a wrong password does not end the connection at once; too many do.
func TestD32AttemptsAreCounted(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	c := f.dial(t)
	for range 6 {
		c.do("USER alice", "331 *")
		c.do("PASS wrong", "530 Login incorrect.")
	}
	c.do("USER alice", "331 *")
	c.do("PASS right", "421 *")
	c.closed()
}

// D30: no credential and no argument reaches the log, in any spelling.
func TestD30NoSecretInTheLog(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	c := f.dial(t)
	c.do("user alice", "331 *")
	c.do("pass hunter2", "530 *")
	c.do("PAS hunter2", "530 *")
	c.do("hunter2", "530 *")
	c.do("ACCT hunter2", "202 *")
	c.do("USER alice", "331 *")
	c.do("pAsS right", "230 *")
	c.do("PASS hunter2", "503 *")
	c.do("hunter2", "500 *")
	if log := strings.ToLower(f.log.String()); strings.Contains(log, "hunter2") || strings.Contains(log, "right") {
		t.Errorf("the log holds a secret:\n%s", log)
	}
}

// D18: a line without end is cut off, and said so.
func TestD18LongLine(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	c := f.dial(t)
	c.send("USER " + strings.Repeat("x", 4096))
	c.expect("500 Line too long.")
	c.closed()
	c = f.dial(t)
	c.send(strings.Repeat("\xff", 5000))
	c.expect("500 Line too long.")
}

// D31: each session has an id of its own.
func TestD31SessionIDs(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.dial(t).login()
	f.dial(t).login()
	e := f.core.Record.Events(session.EventLogin)
	if len(e) != 2 || e[0].Session == e[1].Session || e[0].Conn == e[1].Conn {
		t.Errorf("got %+v", e)
	}
}

// CVE-2023-24042: what is opened is what is sent, whatever is said meanwhile.
func TestNameTransferRace(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "a", "content of a")
	f.tree.put(t, "b", "secret")
	c := f.dial(t).login()
	at := c.epsv()
	c.send("RETR a\r\nUSER /b\r\n")
	d, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c.expect("150 *")
	if got, _ := io.ReadAll(d); string(got) != "content of a" {
		t.Errorf("got %q", got)
	}
	_ = d.Close()
	c.expect("226 *")
	c.expect("331 *")
}

// One byte within each stall interval does not keep a transfer alive, nor do
// commands meanwhile.
func TestLeastRate(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TransferStall: 200 * time.Millisecond, LeastRate: 1 << 10})
	for _, verb := range []string{"STOR slow", "APPE slow"} {
		c := f.dial(t).login()
		d := c.data()
		c.do(verb, "150 *")
		stop := make(chan struct{})
		var drip sync.WaitGroup
		drip.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					_, _ = d.Write([]byte("."))
					_, _ = io.WriteString(c.conn, "NOOP\r\n")
				case <-stop:
					return
				}
			}
		})
		got := c.reply()
		for strings.HasPrefix(got, "200") {
			got = c.reply()
		}
		close(stop)
		drip.Wait()
		if got != "426 Transfer too slow; aborted." {
			t.Errorf("%s: got %q", verb, got)
		}
		if f.tree.has("slow") {
			t.Error("the upload is visible")
		}
	}
}

// A client that opens two hundred passive ports and goes away leaves nothing
// behind: no port taken, no goroutine, no descriptor.
func TestPortsOfAClientThatWentAway(t *testing.T) {
	ports := freePorts(t, 8)
	f := start(t, nil, ftp.Config{PassivePorts: ports})
	c := f.dial(t).login()
	for range 200 {
		conn, err := net.Dial("tcp", c.epsv()) // and nobody asks for it
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	_ = c.conn.Close()
	for range 8 {
		d := f.dial(t).login()
		d.epsv()
		_ = d.conn.Close()
	}
	waitFor(t, func() bool { _, busy, _ := ports.Stats(); return busy == 0 })
	if err := f.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	ports.Close()
	waitFor(t, func() bool { free, _, _ := ports.Stats(); return free == 8 })
	waitFor(t, func() bool { // this test is not parallel: there are none of others
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !strings.Contains(string(stacks), "ftp.(*sharedPort)") && !strings.Contains(string(stacks), "ftp.(*conn)")
	})
}
