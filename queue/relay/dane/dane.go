// Package dane decides whether a certificate is the one that DNS names (RFC 6698,
// RFC 7671), as SMTP uses it (RFC 7672).
//
// It takes the certificate usages DANE-TA (2) and DANE-EE (3); the others are
// unusable for SMTP (RFC 7672, section 3.1.3). Whether the records may be believed
// is for the caller to know.
package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"gateway/queue/relay/dns"
)

// Values of the fields of a record (RFC 7218).
const (
	usageTA = 2
	usageEE = 3

	selectorCertificate = 0
	selectorKey         = 1

	matchingFull   = 0
	matchingSHA256 = 1
	matchingSHA512 = 2
)

// ErrMismatch is a peer whose certificate none of the records names.
var ErrMismatch = errors.New("no TLSA record matches the certificate")

// Usable keeps the records that can be used. If there were records and none is
// left, the channel has to be encrypted and cannot be authenticated (RFC 7672,
// section 2.2).
func Usable(records []dns.TLSA) []dns.TLSA {
	var usable []dns.TLSA
	for _, r := range records {
		if wellFormed(r) {
			usable = append(usable, r)
		}
	}
	return usable
}

func wellFormed(r dns.TLSA) bool {
	if r.Usage != usageTA && r.Usage != usageEE || r.Selector > selectorKey {
		return false
	}
	switch r.Matching {
	case matchingSHA256:
		return len(r.Data) == sha256.Size
	case matchingSHA512:
		return len(r.Data) == sha512.Size
	case matchingFull:
		if r.Selector == selectorKey {
			_, err := x509.ParsePKIXPublicKey(r.Data)
			return err == nil
		}
		_, err := x509.ParseCertificate(r.Data)
		return err == nil
	default:
		return false
	}
}

// Verify checks the peer of state against usable records. names are those that a
// certificate below a trust anchor may be for: the host, and the domain whose
// mail it takes (RFC 7672, section 3.2.2). A certificate that is named itself
// needs neither a name nor to be within its time (section 3.1.1).
func Verify(records []dns.TLSA, state tls.ConnectionState, names []string, now time.Time) error {
	chain := state.PeerCertificates
	if len(chain) == 0 {
		return ErrMismatch
	}
	anchors := x509.NewCertPool()
	found := false
	for _, r := range records {
		switch r.Usage {
		case usageEE:
			if matches(r, chain[0]) {
				return nil
			}
		case usageTA:
			for _, c := range chain {
				if matches(r, c) {
					anchors.AddCert(c)
					found = true
				}
			}
			// A whole certificate need not be sent by the peer (RFC 7671, section 5.2.2).
			if c := whole(r); c != nil {
				anchors.AddCert(c)
				found = true
			}
		}
	}
	if !found {
		return ErrMismatch
	}
	return verifyBelow(anchors, chain, names, now)
}

func verifyBelow(anchors *x509.CertPool, chain []*x509.Certificate, names []string, now time.Time) error {
	opts := x509.VerifyOptions{Roots: anchors, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	err := ErrMismatch
	for _, name := range names {
		opts.DNSName = name
		if _, err = chain[0].Verify(opts); err == nil {
			return nil
		}
	}
	return err
}

func matches(r dns.TLSA, c *x509.Certificate) bool {
	data := c.Raw
	if r.Selector == selectorKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case matchingSHA256:
		sum := sha256.Sum256(data)
		return bytes.Equal(sum[:], r.Data)
	case matchingSHA512:
		sum := sha512.Sum512(data)
		return bytes.Equal(sum[:], r.Data)
	default:
		return bytes.Equal(data, r.Data)
	}
}

// whole is the certificate that a record consists of, nil if it is another kind.
func whole(r dns.TLSA) *x509.Certificate {
	if r.Selector != selectorCertificate || r.Matching != matchingFull {
		return nil
	}
	c, err := x509.ParseCertificate(r.Data)
	if err != nil {
		return nil
	}
	return c
}
