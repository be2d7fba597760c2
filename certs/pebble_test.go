package certs_test

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/certs"
	"gateway/certs/certstest"
)

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
	ca := certstest.StartPebble(t)
	settings := func(profile string) *certs.ACME {
		return &certs.ACME{
			Email: "admin@example.com", Directory: ca.Directory, Roots: ca.Roots, Agree: true, ListenHost: "127.0.0.1",
			HTTPPort: ca.HTTP, TLSALPNPort: ca.TLSALPN, Profile: profile, CheckInterval: time.Second,
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
