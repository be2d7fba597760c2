package auth

import (
	"bytes"
	"crypto/dsa" //lint:ignore SA1019 to see that its keys are refused
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

// publicKey returns a key as its line in authorized_keys, without a comment.
func publicKey(t testing.TB, key any) string {
	t.Helper()
	pub, err := ssh.NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
}

func ed25519Key(t testing.TB) string {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return publicKey(t, pub)
}

// rsaKey returns a key of so many bits; whether they are primes is not asked.
func rsaKey(t testing.TB, bits int) string {
	t.Helper()
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return publicKey(t, &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537})
}

// skKey is a key on a security key (PROTOCOL.u2f of OpenSSH).
func skKey(t testing.TB) string {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	blob := ssh.Marshal(struct {
		Name string
		Key  []byte
		App  string
	}{ssh.KeyAlgoSKED25519, pub, "ssh:"})
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file := "# the team\n\n" +
		ed25519Key(t) + " joe@laptop\r\n" +
		"  " + publicKey(t, &ec.PublicKey) + "\n" +
		"restrict,no-pty " + rsaKey(t, 3072) + " two words \x1b[31m\xff\n" +
		skKey(t) + " yubikey"
	keys, err := ParseKeys([]byte(file), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := []Key{
		{Algorithm: "ssh-ed25519", Comment: "joe@laptop"},
		{Algorithm: "ecdsa-sha2-nistp256"},
		{Algorithm: "ssh-rsa", Comment: "two words [31m"},
		{Algorithm: "sk-ssh-ed25519@openssh.com", Comment: "yubikey"},
	}
	if len(keys) != len(want) {
		t.Fatalf("got %d keys, want %d", len(keys), len(want))
	}
	for i, k := range keys {
		if k.Algorithm != want[i].Algorithm || k.Comment != want[i].Comment {
			t.Errorf("key %d: got %s %q, want %s %q", i, k.Algorithm, k.Comment, want[i].Algorithm, want[i].Comment)
		}
		pub, err := ssh.ParsePublicKey([]byte(k.Session().Blob))
		if err != nil {
			t.Fatal(err)
		}
		if got := ssh.FingerprintSHA256(pub); got != k.Fingerprint || k.Session().Fingerprint != got {
			t.Errorf("key %d: got %s, want %s", i, k.Fingerprint, got)
		}
	}
}

func TestParseKeysRefuses(t *testing.T) {
	t.Parallel()
	good := ed25519Key(t)
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	privateText := string(pem.EncodeToMemory(block))
	dsaLine := publicKey(t, &dsa.PublicKey{
		Parameters: dsa.Parameters{P: new(big.Int).Lsh(big.NewInt(1), 1023), Q: new(big.Int).Lsh(big.NewInt(1), 159), G: big.NewInt(2)},
		Y:          big.NewInt(3),
	})
	tests := []struct{ name, file, reason string }{
		{"empty", "", "no key in it"},
		{"only comments", "# a\n\n", "no key in it"},
		{"garbage", "hello world", "line 1: key: not a public key"},
		{"one bad line among good ones", good + "\nssh-ed25519 AAAA\n", "line 2: key: not a public key"},
		{"private", privateText, "private key"},
		{"putty", "PuTTY-User-Key-File-3: ssh-ed25519\n", "private key"},
		{"RFC 4716", "---- BEGIN SSH2 PUBLIC KEY ----\n", "ssh-keygen -i"},
		{"small RSA", rsaKey(t, 2048), "RSA key of 2048 bits: want 3072"},
		{"huge RSA", rsaKey(t, 16385), "not a public key"},
		{"DSA", dsaLine, "DSA"},
		{"command", `command="internal-sftp" ` + good, `option "command" would be ignored`},
		{"environment", `environment="A=b" ` + good, `option "environment" would be ignored`},
		{"permitopen", `permitopen="host:1" ` + good, `option "permitopen" would be ignored`},
		{"one bad option among good ones", `restrict,pty ` + good, `option "pty"`},
		{"verify-required", `verify-required ` + skKey(t), `option "verify-required" cannot be checked`},
		{"from without a value", `from ` + good, `option "from"`},
		{"from a host", `from="example.com" ` + good, "not looked up"},
		{"from no network", `from="10.0.0.1/8" ` + good, "no network"},
		{"from nowhere", `from="!10.0.0.0/8" ` + good, "good from nowhere"},
		{"from twice", `from="10.0.0.1",from="10.0.0.2" ` + good, "given twice"},
		{"expiry that is no time", `expiry-time="20271301" ` + good, "is no time"},
		{"principals alone", `principals="joe" ` + good, "only beside"},
		{"no principal", `cert-authority,principals="" ` + good, "want names"},
		{"authority with a value", `cert-authority="x" ` + good, "no value"},
		{"certificate", certificate(t), "not supported"},
		{"long line", strings.Repeat("x", maxKeyLineBytes+1), "line 1 is longer"},
		{"large file", strings.Repeat("\n", maxKeyFileBytes+1), "larger than"},
		{"many", strings.Repeat(good+"\n", maxKeys+1), "more than 64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseKeys([]byte(tt.file), time.Now())
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("got %v, want %v with %q", err, ErrInvalid, tt.reason)
			}
			if err != nil && strings.Contains(err.Error(), "AAAAC3") {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
}

// certificate is a user certificate in the place of a key.
func certificate(t *testing.T) string {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	c := &ssh.Certificate{Key: key, CertType: ssh.UserCert}
	if err := c.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(c)))
}

func FuzzParseKeys(f *testing.F) {
	good := ed25519Key(f)
	cert := signed(f, ecKey(f, elliptic.P256()), nil, nil, nil)
	for _, seed := range []string{good, good + " comment", "restrict " + good, `from="a b,c" ` + good, `FROM="10.0.0.0/8,!10.1.*" ` + good, `cert-authority,principals="a,b",expiry-time="203001010000Z" ` + good, rsaKey(f, 1024), skKey(f), "# x\n\n", "-----BEGIN", pemOf(cert), "x\n" + pemOf(cert, cert), pemOf(cert) + "-----BEGIN PRIVATE KEY-----\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		keys, err := ParseKeys(file, time.Now())
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("got %v, want %v", err, ErrInvalid)
			}
			return
		}
		if len(keys) == 0 || len(keys) > maxKeys {
			t.Errorf("got %d keys", len(keys))
		}
		if bytes.HasPrefix(file, []byte("-----BEGIN PRIVATE KEY")) {
			t.Error("a private key was passed over")
		}
		for _, k := range keys {
			if k.Algorithm == session.KeyX509 {
				spkiOf(t, k)
				continue
			}
			pub, err := ssh.ParsePublicKey([]byte(k.blob))
			if err != nil {
				t.Fatalf("accepted what is no key: %v", err)
			}
			if pub.Type() != k.Algorithm || strings.ContainsAny(k.Comment, "\r\n\x00\x1b") {
				t.Errorf("got %s %q", k.Algorithm, k.Comment)
			}
		}
	})
}
