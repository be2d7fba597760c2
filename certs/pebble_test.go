package certs_test

import (
	"bufio"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"gateway/certs"
)

const pebbleModule = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"

// pebble is a running ACME CA.
type pebble struct {
	directory     string
	roots         string // PEM file with the root of its own listener
	http, tlsALPN int    // the ports that it connects to for challenges
}

// pebbleBinary finds or builds Pebble in $GATEWAY_TOOLS.
func pebbleBinary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a real ACME CA is left out of short tests")
	}
	tools := os.Getenv("GATEWAY_TOOLS")
	if tools == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skipf("no cache folder for tools: %v", err)
		}
		tools = filepath.Join(cache, "gateway-tools")
	}
	binary := filepath.Join(tools, "pebble")
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "go", "install", pebbleModule)
	install.Dir = t.TempDir()
	install.Env = append(os.Environ(), "GOBIN="+tools, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("Pebble cannot be had: %v\n%s", err, out)
	}
	return binary
}

func startPebble(t *testing.T) pebble {
	t.Helper()
	program := pebbleBinary(t)
	dir := t.TempDir()
	// Its listener has a certificate of an internal CA of ours.
	keys := filepath.Join(dir, "keys")
	own := open(t, certs.Config{Dir: keys})
	roots := filepath.Join(dir, "roots.pem")
	write(t, roots, own.CA())
	p := pebble{roots: roots, http: freePort(t), tlsALPN: freePort(t)}
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p.directory = "https://" + listen + "/dir"
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		"certificate": filepath.Join(keys, "tls.pem"), "privateKey": filepath.Join(keys, "tls.pem"),
		"httpPort": p.http, "tlsPort": p.tlsALPN,
		"retryAfter":   map[string]int{"authz": 1, "order": 1},
		"keyAlgorithm": "ecdsa",
		"profiles": map[string]any{
			"default":    map[string]any{"description": "90 days", "validityPeriod": 90 * 86400},
			"shortlived": map[string]any{"description": "very short", "validityPeriod": 20},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	write(t, file, config)
	cmd := exec.Command(program, "-config", file, "-dnsserver", serveDNS(t), "-strict")
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	var lines sync.WaitGroup
	lines.Go(func() {
		scan := bufio.NewScanner(out)
		for scan.Scan() {
			if strings.Contains(scan.Text(), "ACME directory available") {
				ready <- true
			}
		}
		close(ready)
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		lines.Wait()
		_ = cmd.Wait()
	})
	if !<-ready {
		t.Fatal("Pebble did not start")
	}
	return p
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// serveDNS answers every A query with 127.0.0.1, and returns its address. Pebble
// asks over TCP, where each message follows its length (RFC 1035, section 4.2.2).
func serveDNS(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); answerDNS(c) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func answerDNS(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	for {
		var size uint16
		if binary.Read(c, binary.BigEndian, &size) != nil {
			return
		}
		p := make([]byte, size)
		var m dnsmessage.Message
		if _, err := io.ReadFull(c, p); err != nil || m.Unpack(p) != nil || len(m.Questions) != 1 {
			return
		}
		q := m.Questions[0]
		m.Response, m.Additionals = true, nil
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
		}
		answer, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// eventually asks until there is an answer; the CA is another process, so there
// is nothing to wait on.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("after a minute: not yet %s", what)
}

// shown returns what a live listener shows to a client that asks for name.
func shown(t *testing.T, addr, name string) *x509.Certificate {
	t.Helper()
	// The root of the CA changes with each run, so the certificate is looked at
	// instead of verified.
	c, err := tls.Dial("tcp", addr, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// listen serves handshakes with the source's certificates.
func listen(t *testing.T, s *certs.Source) string {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", s.TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); _ = c.(*tls.Conn).Handshake() })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func byPebble(c *x509.Certificate) bool { return strings.HasPrefix(c.Issuer.CommonName, "Pebble") }

// Names and bare IP addresses, by each challenge, from a real CA; one after the
// other, since Pebble knows one pair of ports.
func TestACME(t *testing.T) {
	t.Parallel()
	ca := startPebble(t)
	settings := func(profile string) *certs.ACME {
		return &certs.ACME{
			Email: "admin@example.com", Directory: ca.directory, Roots: ca.roots, Agree: true, ListenHost: "127.0.0.1",
			HTTPPort: ca.http, TLSALPNPort: ca.tlsALPN, Profile: profile, CheckInterval: time.Second,
		}
	}
	t.Run("HTTP-01", func(t *testing.T) {
		acme := settings("default")
		acme.TLSALPNPort = -1
		acme.Names = []string{"http.test", "127.0.0.1"}
		dir := filepath.Join(t.TempDir(), "keys")
		s := open(t, certs.Config{Dir: dir, ACME: acme})
		addr := listen(t, s)
		shown(t, addr, "") // there is a certificate from the start
		eventually(t, "two certificates", func() bool { return len(s.Describe()) == 2 })
		for _, name := range []string{"http.test", "127.0.0.1", ""} {
			cert := shown(t, addr, name)
			if name == "" {
				name = "127.0.0.1" // no name was sent: the address counts
			}
			if err := cert.VerifyHostname(name); err != nil || !byPebble(cert) {
				t.Errorf("for %q: %v, issued by %q", name, err, cert.Issuer)
			}
		}
		if info := s.Describe()[0]; info.Source != "acme" {
			t.Errorf("Describe: got %+v", info)
		}
		acme.Names = []string{"http.test"}
		before := shown(t, addr, "http.test")
		again := open(t, certs.Config{Dir: dir, ACME: acme})
		if got := shown(t, listen(t, again), "http.test"); !got.Equal(before) {
			t.Error("the second start asked for another certificate")
		}
	})
	t.Run("TLS-ALPN-01 and RSA", func(t *testing.T) {
		acme := settings("default")
		acme.HTTPPort = -1
		s := open(t, certs.Config{Hostname: "alpn.test", ACME: acme, RSA: true})
		addr := listen(t, s)
		eventually(t, "a certificate of the CA", func() bool { return byPebble(shown(t, addr, "alpn.test")) })
		first := shown(t, addr, "alpn.test")
		if _, ok := first.PublicKey.(*rsa.PublicKey); !ok {
			t.Errorf("got a key of type %T, want RSA", first.PublicKey)
		}
		if err := s.Renew(t.Context()); err != nil {
			t.Fatalf("Renew: %v", err)
		}
		if second := shown(t, addr, "alpn.test"); second.Equal(first) || !byPebble(second) {
			t.Error("after Renew the old certificate is still served")
		}
		if n := len(s.Describe()); n != 1 {
			t.Errorf("%d certificates in force, want 1", n)
		}
	})
	t.Run("renewal under a live listener", func(t *testing.T) {
		s := open(t, certs.Config{Hostname: "short.test", ACME: settings("shortlived")})
		addr := listen(t, s)
		seen := make(map[string]bool)
		eventually(t, "renewed twice", func() bool {
			if cert := shown(t, addr, "short.test"); byPebble(cert) {
				seen[cert.SerialNumber.String()] = true
				if time.Now().After(cert.NotAfter) {
					t.Fatal("an expired certificate is served")
				}
			}
			return len(seen) == 3
		})
	})
}
