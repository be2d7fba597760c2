package relay

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// sink is an SMTP server that takes everything, unless answer says otherwise.
type sink struct {
	greeting   string
	extensions []string                 // after EHLO; STARTTLS is added if there is a certificate
	tls        *tls.Config              // nil for none
	answer     func(line string) string // "" for the usual reply, "drop" to hang up

	mu          sync.Mutex
	connections int
	commands    []string
	messages    []string
	serving     sync.WaitGroup
}

// start serves on address until the test is over, and returns where.
func (s *sink) start(tb testing.TB, address string) netip.AddrPort {
	tb.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		tb.Skipf("no second loopback address: %v", err)
	}
	open := make(map[net.Conn]bool)
	s.serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.connections++
			open[c] = true
			s.mu.Unlock()
			s.serving.Go(func() {
				s.serve(c)
				_ = c.Close()
			})
		}
	})
	tb.Cleanup(func() {
		_ = ln.Close()
		s.mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.serving.Wait()
	})
	return netip.MustParseAddrPort(ln.Addr().String())
}

func (s *sink) serve(raw net.Conn) {
	greeting := s.greeting
	if greeting == "" {
		greeting = "220 sink.test ready"
	}
	conn, r := raw, bufio.NewReader(raw)
	w := bufio.NewWriter(conn)
	w.WriteString(greeting + "\r\n")
	encrypted := false
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		s.mu.Lock()
		s.commands = append(s.commands, line)
		s.mu.Unlock()
		verb, _, _ := strings.Cut(line, " ")
		answer := ""
		if s.answer != nil {
			answer = s.answer(line)
		}
		switch {
		case answer == "drop":
			_ = w.Flush()
			return
		case answer != "":
			w.WriteString(answer + "\r\n")
		case verb == "EHLO" || verb == "LHLO":
			w.WriteString("250-sink.test\r\n")
			for _, e := range s.extensions {
				w.WriteString("250-" + e + "\r\n")
			}
			if s.tls != nil && !encrypted {
				w.WriteString("250-STARTTLS\r\n")
			}
			w.WriteString("250 ENHANCEDSTATUSCODES\r\n")
		case verb == "STARTTLS":
			w.WriteString("220 go\r\n")
			if w.Flush() != nil {
				return
			}
			conn = tls.Server(raw, s.tls)
			r, w, encrypted = bufio.NewReader(conn), bufio.NewWriter(conn), true
		case verb == "DATA":
			w.WriteString("354 go\r\n")
			if w.Flush() != nil {
				return
			}
			content, err := readDot(r)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.messages = append(s.messages, content)
			s.mu.Unlock()
			reply := "250 2.0.0 taken"
			if s.answer != nil {
				if a := s.answer("."); a == "drop" {
					return
				} else if a != "" {
					reply = a
				}
			}
			w.WriteString(reply + "\r\n")
		case verb == "QUIT":
			w.WriteString("221 bye\r\n")
			_ = w.Flush()
			return
		default:
			w.WriteString("250 2.0.0 ok\r\n")
		}
	}
}

// readDot reads content up to the final dot, as it came.
func readDot(r *bufio.Reader) (string, error) {
	var content bytes.Buffer
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return "", err
		}
		if string(line) == ".\r\n" {
			return content.String(), nil
		}
		content.Write(line)
	}
}

// heard returns the commands so far that begin with one of the verbs.
func (s *sink) heard(verbs ...string) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		for _, v := range verbs {
			if strings.HasPrefix(c, v) {
				list = append(list, c)
			}
		}
	}
	return list
}

func (s *sink) count() (connections, messages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections, len(s.messages)
}

// letter is a small message.
func letter(addresses ...string) Message {
	const body = "Subject: hi\r\n\r\nHello.\r\n"
	return Message{From: "a@x.test", To: to(addresses...), Size: int64(len(body)), Body: strings.NewReader(body)}
}

func endpoint(a netip.AddrPort, name string) Target {
	return Target{Endpoint: Endpoint{Network: "tcp", Address: a.String(), ServerName: name}}
}

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
}

// server is a configuration with a certificate for names, which ends after life.
func (a *authority) server(tb testing.TB, life time.Duration, names ...string) *tls.Config {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(life),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}}}
}

// wantStatus checks one recipient's status.
func wantStatus(t *testing.T, s Status, outcome Outcome, enhanced, text string) {
	t.Helper()
	if s.Outcome != outcome || s.Enhanced != enhanced || !strings.Contains(s.Text, text) {
		t.Errorf("got outcome %d, %s %q; want %d, %s %q", s.Outcome, s.Enhanced, s.Text, outcome, enhanced, text)
	}
}

// discard is a sink for measurements: it looks for nothing but the final dot.
func discard(tb testing.TB) netip.AddrPort {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				discardFrom(c)
			})
		}
	})
	tb.Cleanup(func() {
		_ = ln.Close()
		serving.Wait()
	})
	return netip.MustParseAddrPort(ln.Addr().String())
}

func discardFrom(c net.Conn) {
	if _, err := io.WriteString(c, "220 sink\r\n"); err != nil {
		return
	}
	buf := make([]byte, 256<<10)
	held := 0 // what was read before without an end
	for {
		n, err := c.Read(buf[held:])
		if err != nil {
			return
		}
		reply := "250 ok\r\n"
		switch p := buf[:held+n]; {
		case bytes.HasPrefix(p, []byte("EHLO")):
			reply = "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n"
		case bytes.HasSuffix(p, []byte("DATA\r\n")):
			reply = strings.Repeat("250 ok\r\n", bytes.Count(p, []byte("\n"))-1) + "354 go\r\n"
		case bytes.HasPrefix(p, []byte("QUIT")):
			return
		case !bytes.HasSuffix(p, []byte("\r\n.\r\n")):
			held = copy(buf, p[max(len(p)-4, 0):])
			continue
		}
		held = 0
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
	}
}
