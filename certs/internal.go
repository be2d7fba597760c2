package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files in Config.Dir, each with a key and the certificate for it in one, so that
// a crash cannot part the two.
const (
	caFile   = "ca.pem"
	leafFile = "tls.pem"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 90 * 24 * time.Hour
	// backdate allows for clients whose clock is slow.
	backdate = time.Hour
	rsaBits  = 2048
)

// authority is the internal CA.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// openAuthority reads the CA from dir, or makes it.
func openAuthority(dir string) (*authority, error) {
	name := filepath.Join(dir, caFile)
	pair, err := readPair(name)
	if errors.Is(err, fs.ErrNotExist) {
		content, merr := makeAuthority()
		if merr != nil {
			return nil, fmt.Errorf("make the internal CA: %w", merr)
		}
		if err := writeKeyFile(name, content, false); err != nil {
			return nil, err
		}
		pair, err = readPair(name)
	}
	if err != nil {
		return nil, fmt.Errorf("internal CA: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("internal CA: %s holds no CA", name)
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("internal CA: %s expired on %s; remove it to make a new one, which clients must then trust",
			name, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	return &authority{pair.Leaf, key}, nil
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func makeAuthority() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		// The random part sets it apart from the CA of another gateway.
		Subject:   pkix.Name{CommonName: "Gateway internal CA " + strings.ToLower(rand.Text()[:8])},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return encodePair(key, raw)
}

// issue makes a key and a certificate for names.
func (a *authority) issue(hostname string, names []string, useRSA bool) ([]byte, error) {
	var key crypto.Signer
	var err error
	if useRSA {
		key, err = rsa.GenerateKey(rand.Reader, rsaBits)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: hostname},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(hostname) > maxCommonName {
		template.Subject.CommonName = ""
	}
	if useRSA {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return encodePair(key, raw, a.cert.Raw)
}

// maxCommonName is ub-common-name of RFC 5280, appendix A.1.
const maxCommonName = 64

// encodePair writes a key and its chain as one PEM text.
func encodePair(key crypto.Signer, chain ...[]byte) ([]byte, error) {
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	for _, cert := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
	}
	return out, nil
}

// readPair reads what encodePair wrote.
func readPair(name string) (*tls.Certificate, error) {
	content, err := readKeyFile(name)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(content, content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &pair, nil
}

// internalNames are the names that the internal certificate is for.
func (s *Source) internalNames() []string {
	var names []string
	for _, name := range append([]string{s.cfg.Hostname, "localhost", "127.0.0.1", "::1"}, s.cfg.Internal.Names...) {
		name = strings.ToLower(name)
		if ip := net.ParseIP(name); ip != nil {
			name = ip.String()
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// loadInternal puts the internal certificate on file in force, or a new one if
// there is none, it is due, for other names, or of another CA.
func (s *Source) loadInternal() error {
	pair, err := readPair(filepath.Join(s.cfg.Dir, leafFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.issueInternal()
	case err != nil:
		return fmt.Errorf("internal certificate: %w", err)
	case !s.usable(pair.Leaf):
		return s.issueInternal()
	}
	s.current.Store(pair)
	return nil
}

func (s *Source) usable(leaf *x509.Certificate) bool {
	have := describe("", leaf).Names
	want := s.internalNames()
	slices.Sort(have)
	slices.Sort(want)
	_, isRSA := leaf.PublicKey.(*rsa.PublicKey)
	return !due(leaf) && slices.Equal(have, want) && isRSA == s.cfg.RSA && leaf.CheckSignatureFrom(s.ca.cert) == nil
}

// issueInternal puts a new internal certificate on file and in force.
func (s *Source) issueInternal() error {
	content, err := s.ca.issue(s.cfg.Hostname, s.internalNames(), s.cfg.RSA)
	if err != nil {
		return fmt.Errorf("issue the internal certificate: %w", err)
	}
	if err := writeKeyFile(filepath.Join(s.cfg.Dir, leafFile), content, true); err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(content, content)
	if err != nil {
		return fmt.Errorf("issue the internal certificate: %w", err)
	}
	s.current.Store(&pair)
	s.log.Info("internal certificate issued", "not_after", pair.Leaf.NotAfter, "sha256", fingerprint(pair.Leaf))
	return nil
}

// dueInternal reports whether a new internal certificate would be worth having:
// not from a CA that has expired under a running gateway.
func (s *Source) dueInternal() bool {
	return due(s.current.Load().Leaf) && time.Now().Before(s.ca.cert.NotAfter)
}

// due reports whether two thirds of a certificate's life are over.
func due(leaf *x509.Certificate) bool {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return time.Now().After(leaf.NotBefore.Add(life / 3 * 2))
}
