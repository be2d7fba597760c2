package session_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"

	"gateway/session"
)

// wire joins fields as SSH does.
func wire(fields ...[]byte) string {
	var out []byte
	for _, f := range fields {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(f))), f...)
	}
	return string(out)
}

func modulus(bits int) []byte {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return append([]byte{0}, n.Bytes()...) // an mpint (RFC 4251, section 5)
}

func TestKeyKind(t *testing.T) {
	t.Parallel()
	spki := func(public any) string {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return string(der)
	}
	edwards, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e := []byte{1, 0, 1}
	for name, tc := range map[string]struct {
		key  session.Key
		want string
	}{
		"ed25519":       {session.Key{Algorithm: "ssh-ed25519"}, "ed25519"},
		"its cert":      {session.Key{Algorithm: "ssh-ed25519-cert-v01@openssh.com"}, "ed25519"},
		"security key":  {session.Key{Algorithm: "sk-ssh-ed25519@openssh.com"}, "sk-ed25519"},
		"ecdsa":         {session.Key{Algorithm: "ecdsa-sha2-nistp521"}, "ecdsa-521"},
		"rsa 4096":      {session.Key{Algorithm: "ssh-rsa", Blob: wire([]byte("ssh-rsa"), e, modulus(4096))}, "rsa-4096"},
		"rsa 3072":      {session.Key{Algorithm: "ssh-rsa", Blob: wire([]byte("ssh-rsa"), e, modulus(3072))}, "rsa-3072"},
		"rsa 3071":      {session.Key{Algorithm: "ssh-rsa", Blob: wire([]byte("ssh-rsa"), e, modulus(3071))}, "rsa-2048"},
		"rsa 1024":      {session.Key{Algorithm: "ssh-rsa", Blob: wire([]byte("ssh-rsa"), e, modulus(1024))}, "rsa-small"},
		"rsa cert":      {session.Key{Algorithm: "ssh-rsa-cert-v01@openssh.com", Blob: wire([]byte("x"), []byte("nonce"), e, modulus(3072))}, "rsa-3072"},
		"rsa, cut":      {session.Key{Algorithm: "ssh-rsa", Blob: wire([]byte("ssh-rsa"), e)}, "rsa-small"},
		"rsa, long":     {session.Key{Algorithm: "ssh-rsa", Blob: "\xff\xff\xff\xffx"}, "rsa-small"},
		"x509 ed25519":  {session.Key{Algorithm: session.KeyX509, Blob: spki(edwards)}, "ed25519"},
		"x509 ecdsa":    {session.Key{Algorithm: session.KeyX509, Blob: spki(&curve.PublicKey)}, "ecdsa-384"},
		"x509 rsa":      {session.Key{Algorithm: session.KeyX509, Blob: spki(&rsa.PublicKey{N: new(big.Int).SetBytes(modulus(2048)), E: 65537})}, "rsa-2048"},
		"x509, garbage": {session.Key{Algorithm: session.KeyX509, Blob: "x"}, "other"},
		"dsa":           {session.Key{Algorithm: "ssh-dss"}, "other"},
		"none":          {session.Key{}, "other"},
	} {
		if got := tc.key.Kind(); got != tc.want || !slices.Contains(session.KeyKinds(), got) {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}

// A key may be anything that a peer made up.
func FuzzKeyKind(f *testing.F) {
	f.Add("ssh-rsa", wire([]byte("ssh-rsa"), []byte{1, 0, 1}, modulus(3072)))
	f.Add("ssh-rsa-cert-v01@openssh.com", wire([]byte("x"), []byte("n"), []byte{3}, modulus(2048)))
	f.Add(session.KeyX509, "0")
	f.Add("ssh-ed25519", "")
	f.Fuzz(func(t *testing.T, algorithm, blob string) {
		if got := (session.Key{Algorithm: algorithm, Blob: blob}).Kind(); !slices.Contains(session.KeyKinds(), got) {
			t.Errorf("got %q, which is no kind", got)
		}
	})
}
