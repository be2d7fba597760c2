package session

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
)

// CertificateAlgorithm is the Key.Algorithm of the key of a certificate.
const CertificateAlgorithm = "x509"

// CertificateKey is the key that a TLS client proves by its certificate: the public
// key itself, so that a certificate may be renewed for the same key.
func CertificateKey(cert *x509.Certificate) Key {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return Key{
		Algorithm: CertificateAlgorithm, Blob: string(cert.RawSubjectPublicKeyInfo),
		Fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]),
	}
}
