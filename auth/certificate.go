package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

const (
	minCertificateRSABits = 2048
	maxCertificateRSABits = 8192 // crypto/tls takes no larger key of a peer

	pemBegin       = "-----BEGIN "
	pemCertificate = "CERTIFICATE"
)

func errPrivateKey() error {
	return invalid("key", "this is a private key; give the public one (FILE.pub), or the certificate alone, and keep this to yourself")
}

// holdsPEM reports whether a block of PEM begins in file (RFC 7468, section 2).
func holdsPEM(file []byte) bool {
	for line := range bytes.Lines(file) {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte(pemBegin)) {
			return true
		}
	}
	return false
}

// parseCertificates takes the keys of the certificates in file, all or none.
// What stands between them is explanation (RFC 7468, section 5.2), but for
// another kind of key, which would be overlooked.
func parseCertificates(file []byte, now time.Time) ([]Key, error) {
	want, err := checkPEMLines(file)
	if err != nil {
		return nil, err
	}
	var keys []Key
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, file = pem.Decode(file); block == nil {
			break
		}
		n := len(certs) + 1
		if block.Type != pemCertificate {
			return nil, invalid("key file", "certificate %d cannot be read", n)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, invalid("key file", "certificate %d cannot be read: %v", n, err)
		}
		if err := checkCertificate(cert, now); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", n, err)
		}
		k := session.CertificateKey(cert)
		certs = append(certs, cert)
		keys = append(keys, Key{
			Algorithm: k.Algorithm, Fingerprint: k.Fingerprint, blob: k.Blob,
			Comment: cleanComment(cert.Subject.String()),
		})
	}
	if len(certs) != want {
		return nil, invalid("key file", "%d certificates begin in it, and %d can be read", want, len(certs))
	}
	if err := checkNoChain(certs); err != nil {
		return nil, err
	}
	return keys, nil
}

// checkPEMLines counts the certificates that begin in file, and refuses what is
// none: pem.Decode passes over a block that is damaged, which must not hide a
// private key or leave out a certificate.
func checkPEMLines(file []byte) (certificates int, err error) {
	n, inside := 0, false
	for line := range bytes.Lines(file) {
		n++
		text := string(bytes.TrimSpace(line))
		switch label, begins := strings.CutPrefix(text, pemBegin); {
		case strings.HasPrefix(text, "-----END "):
			inside = false
		case !begins && inside:
		case !begins:
			if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text)); err == nil {
				return 0, invalid("key file", "line %d is an SSH key; put SSH keys and certificates into files of their own", n)
			}
		case label == pemCertificate+"-----":
			inside = true
			certificates++
		case strings.Contains(label, "PRIVATE KEY"):
			return 0, fmt.Errorf("line %d: %w", n, errPrivateKey())
		default:
			label, _, _ = strings.Cut(label, "-----") // what follows it is not quoted
			return 0, invalid("key file", "line %d: %q is not a certificate; want -----BEGIN CERTIFICATE-----", n, clip(label))
		}
		if certificates > maxKeys {
			return 0, invalid("key file", "more than %d certificates", maxKeys)
		}
	}
	return certificates, nil
}

// checkCertificate accepts a certificate that a client could still log in with.
// One that is not valid yet may be given ahead of its time.
func checkCertificate(cert *x509.Certificate, now time.Time) error {
	if now.After(cert.NotAfter) {
		return invalid("certificate", "it expired on %s; give the one that took its place", cert.NotAfter.UTC().Format(time.DateOnly))
	}
	if cert.IsCA && !bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		return invalid("certificate", "it is an authority's; give the client's own certificate")
	}
	switch key := cert.PublicKey.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return invalid("certificate", "its key is on the curve %s; want P-256, P-384 or P-521", key.Curve.Params().Name)
	case *rsa.PublicKey:
		switch bits := key.N.BitLen(); {
		case bits < minCertificateRSABits:
			return invalid("certificate", "RSA key of %d bits: want %d or more", bits, minCertificateRSABits)
		case bits > maxCertificateRSABits:
			return invalid("certificate", "RSA key of %d bits: TLS takes %d or less", bits, maxCertificateRSABits)
		}
		return nil
	default:
		return invalid("certificate", "its kind of key is not supported; want ECDSA, Ed25519 or RSA")
	}
}

// checkNoChain refuses a file with the certificate of an authority that issued
// another one in it: its key would become a key of the account. Certificates that
// clients made for themselves may bear one name.
func checkNoChain(certs []*x509.Certificate) error {
	for i, cert := range certs {
		if bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			continue
		}
		for j, issuer := range certs {
			if i != j && bytes.Equal(cert.RawIssuer, issuer.RawSubject) {
				return invalid("key file", "certificate %d is of the authority that issued certificate %d; give the client's own certificate without its chain", j+1, i+1)
			}
		}
	}
	return nil
}
