package oldserver

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

// scripted is a server that says lines and expects others, by turns: "< text" is said,
// "> text" must come, "tls" is a handshake. It returns its address.
func scripted(t *testing.T, cert *tls.Certificate, script string) string {
	t.Helper()
	return serve(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for line := range strings.Lines(script) {
			line = strings.TrimSpace(line)
			switch {
			case line == "":
			case line == "tls":
				conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*cert}})
				in = bufio.NewReader(conn)
			case line[0] == '<':
				if _, err := io.WriteString(conn, strings.TrimPrefix(line[1:], " ")+"\r\n"); err != nil {
					return
				}
			default:
				got, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if got = strings.TrimRight(got, "\r\n"); got != strings.TrimPrefix(line[1:], " ") {
					t.Errorf("the server got %q, want %q", got, line)
				}
			}
		}
		_, _ = io.Copy(io.Discard, in)
	})
}

// serve answers every connection until the end of the test.
func serve(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer(conn)
			}()
		}
	}()
	return ln.Addr().String()
}

func certificate(t *testing.T) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, pool
}

// What servers answer is right, wrong, or neither; and neither is never wrong.
func TestAnswers(t *testing.T) {
	t.Parallel()
	cert, roots := certificate(t)
	for name, test := range map[string]struct {
		kind   Kind
		script string
		want   string // right, wrong, or part of the error
	}{
		"ftp right":        {FTP, "< 220-Hello\n< 220 old server\n> USER joe@old\n< 331 go on\n> PASS sec ret\n< 230 in\n> QUIT\n< 221 bye", "right"},
		"ftp wrong":        {FTP, "< 220 old\n> USER joe@old\n< 331 go on\n> PASS sec ret\n< 530 no", "wrong"},
		"ftp too many":     {FTP, "< 220 old\n> USER joe@old\n< 331 go on\n> PASS sec ret\n< 421 too many", "421 too many"},
		"ftp anybody":      {FTP, "< 220 old\n> USER joe@old\n< 230 in", "proves nothing"},
		"ftp not in clear": {FTP, "< 220 old\n> USER joe@old\n< 530 use TLS", "not over this channel"},
		"ftp busy":         {FTP, "< 421 busy", "greeting"},
		"ftp endless":      {FTP, "< 220 " + strings.Repeat("x", maxAnswer), "EOF"},
		"ftp over TLS":     {FTPTLS, "< 220 old\n> AUTH TLS\n< 234 go\ntls\n> USER joe@old\n< 331 go on\n> PASS sec ret\n< 230 in\n> QUIT", "right"},
		"ftp without TLS":  {FTPTLS, "< 220 old\n> AUTH TLS\n< 502 no", "502 no"},
		"ftps":             {FTPS, "tls\n< 220 old\n> USER joe@old\n< 331 go on\n> PASS sec ret\n< 230 in\n> QUIT", "right"},
		"imap right":       {IMAPS, "tls\n< * OK hello\n> b LOGIN {7}\n< + go on\n> joe@old {7}\n< + go on\n> sec ret\n< * CAPABILITY IMAP4rev1\n< b OK in", "right"},
		"imap wrong":       {IMAPS, "tls\n< * OK hello\n> b LOGIN {7}\n< + go on\n> joe@old {7}\n< + go on\n> sec ret\n< b NO [AUTHENTICATIONFAILED] no", "wrong"},
		"imap down":        {IMAPS, "tls\n< * OK hello\n> b LOGIN {7}\n< + go on\n> joe@old {7}\n< + go on\n> sec ret\n< b NO [UNAVAILABLE] later", "UNAVAILABLE"},
		"imap disabled":    {IMAPS, "tls\n< * OK hello\n> b LOGIN {7}\n< b BAD no LOGIN here", "no LOGIN here"},
		"imap starttls":    {IMAP, "< * OK hello\n> a STARTTLS\n< a OK begin\ntls\n> b LOGIN {7}\n< + go on\n> joe@old {7}\n< + go on\n> sec ret\n< b OK in", "right"},
		"imap no starttls": {IMAP, "< * OK hello\n> a STARTTLS\n< a BAD no", "STARTTLS"},
		"hangs up":         {FTP, "", "temporarily unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script := test.script
			address := scripted(t, cert, script)
			if name == "hangs up" {
				address = serve(t, func(conn net.Conn) {
					_, _ = io.WriteString(conn, "220 old\r\n331 go on\r\n")
					_ = conn.(*net.TCPConn).CloseWrite()
				})
			}
			s := New(Config{Name: "old", Kind: test.kind, Address: address, Groups: []string{"g"}, User: "{user}@old", Roots: roots})
			right, err := s.Ask(t.Context(), "joe", session.NewSecret("sec ret"))
			got := map[bool]string{true: "right", false: "wrong"}[right]
			if err != nil {
				if got = err.Error(); !errors.Is(err, session.ErrUnavailable) {
					t.Errorf("%v is no session.ErrUnavailable", err)
				}
			}
			if !strings.Contains(got, test.want) || strings.Contains(got, "sec ret") {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A server whose certificate is another than the pinned one is asked nothing.
func TestPin(t *testing.T) {
	t.Parallel()
	cert, roots := certificate(t)
	address := scripted(t, cert, "tls\n< 220 old\n> USER joe\n< 331 go on\n> PASS x\n< 230 in\n> QUIT")
	for pin, want := range map[string]string{strings.Repeat("ab", 32): "pinned is", "": ""} {
		right, err := New(Config{Name: "old", Kind: FTPS, Address: address, Pin: pin, Roots: roots}).Ask(t.Context(), "joe", session.NewSecret("x"))
		if want == "" && (err != nil || !right) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("pin %q: got %v, %v", pin, right, err)
		}
	}
	if _, err := New(Config{Name: "old", Kind: FTPS, Address: address}).Ask(t.Context(), "joe", session.NewSecret("x")); err == nil {
		t.Error("a certificate of nobody was taken")
	}
}

func TestSSH(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, func(conn net.Conn) {
		cfg := &ssh.ServerConfig{PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if c.User() == "joe" && string(password) == "right" {
				return nil, nil
			}
			return nil, errors.New("no")
		}}
		cfg.AddHostKey(signer)
		if _, _, requests, err := ssh.NewServerConn(conn, cfg); err == nil {
			ssh.DiscardRequests(requests)
		}
	})
	pin := ssh.FingerprintSHA256(signer.PublicKey())
	for password, want := range map[string]bool{"right": true, "wrong": false} {
		if right, err := New(Config{Name: "old", Kind: SSH, Address: address, Pin: pin}).Ask(t.Context(), "joe", session.NewSecret(password)); err != nil || right != want {
			t.Errorf("%s: got %v, %v", password, right, err)
		}
	}
	_, err = New(Config{Name: "old", Kind: SSH, Address: address, Pin: "SHA256:another"}).Ask(t.Context(), "joe", session.NewSecret("right"))
	if err == nil || !strings.Contains(err.Error(), "somebody is between") {
		t.Errorf("another host key: %v", err)
	}
}

// A server that hangs is left in time, and a password that cannot cross is not asked about.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "old", Kind: FTP, Address: serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Ask(ctx, "joe", session.NewSecret("x")); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	for _, password := range []string{"", "a\r\nDELE x", "a\x00"} {
		if right, err := New(Config{Kind: LDAPS, Address: "127.0.0.1:1"}).Ask(t.Context(), "joe", session.NewSecret(password)); right || err != nil {
			t.Errorf("%q: got %v, %v", password, right, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := Config{Kind: FTP, Address: "10.1.2.3:21", Groups: []string{"g"}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Config){
		"there is no kind":   func(c *Config) { c.Kind = "pop3" },
		"HOST:PORT":          func(c *Config) { c.Address = "10.1.2.3" },
		"groups":             func(c *Config) { c.Groups = nil },
		"until":              func(c *Config) { c.Store = true },
		"private network":    func(c *Config) { c.Address = "192.0.2.7:21" },
		"fingerprint":        func(c *Config) { c.Kind = SSH },
		"want the DN":        func(c *Config) { c.Kind = LDAPS },
		"filter: it is for":  func(c *Config) { c.Filter = "(uid={user})" },
		"filter: it is for ": func(c *Config) { c.Kind, c.Filter, c.Base = LDAPS, "(uid=joe)", "dc=x" },
	} {
		c := good
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(fmt.Sprint(err), strings.TrimSpace(want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
