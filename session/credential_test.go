package session

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
)

// A certificate's key is its public key info, under the digest that the channel
// is recorded with.
func TestCertificateKey(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	key := CertificateKey(cert)
	pub, err := x509.ParsePKIXPublicKey([]byte(key.Blob))
	if err != nil || !private.PublicKey.Equal(pub) || key.Algorithm != "x509" {
		t.Errorf("got %q, %v, %v, want the key of the certificate", key.Algorithm, pub, err)
	}
	sum, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(key.Fingerprint, "SHA256:"))
	if err != nil {
		t.Fatal(err)
	}
	channel := TLSChannel(tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}})
	if got := hex.EncodeToString(sum); got != channel.ClientCert {
		t.Errorf("got %s, want %s as the channel has it", got, channel.ClientCert)
	}
}
