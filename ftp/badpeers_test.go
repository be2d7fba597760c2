package ftp_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/session"
)

// Each verb, with nothing, one byte and as much as fits, in the states that
// TestEveryVerbAnswers does not reach: while a data connection is awaited, after
// EPSV ALL, and after CCC.
func TestEveryVerbAnswersInOddStates(t *testing.T) {
	t.Parallel()
	f := start(t, granting(session.DataRules{ClearControl: true}), ftp.Config{TLS: serverTLS(t), DataTimeout: time.Hour})
	f.tree.put(t, "hello.txt", "hello\n")
	waiting := func(command string) func(*testing.T) (*client, int) {
		return func(t *testing.T) (*client, int) {
			c := f.dial(t).login()
			c.epsv()
			c.send(command + "\r\nNOOP\r\n")
			c.expect("200 *")
			return c, 1
		}
	}
	states := map[string]func(t *testing.T) (c *client, pending int){
		"waiting to send":    waiting("RETR hello.txt"),
		"waiting to receive": waiting("STOR up"),
		"waiting to list":    waiting("LIST"),
		"EPSV ALL": func(t *testing.T) (*client, int) {
			c := f.dial(t).login()
			c.do("EPSV ALL", "200 *")
			return c, 0
		},
		"CCC": func(t *testing.T) (*client, int) {
			c := f.dial(t).secure().login()
			c.do("CCC", "200 *")
			c.conn, c.r = c.raw, bufio.NewReader(afterTLS{c})
			return c, 0
		},
	}
	for state, enter := range states {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			for _, verb := range append(ftp.Verbs(), "XYZZY") {
				for _, arg := range []string{"", " ", " x", " " + strings.Repeat("y", 4096-len(verb)-2)} {
					c, pending := enter(t)
					c.send(verb + arg + "\r\n")
					what := state + ": " + verb + arg[:min(len(arg), 12)]
					if pending > 0 && verb != "ABOR" {
						if (verb == "NOOP" || verb == "STAT") && (verb == "NOOP" || arg == "" || arg == " ") {
							answered(t, what, c.reply())
						} else {
							pending++
						}
						c.send("ABOR\r\n")
					}
					if pending > 0 {
						c.expect("426 *")
						c.expect("226 *")
					}
					if pending != 1 {
						answered(t, what, c.reply())
					}
					_ = c.conn.Close()
				}
			}
		})
	}
	if f.tree.has("up") {
		t.Error("an upload of nothing is visible")
	}
}

// A peer that takes a byte for each NOOP is ended, plain and under TLS, listing or
// file, in spite of the commands.
func TestPeerThatReadsByteByByte(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TLS: serverTLS(t), TransferStall: 100 * time.Millisecond, LeastRate: 1 << 20})
	f.tree.put(t, "big", strings.Repeat("x", 30<<20))
	for _, private := range []bool{false, true} {
		c := f.dial(t)
		if private {
			c.secure().login().private()
		} else {
			c.login()
		}
		c.do("TYPE I", "200 *")
		d := c.data()
		c.do("RETR big", "150 *")
		var peer io.Reader = d
		if private {
			peer = tls.Client(d, c.tls)
		}
		one := make([]byte, 1)
		for {
			_, _ = peer.Read(one)
			if got := c.sent("NOOP"); got != "200 Command okay." {
				if !strings.HasPrefix(got, "426 Transfer ") {
					t.Errorf("TLS %v: got %q", private, got)
				}
				break
			}
		}
		if _, err := io.Copy(io.Discard, peer); err == nil {
			t.Errorf("TLS %v: the end looks like that of the file", private)
		}
		_ = d.Close()
		c.expect("200 *")
		c.do("QUIT", "221 *")
	}
}

// Half handshakes, on control and data connections, and connections that say
// nothing hold nothing back: others are served, and the time for them is over.
func TestHalfHandshakes(t *testing.T) {
	t.Parallel()
	server := serverTLS(t)
	f := start(t, nil, ftp.Config{TLS: server, LoginGrace: time.Second, DataTimeout: 100 * time.Millisecond})
	implicit := start(t, nil, ftp.Config{TLS: server, Implicit: true, LoginGrace: time.Second})
	hello := recorded(t)
	var silent []*client
	for i := range 40 {
		c := f.dial(t)
		c.do("AUTH TLS", "234 *")
		c.send(string(hello[:len(hello)*i/40]))
		i := implicit.dialSilent(t)
		i.send(string(hello[:len(hello)*len(silent)/80]))
		silent = append(silent, c, i)
	}
	c := f.dial(t).secure().login().private()
	for i := range 5 {
		d := c.data()
		c.do("STOR f", "150 *")
		_, _ = d.Write(hello[:len(hello)*i/5])
		c.expect("522 *handshake*")
		_ = d.Close()
	}
	c.do("NOOP", "200 *")
	for _, s := range silent {
		if _, err := io.ReadAll(s.raw); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatal("a half handshake was borne")
		}
	}
	if f.tree.has("f") {
		t.Error("an upload of nothing is visible")
	}
}

// recorded is a ClientHello.
func recorded(t *testing.T) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() { _ = tls.Client(ours, clientTLS()).HandshakeContext(t.Context()) }()
	defer ours.Close()
	hello := make([]byte, 16<<10)
	n, err := theirs.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return hello[:n]
}

// Clients of several addresses share few ports and do everything at once: open,
// forget, connect late or never, abort, go away. Each gets its own file or none, or
// that of the other one of its address, and at the end no port is taken.
func TestSharedPortsUnderFire(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 2)
	f := start(t, nil, ftp.Config{PassivePorts: ports, DataTimeout: 20 * time.Millisecond})
	const clients, rounds = 12, 40
	for i := range clients {
		f.tree.put(t, "f"+itoa(i), "for "+itoa(i))
	}
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(20+i/2))}} // two of each address
			c := f.dialWith(t, dialer)
			answered(t, "greeting", c.reply())
			for _, command := range []string{"USER alice", "PASS right", "TYPE I"} {
				answered(t, command, c.sent(command))
			}
			for range rounds {
				got := c.sent("EPSV")
				_, after, found := strings.Cut(got, "(|||")
				if !found { // the other one has both ports
					answered(t, "EPSV", got)
					continue
				}
				at := "127.0.0.1:" + strings.TrimSuffix(after, "|)")
				what := rand.IntN(5)
				if what == 0 {
					continue
				}
				c.send("RETR f" + itoa(i) + "\r\n")
				if what == 1 {
					c.send("ABOR\r\n")
				} else if d, err := dialer.Dial("tcp", at); err == nil {
					_ = d.SetDeadline(time.Now().Add(20 * time.Second))
					if content, _ := io.ReadAll(d); len(content) > 0 && string(content) != "for "+itoa(i) {
						// Nothing tells a connection that comes too late from that of the next session of
						// the same address.
						if string(content) != "for "+itoa(i^1) {
							t.Errorf("%d got %q", i, content)
						}
					}
					_ = d.Close()
				}
				last := c.reply()
				if strings.HasPrefix(last, "150") {
					last = c.reply()
				}
				answered(t, "RETR", last)
				if what == 1 {
					answered(t, "ABOR", c.reply())
				}
			}
			_ = c.conn.Close()
		})
	}
	all.Wait()
	waitFor(t, func() bool { _, busy, _ := ports.Stats(); return busy == 0 })
	ports.Close()
	if free, _, _ := ports.Stats(); free != 2 {
		t.Errorf("%d free ports, want 2", free)
	}
}

// A port on which a session was not met is given to another session of the same
// address last: the client that was given up may come yet.
func TestLateClientIsNotTakenForTheNext(t *testing.T) {
	t.Parallel()
	for range 10 { // which port comes first is drawn
		f := start(t, nil, ftp.Config{PassivePorts: freePorts(t, 2)})
		late, next, third := f.dial(t).login(), f.dial(t).login(), f.dial(t).login()
		at := late.epsv()
		late.do("REIN", "220 *")
		if next.epsv() == at {
			t.Fatal("a port was given to the next at once")
		}
		if third.epsv() != at {
			t.Fatal("not the only port there is")
		}
	}
}
