// Package certs holds the keys by which the gateway proves who it is: one
// source of TLS certificates for all listeners, and the SSH host keys.
//
// Certificates come from a CA of the gateway's own, made at the first start,
// from PEM files, or from an ACME CA (RFC 8555, RFC 8738) by certmagic. Whatever
// their source, they are renewed or reloaded under live listeners.
package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where certificates come from: Files or ACME if set, else the
// internal CA.
type Config struct {
	// Hostname is the name by which clients reach the gateway. Empty means
	// localhost.
	Hostname string
	// Dir holds what the package keeps: the CA, its certificate, ACME account and
	// certificates. It is made (0700) if missing. It must be set.
	Dir string
	// Internal is the CA of the gateway's own. It also serves while an ACME CA has
	// not issued anything yet.
	Internal Internal
	Files    *Files
	ACME     *ACME
	// RSA makes the keys of the internal CA's certificate and of ACME RSA 2048
	// instead of ECDSA P-256, for devices too old for the latter.
	RSA bool
	// Log may be nil for slog.Default.
	Log *slog.Logger
}

// Internal is the gateway's own CA.
type Internal struct {
	// Names are DNS names and IP addresses that the certificate is for, besides
	// Hostname, localhost, 127.0.0.1 and ::1.
	Names []string
}

// Files are PEM files that somebody else takes care of. They are read again
// when they change.
type Files struct {
	Cert string // the certificate, followed by its intermediates
	Key  string // its key; only the gateway's user may have any permission on it
}

// ACME is a CA that is asked over the network.
type ACME struct {
	// Email is where the CA writes to; may be empty.
	Email string
	// Directory is the CA's directory URL. Empty means Let's Encrypt.
	Directory string
	// Names are the DNS names and IP addresses to get certificates for. Empty means
	// Hostname.
	Names []string
	// Agree accepts the CA's terms of service; without it nothing is asked for.
	Agree bool
	// Roots is a PEM file of roots to trust for the directory itself, for a CA
	// inside the organisation. Empty means the system's.
	Roots string
	// ListenHost is the address on which challenges are answered while one is
	// under way. Empty means all.
	ListenHost string
	// HTTPPort and TLSALPNPort are the ports for HTTP-01 (RFC 8555, section 8.3) and
	// TLS-ALPN-01 (RFC 8737). Zero means 80 and 443; negative switches the challenge
	// off. The CA always connects to 80 and 443: with other ports here, something
	// must forward those.
	HTTPPort, TLSALPNPort int
	// Profile is the certificate profile to ask for. Empty leaves it to the CA.
	// Let's Encrypt wants "shortlived" for IP addresses.
	Profile string
	// CheckInterval is how often certificates are checked for renewal. Zero means
	// 10m.
	CheckInterval time.Duration
}

// checkInterval is how often Run looks at files and at the age of the internal
// certificate.
const checkInterval = 30 * time.Second

// Source hands out certificates. Its methods may be called at the same time from
// any goroutine.
type Source struct {
	cfg     Config
	log     *slog.Logger
	current atomic.Pointer[tls.Certificate] // of the internal CA or the files
	reload  sync.Mutex                      // one Reload or Renew at a time; guards what follows
	ca      *authority                      // nil with Files
	seen    fileStamp                       // with Files: what was read last, good or bad
	acme    *acme                           // nil without ACME
}

// Open reads or makes what Config asks for. With ACME it returns at once:
// certificates are fetched in the background, until Close, and the internal
// CA's serves as long as there is none.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Hostname == "" {
		cfg.Hostname = "localhost"
	}
	s := &Source{cfg: cfg, log: cfg.Log}
	if s.log == nil {
		s.log = slog.Default()
	}
	if err := makeKeyDir(cfg.Dir); err != nil {
		return nil, err
	}
	if cfg.Files != nil {
		if err := s.loadFiles(); err != nil {
			return nil, err
		}
		return s, nil
	}
	var err error
	if s.ca, err = openAuthority(cfg.Dir); err != nil {
		return nil, err
	}
	if err := s.loadInternal(); err != nil {
		return nil, err
	}
	if cfg.ACME != nil {
		if s.acme, err = openACME(ctx, cfg, s.log); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (c Config) validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("certificates: no folder for keys"))
	}
	if c.Files != nil && c.ACME != nil {
		errs = append(errs, errors.New("certificates: both files and acme are set"))
	}
	if c.Files != nil && (c.Files.Cert == "" || c.Files.Key == "") {
		errs = append(errs, errors.New("certificates: a certificate file and a key file belong together"))
	}
	names := append([]string{c.Hostname}, c.Internal.Names...)
	if c.ACME != nil {
		errs = append(errs, c.ACME.validate(c.Hostname))
		names = append(names, c.ACME.Names...)
	}
	for _, name := range names {
		if name != "" && !validName(name) {
			errs = append(errs, fmt.Errorf("certificates: %q is neither a DNS name nor an IP address", name))
		}
	}
	return errors.Join(errs...)
}

// maxName is the longest DNS name (RFC 1035, section 2.3.4), as text.
const maxName = 253

// validName reports whether name is an IP address or consists of labels of
// letters, digits, "-" and "_".
func validName(name string) bool {
	if net.ParseIP(name) != nil {
		return true
	}
	if len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
				return false
			}
		}
	}
	return true
}

// TLSConfig returns a configuration with the certificate in force at each
// handshake and TLS 1.2 as the least. Callers own it and set NextProtos and the
// like.
func (s *Source) TLSConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificate}
}

func (s *Source) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.acme != nil {
		if cert, err := s.acme.magic.GetCertificate(hello); err == nil {
			return cert, nil
		}
	}
	return s.current.Load(), nil
}

// Run watches the files and renews the internal certificate until ctx is done.
// ACME certificates are renewed without it.
func (s *Source) Run(ctx context.Context) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.check()
		}
	}
}

// check does what is due, and leaves the old certificate in force if it fails.
func (s *Source) check() {
	s.reload.Lock()
	defer s.reload.Unlock()
	if s.cfg.Files == nil {
		if s.dueInternal() {
			if err := s.loadInternal(); err != nil {
				s.log.Error("renew internal certificate", "err", err)
			}
		}
		return
	}
	if stampOf(s.cfg.Files) == s.seen {
		return
	}
	if err := s.loadFiles(); err != nil {
		s.log.Warn("changed certificate files are not usable; the old certificate stays in force", "err", err)
		return
	}
	s.log.Info("certificate files reloaded", "cert", s.cfg.Files.Cert)
}

// Reload reads the files again now. On error the old certificate stays in force.
func (s *Source) Reload() error {
	s.reload.Lock()
	defer s.reload.Unlock()
	if s.cfg.Files != nil {
		return s.loadFiles()
	}
	return s.loadInternal()
}

// Renew gets new certificates now, whatever the age of the old ones: from the
// internal CA, from the ACME CA, or by reading the files again. ctx bounds the
// wait for the ACME CA.
func (s *Source) Renew(ctx context.Context) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	switch {
	case s.cfg.Files != nil:
		return s.loadFiles()
	case s.acme != nil:
		return s.acme.renew(ctx)
	default:
		return s.issueInternal()
	}
}

// CA returns the certificate of the internal CA in PEM, for clients to trust; nil
// with Files.
func (s *Source) CA() []byte {
	if s.ca == nil {
		return nil
	}
	return s.ca.pem()
}

// Info describes a certificate in force.
type Info struct {
	Source      string    `json:"source"` // internal, files or acme
	Names       []string  `json:"names"`
	Issuer      string    `json:"issuer"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"sha256"` // of the certificate, as openssl prints it
}

// Describe lists the certificates in force. While an ACME CA has not issued
// anything that is the internal one.
func (s *Source) Describe() []Info {
	if s.acme != nil {
		var list []Info
		for _, cert := range s.acme.certificates() {
			list = append(list, describe("acme", cert))
		}
		if len(list) > 0 {
			return list
		}
	}
	source := "internal"
	if s.cfg.Files != nil {
		source = "files"
	}
	return []Info{describe(source, s.current.Load().Leaf)}
}

func describe(source string, cert *x509.Certificate) Info {
	info := Info{
		Source: source, Names: append([]string{}, cert.DNSNames...), Issuer: cert.Issuer.String(),
		NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(), Fingerprint: fingerprint(cert),
	}
	for _, ip := range cert.IPAddresses {
		info.Names = append(info.Names, ip.String())
	}
	return info
}

func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = strings.ToUpper(hex.EncodeToString([]byte{b}))
	}
	return strings.Join(pairs, ":")
}

// Close ends what the source does in the background. Its certificates stay
// usable.
func (s *Source) Close() error {
	if s.acme != nil {
		s.acme.close()
	}
	return nil
}
