package ftp_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/internal/listener"
	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/transfer"
)

// fixture is a server on loopback with everything behind it in reach.
type fixture struct {
	core   *sessiontest.Core
	tree   *tree
	server *ftp.Server
	addr   string
	log    *syncBuffer
}

// start serves with cfg; what it leaves open is filled in.
func start(t testing.TB, rules sessiontest.Rules, cfg ftp.Config) *fixture {
	t.Helper()
	f := &fixture{core: sessiontest.New(t, rules), tree: newTree(t), log: &syncBuffer{}}
	cfg.Gate, cfg.Name = f.core.Gate, "ftp"
	if cfg.Files == nil {
		cfg.Files = func(_ context.Context, s *session.Session) (*transfer.Files, error) {
			return transfer.New(s, f.tree, transfer.Limits{}), nil
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	f.server = ftp.New(cfg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = f.server.Shutdown(ctx)
		if err := <-served; !errors.Is(err, listener.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return f
}

// client speaks FTP line by line.
type client struct {
	t    testing.TB
	conn net.Conn
	raw  net.Conn
	r    *bufio.Reader
	tls  *tls.Config
	// at and from are notes of a test: a passive port, and where the client is.
	at, from string
}

func (f *fixture) dial(t testing.TB) *client {
	t.Helper()
	c := f.dialSilent(t)
	c.expect("220 *")
	return c
}

// dialFrom is dial from another address of this host.
func (f *fixture) dialFrom(t testing.TB, from string) *client {
	t.Helper()
	c := f.dialWith(t, net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}})
	c.expect("220 *")
	return c
}

func (f *fixture) dialSilent(t testing.TB) *client {
	t.Helper()
	return f.dialWith(t, net.Dialer{})
}

func (f *fixture) dialWith(t testing.TB, dialer net.Dialer) *client {
	t.Helper()
	conn, err := dialer.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t: t, conn: conn, raw: conn, r: bufio.NewReader(conn), tls: clientTLS()}
}

func clientTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "h", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("send %q: %v", s, err)
	}
}

// line returns the next line, or "EOF" when the server closed.
func (c *client) line() string {
	c.t.Helper()
	s, err := c.r.ReadString('\n')
	if err != nil {
		return "EOF"
	}
	return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
}

// reply returns a whole reply, its lines divided by "\n".
func (c *client) reply() string {
	c.t.Helper()
	first := c.line()
	if len(first) < 4 || first[3] != '-' {
		return first
	}
	all := first
	for {
		next := c.line()
		all += "\n" + next
		if next == "EOF" || strings.HasPrefix(next, first[:3]+" ") {
			return all
		}
	}
}

func (c *client) expect(pattern string) string {
	c.t.Helper()
	got := c.reply()
	if !sessiontest.Like(got, pattern) {
		c.t.Fatalf("got %q, want %q", got, pattern)
	}
	return got
}

func (c *client) do(command, pattern string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	got := c.reply()
	if !sessiontest.Like(got, pattern) {
		c.t.Fatalf("%s: got %q, want %q", command, got, pattern)
	}
	return got
}

func (c *client) login() *client {
	c.t.Helper()
	c.do("USER alice", "331 *")
	c.do("PASS right", "230 *")
	return c
}

// secure does AUTH TLS.
func (c *client) secure() *client {
	c.t.Helper()
	c.do("AUTH TLS", "234 *")
	c.handshake()
	return c
}

func (c *client) handshake() {
	c.t.Helper()
	secured := tls.Client(c.raw, c.tls)
	if err := secured.Handshake(); err != nil {
		c.t.Fatalf("handshake: %v", err)
	}
	c.conn, c.r = secured, bufio.NewReader(secured)
}

func (c *client) private() *client {
	c.t.Helper()
	c.do("PBSZ 0", "200 *")
	c.do("PROT P", "200 *")
	return c
}

// epsv opens a passive port and returns its address.
func (c *client) epsv() string {
	c.t.Helper()
	got := c.do("EPSV", "229 *")
	_, after, _ := strings.Cut(got, "(|||")
	port, _, _ := strings.Cut(after, "|")
	if _, err := strconv.Atoi(port); err != nil {
		c.t.Fatalf("EPSV: %q", got)
	}
	return "127.0.0.1:" + port
}

// data opens a passive data connection.
func (c *client) data() net.Conn {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.epsv())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// retr does a whole download.
func (c *client) retr(command string) string {
	c.t.Helper()
	d := c.data()
	c.do(command, "150 *")
	got, err := io.ReadAll(d)
	if err != nil {
		c.t.Fatalf("%s: %v", command, err)
	}
	_ = d.Close()
	c.expect("226 Transfer complete.")
	return string(got)
}

// stor does a whole upload.
func (c *client) stor(command, content, pattern string) {
	c.t.Helper()
	d := c.data()
	c.do(command, "150 *")
	if _, err := io.WriteString(d, content); err != nil {
		c.t.Fatalf("%s: %v", command, err)
	}
	_ = d.Close()
	c.expect(pattern)
}

// closed fails unless the server closes now.
func (c *client) closed() {
	c.t.Helper()
	if got := c.line(); got != "EOF" {
		c.t.Fatalf("got %q, want the connection closed", got)
	}
}

// serverTLS is a fresh self-signed certificate.
func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	return certificateFor(t, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
}

// certificateFor is a self-signed certificate that is valid from one time to
// another.
func certificateFor(t testing.TB, from, to time.Time) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "h"}, DNSNames: []string{"h", "localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   from, NotAfter: to,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// outcomes lists file events as "verb outcome path".
func (f *fixture) outcomes() []string {
	var list []string
	for _, e := range f.core.Record.Events(session.EventFile) {
		list = append(list, fmt.Sprintf("%s %s %s", e.Verb, e.Outcome, e.Path))
	}
	return list
}
