package certs_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/certs"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t *testing.T, cfg certs.Config) *certs.Source {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "keys")
	}
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	s, err := certs.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// handshake returns the certificate that the source shows to a client that
// asks for name and trusts roots.
func handshake(t *testing.T, s *certs.Source, name string, roots *x509.CertPool) (*x509.Certificate, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	served := make(chan error, 1)
	go func() {
		defer ours.Close()
		served <- tls.Server(ours, s.TLSConfig()).Handshake()
	}()
	client := tls.Client(theirs, &tls.Config{ServerName: name, RootCAs: roots})
	err := client.Handshake()
	if err != nil {
		_ = theirs.Close()
	}
	<-served
	if err != nil {
		return nil, err
	}
	return client.ConnectionState().PeerCertificates[0], nil
}

func trust(t *testing.T, pemText []byte) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pemText) {
		t.Fatalf("no certificate in %q", pemText)
	}
	return roots
}

func TestInternalCA(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	cfg := certs.Config{Hostname: "files.example.com", Dir: dir, Internal: certs.Internal{Names: []string{"192.0.2.7", "Alias.example.com"}}}
	s := open(t, cfg)
	roots := trust(t, s.CA())
	var first *x509.Certificate
	for _, name := range []string{"files.example.com", "localhost", "127.0.0.1", "::1", "192.0.2.7", "alias.example.com"} {
		cert, err := handshake(t, s, name, roots)
		if err != nil {
			t.Fatalf("handshake for %s: %v", name, err)
		}
		first = cert
	}
	if _, err := handshake(t, s, "other.example.com", roots); err == nil {
		t.Error("the certificate is good for a name that it was not made for")
	}
	if life := first.NotAfter.Sub(first.NotBefore).Round(24 * time.Hour); life != 90*24*time.Hour {
		t.Errorf("life: got %v, want 90 days", life)
	}
	info := s.Describe()
	if len(info) != 1 || info[0].Source != "internal" || len(info[0].Fingerprint) != 95 || !slices.Contains(info[0].Names, "192.0.2.7") {
		t.Errorf("Describe: got %+v", info)
	}

	again := open(t, cfg)
	cert, err := handshake(t, again, "localhost", roots)
	if err != nil || !cert.Equal(first) {
		t.Errorf("the second start made another certificate: %v", err)
	}
	cfg.Hostname = "moved.example.com"
	if _, err := handshake(t, open(t, cfg), "moved.example.com", roots); err != nil {
		t.Errorf("after a change of name, with the same CA: %v", err)
	}
	cfg.RSA = true
	cert, err = handshake(t, open(t, cfg), "localhost", roots)
	if err != nil {
		t.Fatalf("RSA: %v", err)
	}
	if _, ok := cert.PublicKey.(*rsa.PublicKey); !ok {
		t.Errorf("got a key of type %T, want RSA", cert.PublicKey)
	}
}

func TestKeysAreOurs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	open(t, certs.Config{Dir: dir})
	if _, err := serving(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: got %v, %v; want 0700", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 5 {
		t.Fatalf("got %v, %v; want ca.pem, tls.pem and three host keys", entries, err)
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: got %v, %v; want 0600", e.Name(), info.Mode(), err)
		}
		if err := os.Chmod(name, 0o640); err != nil {
			t.Fatal(err)
		}
		_, err := certs.Open(t.Context(), certs.Config{Dir: dir, Log: quiet()})
		if strings.HasPrefix(e.Name(), "ssh_") {
			_, err = serving(dir)
		}
		if err == nil || !strings.Contains(err.Error(), "chmod 600 "+name) {
			t.Errorf("%s with mode 0640: got %v", e.Name(), err)
		}
		if err := os.Chmod(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := serving(dir); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("folder with mode 0777: got %v", err)
	}
}

func TestDamagedCAStopsTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, content := range []string{"", "garbage", strings.Repeat("x", 2<<20)} {
		if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := certs.Open(t.Context(), certs.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "ca.pem") {
			t.Errorf("got %v", err)
		}
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "ca.pem")); len(got) != 2<<20 {
		t.Error("the damaged file was touched")
	}
}

// Starts at the same time agree on one CA.
func TestFirstStartsAtOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := make(map[string]bool)
	for range 8 {
		wg.Go(func() {
			s, err := certs.Open(t.Context(), certs.Config{Dir: dir, Log: quiet()})
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[string(s.CA())] = true
		})
	}
	wg.Wait()
	if len(seen) != 1 {
		t.Errorf("%d CAs, want 1", len(seen))
	}
}

func TestInternalRenewsItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, certs.Config{Dir: filepath.Join(dir, "keys")})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		roots := trust(t, s.CA())
		before := s.Describe()[0]
		time.Sleep(59 * 24 * time.Hour)
		synctest.Wait()
		if got := s.Describe()[0]; got.Fingerprint != before.Fingerprint {
			t.Error("renewed before two thirds of its life")
		}
		time.Sleep(2 * 24 * time.Hour)
		synctest.Wait()
		cert, err := handshake(t, s, "localhost", roots)
		if err != nil || !cert.NotAfter.After(before.NotAfter.Add(50*24*time.Hour)) {
			t.Errorf("after 61 days: %v", err)
		}
		cancel()
		<-done
	})
}

// makePair writes a self-signed certificate for localhost.
func makePair(t *testing.T, dir string, serial int64, notAfter time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: notAfter.Add(-48 * time.Hour), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rawKey}))
	return certFile, keyFile
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// files returns a source of the pair in dir, with its log.
func files(t *testing.T, dir string) (*certs.Source, *bytes.Buffer, error) {
	t.Helper()
	var log bytes.Buffer
	s, err := certs.Open(t.Context(), certs.Config{
		Dir: filepath.Join(dir, "keys"), Log: slog.New(slog.NewTextHandler(&log, nil)),
		Files: &certs.Files{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")},
	})
	return s, &log, err
}

func TestFilesThatAreNotUsable(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(time.Hour)
	cases := []struct {
		name, want string
		spoil      func(t *testing.T, dir string)
	}{
		{"missing", "cert.pem: no such file", func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "cert.pem")) }},
		{"missing key", "key.pem: no such file", func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "key.pem")) }},
		{"mismatch", "private key does not match", func(t *testing.T, dir string) {
			other := t.TempDir()
			_, key := makePair(t, other, 2, soon)
			_ = os.Rename(key, filepath.Join(dir, "key.pem"))
		}},
		{"expired", "expired on", func(t *testing.T, dir string) { makePair(t, dir, 2, time.Now().Add(-time.Hour)) }},
		{"not yet valid", "not valid before", func(t *testing.T, dir string) { makePair(t, dir, 2, time.Now().Add(96*time.Hour)) }},
		{"garbage", "cert.pem", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "cert.pem"), []byte("x")) }},
		{"open to others", "chmod 600", func(t *testing.T, dir string) { _ = os.Chmod(filepath.Join(dir, "key.pem"), 0o644) }},
		{"folder", "not a regular file", func(t *testing.T, dir string) {
			_ = os.Remove(filepath.Join(dir, "key.pem"))
			_ = os.Mkdir(filepath.Join(dir, "key.pem"), 0o700)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			makePair(t, dir, 1, soon)
			c.spoil(t, dir)
			_, _, err := files(t, dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// The files are watched; a broken change leaves the old certificate in force,
// and is told once.
func TestFilesAreWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		makePair(t, dir, 1, time.Now().Add(24*time.Hour))
		s, log, err := files(t, dir)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		serial := func() int64 {
			cert, err := handshake(t, s, "localhost", trust(t, readFile(t, filepath.Join(dir, "good.pem"))))
			if err != nil {
				t.Fatalf("handshake: %v", err)
			}
			return cert.SerialNumber.Int64()
		}
		write(t, filepath.Join(dir, "good.pem"), readFile(t, filepath.Join(dir, "cert.pem")))
		write(t, filepath.Join(dir, "cert.pem"), []byte("broken"))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := serial(); got != 1 {
			t.Errorf("after a broken change: serial %d, want 1", got)
		}
		if err := s.Reload(); err == nil {
			t.Error("Reload of broken files succeeded")
		}
		makePair(t, dir, 2, time.Now().Add(24*time.Hour))
		write(t, filepath.Join(dir, "good.pem"), readFile(t, filepath.Join(dir, "cert.pem")))
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if got := serial(); got != 2 {
			t.Errorf("after a good change: serial %d, want 2", got)
		}
		cancel()
		<-done
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings, want 1:\n%s", n, log)
		}
	})
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// A live listener serves connection after connection through renewals, and
// connections that are open stay open.
func TestLiveListenerThroughRenewal(t *testing.T) {
	t.Parallel()
	s := open(t, certs.Config{})
	roots := trust(t, s.CA())
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
			wg.Go(func() { defer c.Close(); _, _ = io.Copy(c, c) })
		}
	})
	dial := func() *tls.Conn {
		c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "localhost"})
		if err != nil {
			t.Fatalf("dial: %v", err)
		}
		return c
	}
	old := dial()
	seen := make(map[string]bool)
	for range 5 {
		if err := s.Renew(t.Context()); err != nil {
			t.Fatalf("Renew: %v", err)
		}
		c := dial()
		seen[c.ConnectionState().PeerCertificates[0].SerialNumber.String()] = true
		_ = c.Close()
	}
	if len(seen) != 5 {
		t.Errorf("%d certificates in 5 renewals", len(seen))
	}
	p := make([]byte, 1)
	if _, err := old.Write([]byte("x")); err != nil {
		t.Errorf("the old connection: %v", err)
	}
	if _, err := io.ReadFull(old, p); err != nil {
		t.Errorf("the old connection: %v", err)
	}
	_ = old.Close()
	_ = ln.Close()
	wg.Wait()
}

func TestTLS12IsTheLeast(t *testing.T) {
	t.Parallel()
	s := open(t, certs.Config{})
	if got := s.TLSConfig().MinVersion; got != tls.VersionTLS12 {
		t.Errorf("got %x, want %x", got, tls.VersionTLS12)
	}
	a, b := s.TLSConfig(), s.TLSConfig()
	a.NextProtos = []string{"ftp"}
	if b.NextProtos != nil {
		t.Error("two callers share a configuration")
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	cases := map[string]certs.Config{
		"no folder":         {},
		"both files and ac": {Dir: "x", Files: &certs.Files{Cert: "c", Key: "k"}, ACME: &certs.ACME{Agree: true, Names: []string{"a.example"}}},
		"belong together":   {Dir: "x", Files: &certs.Files{Cert: "c"}},
		"neither a DNS":     {Dir: "x", Hostname: "no spaces"},
		"set agree":         {Dir: "x", Hostname: "a.example", ACME: &certs.ACME{}},
		"no name":           {Dir: "x", ACME: &certs.ACME{Agree: true}},
		"every challenge":   {Dir: "x", Hostname: "a.example", ACME: &certs.ACME{Agree: true, HTTPPort: -1, TLSALPNPort: -1}},
		"above 65535":       {Dir: "x", Hostname: "a.example", ACME: &certs.ACME{Agree: true, HTTPPort: 70000}},
		"https URL":         {Dir: "x", Hostname: "a.example", ACME: &certs.ACME{Agree: true, Directory: "http://ca.example"}},
	}
	for want, cfg := range cases {
		if _, err := certs.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, name := range []string{"-a", "a-", "a..b", ".", "*.example.com", "a/b", "ü.example", strings.Repeat("a", 64)} {
		if _, err := certs.Open(t.Context(), certs.Config{Dir: "x", Hostname: name}); err == nil {
			t.Errorf("hostname %q was taken", name)
		}
	}
}
