package smtp

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// peer is a client that says what it is told to.
type peer struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

const peerPatience = 20 * time.Second

func dialPeer(t testing.TB, addr string, implicit bool) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, conn)
	if implicit {
		p.startTLS()
	}
	return p
}

func newPeer(t testing.TB, conn net.Conn) *peer {
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(peerPatience))
	return &peer{t: t, conn: conn, r: bufio.NewReader(conn)}
}

func (p *peer) startTLS() {
	p.t.Helper()
	c := tls.Client(p.conn, clientTLS())
	if err := c.Handshake(); err != nil {
		p.t.Fatalf("TLS handshake: %v", err)
	}
	p.conn, p.r = c, bufio.NewReader(c)
}

// send sends text in one write; lines end in \n, which becomes CRLF.
func (p *peer) send(lines string) {
	p.t.Helper()
	p.raw(strings.ReplaceAll(lines, "\n", "\r\n"))
}

func (p *peer) raw(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, text); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// reply reads one reply, all its lines joined by \n.
func (p *peer) reply() string {
	p.t.Helper()
	var lines []string
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("read reply: %v (after %q)", err, append(lines, line))
		}
		line = strings.TrimSuffix(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n")
		}
	}
}

// expect reads one reply for each of prefixes.
func (p *peer) expect(prefixes ...string) {
	p.t.Helper()
	for _, want := range prefixes {
		if got := p.reply(); !strings.HasPrefix(got, want) {
			p.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// expectEnd waits for the server to close.
func (p *peer) expectEnd() {
	p.t.Helper()
	rest, err := io.ReadAll(p.r)
	if len(rest) > 0 {
		p.t.Errorf("before the end: got %q, want nothing", rest)
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		p.t.Error("the connection was not closed")
	}
}

// alicePlain is "\0alice\0right" in base64.
const alicePlain = "AGFsaWNlAHJpZ2h0"

// login goes through STARTTLS if the connection is in clear, and AUTH.
func (p *peer) login() {
	p.t.Helper()
	p.expect("220 ")
	if _, secure := p.conn.(*tls.Conn); !secure {
		p.send("EHLO client.test\nSTARTTLS\n")
		p.expect("250-", "220 ")
		p.startTLS()
	}
	p.send("EHLO client.test\nAUTH PLAIN " + alicePlain + "\n")
	p.expect("250-", "235 2.7.0 ")
}

// loginClear logs in without TLS.
func (p *peer) loginClear() {
	p.t.Helper()
	p.expect("220 ")
	p.send("EHLO client.test\nAUTH PLAIN " + alicePlain + "\n")
	p.expect("250-", "235 2.7.0 ")
}

const aliceEnvelope = "MAIL FROM:<alice@example.com>\nRCPT TO:<bob@remote.test>\n"

const aliceHeader = "From: alice@example.com\nTo: bob@remote.test\nSubject: t\nDate: Mon, 23 Nov 2026 06:00:00 +0000\nMessage-ID: <1@example.com>\n"

// open opens a transaction from alice to bob.
func (p *peer) open() {
	p.t.Helper()
	p.send(aliceEnvelope)
	p.expect("250 2.1.0", "250 2.1.5")
}
