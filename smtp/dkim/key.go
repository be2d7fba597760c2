package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// Algorithm is a kind of key, by its name in the key record (the tag k).
type Algorithm string

// The algorithms, in the order in which a message is signed by them.
const (
	RSA     Algorithm = "rsa"
	Ed25519 Algorithm = "ed25519"
)

// Algorithms lists them.
func Algorithms() []Algorithm { return []Algorithm{RSA, Ed25519} }

// rsaBits is the size of RSA keys: RFC 8301, section 3.2 asks for it, and a
// longer key does not fit into the answer of every resolver.
const rsaBits = 2048

// State is how far a key is.
type State string

const (
	// Next is made and to be published; nothing is signed by it yet.
	Next State = "next"
	// Active signs.
	Active State = "active"
	// Retired signed once. Its private part is gone; its record is to stay until
	// what it signed has arrived.
	Retired State = "retired"
)

// Key is a key as it is shown: its private part stays in the package.
type Key struct {
	Domain    string    `json:"domain"`
	Selector  string    `json:"selector"`
	Algorithm Algorithm `json:"algorithm"`
	State     State     `json:"state"`
	Made      time.Time `json:"made"`
	// Since is when it came into its state.
	Since time.Time `json:"since"`
	// Record is what the TXT record at Name has to say.
	Name   string `json:"name"`
	Record string `json:"record"`
}

// key is a Key with its private part, as the file of its domain holds it.
type key struct {
	Selector  string    `json:"selector"`
	Algorithm Algorithm `json:"algorithm"`
	State     State     `json:"state"`
	Made      time.Time `json:"made"`
	Since     time.Time `json:"since"`
	// Public is the tag p of the record: base64.
	Public string `json:"public"`
	// Private is PKCS #8 in PEM; empty of a key that is retired.
	Private string `json:"private,omitempty"`

	signer crypto.Signer // made of Private
}

// newKey makes a key that is Next.
func newKey(selector string, a Algorithm, now time.Time) (key, error) {
	var signer crypto.Signer
	var public []byte
	var err error
	switch a {
	case RSA:
		var k *rsa.PrivateKey
		if k, err = rsa.GenerateKey(rand.Reader, rsaBits); err == nil {
			signer = k
			// RFC 6376, section 3.6.1 names RSAPublicKey; what is published and read
			// everywhere is SubjectPublicKeyInfo, as in its own appendix C.
			public, err = x509.MarshalPKIXPublicKey(k.Public())
		}
	case Ed25519:
		var k ed25519.PrivateKey
		if public, k, err = ed25519.GenerateKey(rand.Reader); err == nil {
			signer = k // public is bare (RFC 8463, section 4.2)
		}
	default:
		err = fmt.Errorf("%w: algorithm %q; want one of %s, %s", ErrInvalid, a, RSA, Ed25519)
	}
	if err != nil {
		return key{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return key{}, err
	}
	return key{
		Selector: selector, Algorithm: a, State: Next, Made: now, Since: now,
		Public:  base64.StdEncoding.EncodeToString(public),
		Private: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		signer:  signer,
	}, nil
}

// parse checks what was read from a file and makes the signer.
func (k *key) parse() error {
	if err := checkSelector(k.Selector); err != nil {
		return err
	}
	if k.State == Retired {
		return nil
	}
	block, _ := pem.Decode([]byte(k.Private))
	if block == nil {
		return fmt.Errorf("selector %s: the private key is not PEM", k.Selector)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("selector %s: %w", k.Selector, err)
	}
	switch p := parsed.(type) {
	case *rsa.PrivateKey:
		if k.Algorithm != RSA || p.N.BitLen() < rsaBits {
			return fmt.Errorf("selector %s: an RSA key of %d bits as %s", k.Selector, p.N.BitLen(), k.Algorithm)
		}
		k.signer = p
	case ed25519.PrivateKey:
		if k.Algorithm != Ed25519 {
			return fmt.Errorf("selector %s: an Ed25519 key as %s", k.Selector, k.Algorithm)
		}
		k.signer = p
	default:
		return fmt.Errorf("selector %s: a key of another kind", k.Selector)
	}
	return nil
}

// shown is the key without its private part.
func (k key) shown(domain string) Key {
	return Key{
		Domain: domain, Selector: k.Selector, Algorithm: k.Algorithm, State: k.State, Made: k.Made, Since: k.Since,
		Name:   k.Selector + "._domainkey." + domain,
		Record: fmt.Sprintf("v=DKIM1; k=%s; p=%s", k.Algorithm, k.Public),
	}
}

// ErrInvalid is a domain, selector or algorithm that cannot be one.
var ErrInvalid = errors.New("not possible")

// Bounds of a name in the DNS (RFC 1035, section 2.3.4).
const (
	maxNameBytes  = 253
	maxLabelBytes = 63
	// maxSelectorBytes leaves room for the domain behind it.
	maxSelectorBytes = 63
)

// Canonical is a domain in the form in which it is stored, signed for and looked
// up: A-labels in lower case.
func Canonical(domain string) (string, error) {
	name, err := idna.Lookup.ToASCII(strings.TrimSuffix(domain, "."))
	if err == nil {
		err = checkLabels(name, maxNameBytes)
	}
	if err == nil && !strings.Contains(name, ".") {
		err = errors.New("it has no dot")
	}
	if err != nil {
		return "", fmt.Errorf("%w: domain %q: %v; want a name such as example.com", ErrInvalid, clip(domain), err)
	}
	return name, nil
}

func checkSelector(s string) error {
	if err := checkLabels(s, maxSelectorBytes); err != nil {
		return fmt.Errorf("%w: selector %q: %v; want letters, digits and hyphens such as 2026a", ErrInvalid, clip(s), err)
	}
	return nil
}

// checkLabels accepts labels of a-z, 0-9 and inner hyphens, joined by dots. Such a
// name is also that of a file.
func checkLabels(name string, limit int) error {
	if len(name) > limit {
		return fmt.Errorf("it is longer than %d bytes", limit)
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return errors.New("a part of it is empty")
		case len(label) > maxLabelBytes:
			return fmt.Errorf("a part of it is longer than %d bytes", maxLabelBytes)
		case label[0] == '-', label[len(label)-1] == '-':
			return errors.New("a part of it begins or ends with a hyphen")
		case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
			return errors.New("it holds what is not a-z, 0-9, a hyphen or a dot")
		}
	}
	return nil
}

// maxClip bounds what an error quotes.
const maxClip = 80

func clip(s string) string { return s[:min(len(s), maxClip)] }
