package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// signed returns a certificate by parent, or by itself if that is nil.
func signed(t testing.TB, key crypto.Signer, parent *x509.Certificate, by crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "scanner-7", Organization: []string{"Example"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(template)
	}
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func ecKey(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaSigner(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pemOf(certs ...*x509.Certificate) string {
	var text strings.Builder
	for _, c := range certs {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw}))
	}
	return text.String()
}

func TestParseCertificates(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	certs := []*x509.Certificate{
		signed(t, ecKey(t, elliptic.P256()), nil, nil, nil),
		signed(t, ed, nil, nil, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }),
		// Two that their clients made for themselves, as openssl req -x509 does.
		signed(t, rsaSigner(t, 2048), nil, nil, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }),
		signed(t, ecKey(t, elliptic.P384()), nil, nil, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }),
	}
	file := "subject=CN = scanner-7\r\n" + strings.ReplaceAll(pemOf(certs...), "\n", "\r\n") + "\nthat is all\n"
	keys, err := ParseKeys([]byte(file), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != len(certs) {
		t.Fatalf("got %d keys, want %d", len(keys), len(certs))
	}
	for i, k := range keys {
		if want := session.CertificateKey(certs[i]); k.Session() != want || k.Algorithm != "x509" || k.Comment != "CN=scanner-7,O=Example" {
			t.Errorf("key %d: got %+v, want %+v", i, k, want)
		}
	}
}

func TestParseCertificatesRefuses(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	good := signed(t, key, nil, nil, nil)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	authority := func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid = "authority", true, true
	}
	rootKey, middleKey := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	root := signed(t, rootKey, nil, nil, authority)
	middle := signed(t, middleKey, root, rootKey, func(c *x509.Certificate) { authority(c); c.Subject.CommonName = "middle" })
	leaf := signed(t, key, root, rootKey, nil)
	tests := []struct{ name, file, reason string }{
		{"private key before", private + pemOf(good), "line 1: key: this is a private key"},
		{"private key after", pemOf(good) + private, "private key"},
		{"damaged private key", pemOf(good) + "-----BEGIN RSA PRIVATE KEY-----\nxxx\n", "private key"},
		{"encrypted private key", strings.ReplaceAll(private, "PRIVATE", "ENCRYPTED PRIVATE"), "private key"},
		{"indented private key", pemOf(good) + "  " + private, "private key"},
		{"request", strings.ReplaceAll(pemOf(good), "CERTIFICATE", "CERTIFICATE REQUEST"), `"CERTIFICATE REQUEST" is not a certificate`},
		{"public key", strings.ReplaceAll(pemOf(good), "CERTIFICATE", "PUBLIC KEY"), `"PUBLIC KEY" is not a certificate`},
		{"damaged", pemOf(good) + strings.Replace(pemOf(good), "M", "!", 1), "2 certificates begin in it, and 1 can be read"},
		{"without an end", strings.Replace(pemOf(good), "-----END", "", 1), "1 certificates begin in it, and 0"},
		{"no certificate", string(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: []byte("x")})), "certificate 1 cannot be read"},
		{"SSH key beside", pemOf(good) + ed25519Key(t) + " joe\n", "files of their own"},
		{"expired", pemOf(signed(t, key, nil, nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), "certificate 1: certificate: it expired on "},
		{"small RSA", pemOf(signed(t, rsaSigner(t, 1024), nil, nil, nil)), "RSA key of 1024 bits: want 2048"},
		{"curve", pemOf(signed(t, ecKey(t, elliptic.P224()), nil, nil, nil)), "on the curve P-224"},
		{"one bad among good ones", pemOf(good, signed(t, ecKey(t, elliptic.P224()), nil, nil, nil)), "certificate 2: "},
		{"intermediate authority", pemOf(middle), "it is an authority's"},
		{"chain", pemOf(leaf, root), "certificate 2 is of the authority that issued certificate 1"},
		{"many", strings.Repeat(pemOf(good), maxKeys+1), "more than 64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseKeys([]byte(tt.file), time.Now())
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("got %v, want %v with %q", err, ErrInvalid, tt.reason)
			}
		})
	}
}

func TestUnknownCertificateKeyRefused(t *testing.T) {
	t.Parallel()
	for _, key := range []any{nil, "dsa"} {
		cert := &x509.Certificate{NotAfter: time.Now().Add(time.Hour), PublicKey: key}
		if err := checkCertificate(cert, time.Now()); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: got %v, want %v", key, err, ErrInvalid)
		}
	}
	large := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), maxCertificateRSABits), E: 65537}
	if err := checkCertificate(&x509.Certificate{NotAfter: time.Now().Add(time.Hour), PublicKey: large}, time.Now()); !errors.Is(err, ErrInvalid) {
		t.Errorf("8193 bits: got %v, want %v", err, ErrInvalid)
	}
}

// The key of a certificate lets its account in, until it is removed; renewed for
// the same key it is the same.
func TestCertificateIsAKeyOfItsAccount(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	ctx := t.Context()
	add(t, a, "scanner", "x")
	key := ecKey(t, elliptic.P256())
	cert := signed(t, key, nil, nil, nil)
	c, err := a.AddKeys(ctx, "scanner", []byte(pemOf(cert)))
	must(t, c, err)
	_, err = a.AddKeys(ctx, "scanner", []byte(pemOf(cert)))
	if !errors.Is(err, ErrExist) {
		t.Errorf("twice: got %v, want %v", err, ErrExist)
	}
	renewed := session.CertificateKey(signed(t, key, nil, nil, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(2) }))
	other := session.CertificateKey(signed(t, ecKey(t, elliptic.P256()), nil, nil, nil))
	for _, one := range []struct {
		key  session.Key
		want bool
	}{{session.CertificateKey(cert), true}, {renewed, true}, {other, false}} {
		if known, err := knows(ctx, a, "scanner", one.key); known != one.want || err != nil {
			t.Errorf("knows: got %v, %v, want %v", known, err, one.want)
		}
		if _, err := a.Verify(ctx, source, session.PublicKey("scanner", one.key)); (err == nil) != one.want {
			t.Errorf("verify: got %v, want right %v", err, one.want)
		}
	}
	c, err = a.RemoveKey(ctx, "scanner", renewed.Fingerprint)
	must(t, c, err)
	if known, _ := knows(ctx, a, "scanner", renewed); known {
		t.Error("a removed key is known")
	}
}

// TestKeyOfOneKindIsNoneOfAnother: the same bytes with the other algorithm are
// another key.
func TestKeyOfOneKindIsNoneOfAnother(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	ctx := t.Context()
	add(t, a, "joe", "x")
	line := ed25519Key(t)
	cert := signed(t, ecKey(t, elliptic.P256()), nil, nil, nil)
	for _, file := range []string{line, pemOf(cert)} {
		c, err := a.AddKeys(ctx, "joe", []byte(file))
		must(t, c, err)
	}
	sshAsCert, certAsSSH, without := keyOf(t, line), session.CertificateKey(cert), keyOf(t, line)
	sshAsCert.Algorithm, certAsSSH.Algorithm, without.Algorithm = session.KeyX509, "ssh-ed25519", ""
	for _, forged := range []session.Key{sshAsCert, certAsSSH, without} {
		if known, _ := knows(ctx, a, "joe", forged); known {
			t.Errorf("knows %s as %q", forged.Fingerprint, forged.Algorithm)
		}
		if _, err := a.Verify(ctx, source, session.PublicKey("joe", forged)); err != session.ErrDenied {
			t.Errorf("%s as %q: got %v, want %v", forged.Fingerprint, forged.Algorithm, err, session.ErrDenied)
		}
	}
}

// spkiOf is what a key of x509 must be.
func spkiOf(t testing.TB, k Key) {
	t.Helper()
	pub, err := x509.ParsePKIXPublicKey([]byte(k.blob))
	if err != nil {
		t.Fatalf("accepted what is no key: %v", err)
	}
	if again, err := x509.MarshalPKIXPublicKey(pub); err != nil || len(again) == 0 || bytes.Contains([]byte(k.Comment), []byte("\n")) {
		t.Errorf("got %v, comment %q", err, k.Comment)
	}
}
