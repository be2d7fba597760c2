package property

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

// The keys of the world, by their names: one of each kind that accounts have, and one
// that nobody has.
const (
	strangeKey         = "strange"
	knownCertificate   = "known certificate"
	strangeCertificate = "strange certificate"
)

func keyNames() []string { return []string{"ed25519", "ecdsa-256", strangeKey} }

// kindOfKey is the kind of a key by its name.
func kindOfKey(name string) string {
	switch name {
	case knownCertificate, strangeCertificate:
		return "ecdsa-256"
	case strangeKey:
		return "ed25519"
	default:
		return name
	}
}

// Keys are made once: they are no part of what is random here.
var (
	signers = sync.OnceValue(func() map[string]ssh.Signer {
		out := make(map[string]ssh.Signer)
		for _, name := range append(keyNames(), "host") {
			var key any
			var err error
			if name == "ecdsa-256" {
				key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			} else {
				_, key, err = ed25519.GenerateKey(rand.Reader)
			}
			if err != nil {
				panic(err)
			}
			if out[name], err = ssh.NewSignerFromKey(key); err != nil {
				panic(err)
			}
		}
		return out
	})
	certificates = sync.OnceValue(func() map[string]tls.Certificate {
		out := make(map[string]tls.Certificate)
		for _, name := range []string{"server", knownCertificate, strangeCertificate} {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				panic(err)
			}
			template := x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hostname}, DNSNames: []string{hostname},
				NotBefore: time.Unix(0, 0), NotAfter: begin().AddDate(10, 0, 0),
			}
			der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
			if err != nil {
				panic(err)
			}
			leaf, err := x509.ParseCertificate(der)
			if err != nil {
				panic(err)
			}
			out[name] = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
		}
		return out
	})
)

func signerOf(name string) ssh.Signer { return signers()[name] }

func fingerprintOf(certificate string) string {
	return session.CertificateKey(certificates()[certificate].Leaf).Fingerprint
}

func sshKey(name string) session.Key {
	k := signerOf(name).PublicKey()
	return session.Key{Algorithm: k.Type(), Blob: string(k.Marshal()), Fingerprint: ssh.FingerprintSHA256(k)}
}
