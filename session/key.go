package session

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"strconv"
	"strings"
)

// KeyKindOther is the kind of a key that is none of KeyKinds else.
const KeyKindOther = "other"

// KeyKinds lists the kinds of key by which rules tell them apart: the algorithm, and
// for RSA the least number of bits, for ECDSA the curve. A key of a certificate is of
// the kind of the key that is certified.
func KeyKinds() []string {
	return []string{
		"ed25519", "sk-ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "sk-ecdsa", "rsa-small", "rsa-2048", "rsa-3072", "rsa-4096", KeyKindOther,
	}
}

// Kind is one of KeyKinds.
func (k Key) Kind() string {
	if k.Algorithm == KeyX509 {
		return x509Kind(k.Blob)
	}
	certified := strings.Contains(k.Algorithm, "-cert-v")
	switch name := strings.SplitN(k.Algorithm, "-cert-v", 2)[0]; {
	case strings.HasPrefix(name, "sk-ssh-ed25519"):
		return "sk-ed25519"
	case strings.HasPrefix(name, "sk-ecdsa-"):
		return "sk-ecdsa"
	case name == "ssh-ed25519":
		return "ed25519"
	case strings.HasPrefix(name, "ecdsa-sha2-nistp"):
		return ecdsaKind(strings.TrimPrefix(name, "ecdsa-sha2-nistp"))
	case name == "ssh-rsa":
		return rsaKind(sshRSABits(k.Blob, certified))
	default:
		return KeyKindOther
	}
}

func x509Kind(spki string) string {
	public, err := x509.ParsePKIXPublicKey([]byte(spki))
	if err != nil {
		return KeyKindOther
	}
	switch public := public.(type) {
	case ed25519.PublicKey:
		return "ed25519"
	case *ecdsa.PublicKey:
		return ecdsaKind(strconv.Itoa(public.Params().BitSize))
	case *rsa.PublicKey:
		return rsaKind(public.N.BitLen())
	default:
		return KeyKindOther
	}
}

func ecdsaKind(bits string) string {
	switch bits {
	case "256", "384", "521":
		return "ecdsa-" + bits
	default:
		return KeyKindOther
	}
}

func rsaKind(bits int) string {
	switch {
	case bits >= 4096:
		return "rsa-4096"
	case bits >= 3072:
		return "rsa-3072"
	case bits >= 2048:
		return "rsa-2048"
	default:
		return "rsa-small"
	}
}

// sshRSABits reads the size of the modulus: "ssh-rsa", in a certificate a nonce, e, n
// (RFC 4253, section 6.6). It is 0 if the key cannot be read.
func sshRSABits(blob string, certified bool) int {
	skip := 2
	if certified {
		skip = 3
	}
	for ; ; skip-- {
		if len(blob) < 4 {
			return 0
		}
		n := binary.BigEndian.Uint32([]byte(blob[:4]))
		if uint64(n) > uint64(len(blob)-4) {
			return 0
		}
		if skip > 0 {
			blob = blob[4+n:]
			continue
		}
		modulus := strings.TrimLeft(blob[4:4+n], "\x00")
		bits := len(modulus) * 8
		for mask := byte(0x80); modulus != "" && mask != 0 && modulus[0]&mask == 0; mask >>= 1 {
			bits--
		}
		return bits
	}
}
