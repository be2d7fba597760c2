package auth

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

const (
	maxKeys         = 64       // of one account
	maxKeyFileBytes = 1 << 20  // of one call of ParseKeys
	maxKeyLineBytes = 16 << 10 // an RSA key of 16384 bits takes 2.8 KiB
	maxCommentBytes = 255
	minRSABits      = 3072 // the most is set by x/crypto/ssh, which does not parse a larger key
)

// Key is a public key of an account: an SSH key, or that of a TLS client's
// certificate.
type Key struct {
	Algorithm   string    `json:"algorithm"`   // "ssh-ed25519", or session.KeyX509
	Fingerprint string    `json:"fingerprint"` // "SHA256:...", as OpenSSH prints it
	Comment     string    `json:"comment,omitempty"`
	Added       time.Time `json:"added,omitzero"` // zero until it is stored
	// Options limit the key, as in authorized_keys: from="...", expiry-time="..."
	Options []string `json:"options,omitempty"`
	// Pending is a key that the account brought by itself, and that has not logged in
	// yet.
	Pending bool `json:"pending,omitempty"`

	blob    string // session.Key.Blob
	options options
}

// keyID is what makes a key the same: a certificate's key is never an SSH key,
// whatever its bytes.
type keyID struct{ algorithm, blob string }

func idOf(k session.Key) keyID { return keyID{k.Algorithm, k.Blob} }

func (k Key) id() keyID { return keyID{k.Algorithm, k.blob} }

// Line is the key as a line of authorized_keys, which ParseKeys reads; empty for that of a
// TLS client's certificate, which has none.
func (k Key) Line() string {
	if k.Algorithm == session.KeyX509 {
		return ""
	}
	words := []string{k.Algorithm, base64.StdEncoding.EncodeToString([]byte(k.blob))}
	if len(k.Options) > 0 {
		words = slices.Insert(words, 0, strings.Join(k.Options, ","))
	}
	if k.Comment != "" {
		words = append(words, k.Comment)
	}
	return strings.Join(words, " ")
}

// Session returns the key as the gate knows it.
func (k Key) Session() session.Key {
	return session.Key{Algorithm: k.Algorithm, Blob: k.blob, Fingerprint: k.Fingerprint}
}

// ParseKeys reads a file of public keys, one a line, as authorized_keys and
// *.pub files have them (sshd(8)); empty lines and comments are skipped. Each
// line must be good, or none is taken; the error is an ErrInvalid with the
// number of the line.
//
// A file may instead hold X.509 certificates as PEM, whose keys are taken. now is
// the time at which they must not have expired.
//
// Of the options before a key, from, expiry-time, no-touch-required,
// cert-authority and principals are honoured, those that forbid what the gateway
// never does (restrict, no-pty and the like) hold by themselves, and all others
// are refused by name: to ignore one that limits the key would widen what it may
// do.
func ParseKeys(file []byte, now time.Time) ([]Key, error) {
	if len(file) > maxKeyFileBytes {
		return nil, invalid("key file", "larger than %d bytes", maxKeyFileBytes)
	}
	if holdsPEM(file) {
		return parseCertificates(file, now)
	}
	var keys []Key
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, maxKeyLineBytes)
	n := 0
	for lines.Scan() {
		n++
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if len(keys) == maxKeys {
			return nil, invalid("key file", "more than %d keys", maxKeys)
		}
		keys = append(keys, key)
	}
	if lines.Err() != nil {
		return nil, invalid("key file", "line %d is longer than %d bytes", n+1, maxKeyLineBytes)
	}
	if len(keys) == 0 {
		return nil, invalid("key file", "there is no key in it")
	}
	return keys, nil
}

// parseKey reads one line. Nothing of a line that is not a public key is
// quoted: it may be a private one.
func parseKey(line string) (Key, error) {
	switch {
	case strings.HasPrefix(line, "---- BEGIN SSH2 PUBLIC KEY"):
		return Key{}, invalid("key", "this form is of RFC 4716; convert it with ssh-keygen -i -f FILE")
	case strings.HasPrefix(line, "PuTTY-User-Key-File"):
		return Key{}, errPrivateKey()
	}
	pub, comment, list, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return Key{}, invalid("key", "not a public key that can be read (want: ssh-ed25519 AAAA... comment, or a certificate as PEM)")
	}
	o, kept, err := parseOptions(list, pub.Type())
	if err != nil {
		return Key{}, err
	}
	if err := checkKey(pub); err != nil {
		return Key{}, err
	}
	return Key{
		Options: kept, options: o,
		Algorithm: pub.Type(), Fingerprint: ssh.FingerprintSHA256(pub),
		Comment: cleanComment(comment), blob: string(pub.Marshal()),
	}, nil
}

// checkKey accepts the kinds of key that are still safe.
func checkKey(pub ssh.PublicKey) error {
	switch pub.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return nil
	case ssh.KeyAlgoRSA:
		crypto, ok := pub.(ssh.CryptoPublicKey)
		if !ok {
			return invalid("key", "RSA key cannot be read")
		}
		key, ok := crypto.CryptoPublicKey().(*rsa.PublicKey)
		if !ok {
			return invalid("key", "RSA key cannot be read")
		}
		if bits := key.N.BitLen(); bits < minRSABits {
			return invalid("key", "RSA key of %d bits: want %d or more, or an ssh-ed25519 key", bits, minRSABits)
		}
		return nil
	case "ssh-dss":
		return invalid("key", "DSA keys are broken; make one with ssh-keygen -t ed25519")
	default:
		return invalid("key", "keys of type %q are not supported; make one with ssh-keygen -t ed25519", clip(pub.Type()))
	}
}

// cleanComment keeps what can be printed of a comment.
func cleanComment(comment string) string {
	if len(comment) > maxCommentBytes {
		comment = comment[:maxCommentBytes]
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, comment)
}
