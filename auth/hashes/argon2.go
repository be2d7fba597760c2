package hashes

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	argon2d "github.com/go-crypt/x/argon2"
	"golang.org/x/crypto/argon2"
)

const (
	argonID     = "argon2id"
	argonPrefix = "$argon2id$"
	// newPrice is the price of a new hash, the OWASP minimum.
	newPrice     = argonPrefix + "v=19$m=19456,t=2,p=1$"
	newSaltBytes = 16
	newSaltChars = 22
	newSumBytes  = 32

	argonVersion  = "v=19" // RFC 9106, section 3.1
	maxLanes      = 8
	minSaltBytes  = 8
	maxSaltBytes  = 64
	minArgonBytes = 16
	maxArgonBytes = 64

	// What argon2 takes for a KiB in a pass, and for one once, to get it.
	argonPassNs = 480
	argonKiBNs  = 700
	// weakArgonKiB is memory times passes below which a hash is weak: a quarter of
	// that of a new one.
	weakArgonKiB = 19456 * 2 / 4
)

// argon is argon2 in one of its kinds, with parameters, salt, and the sum in base64.
type argon struct {
	kind                     string
	memoryKiB, passes, lanes uint32
	salt                     []byte
	sum                      string
}

// New hashes password at the present price: some 30 to 50 ms and 19 MiB of memory.
func New(password string) Hash {
	return withSum(func(a *argon) string { return a.derive(password) })
}

// Dummy returns a hash that no password matches and that costs what a new one
// does, to be compared with where there is none.
func Dummy() Hash {
	return withSum(func(*argon) string {
		sum := make([]byte, newSumBytes)
		_, _ = rand.Read(sum) // never fails (crypto/rand)
		return base64.RawStdEncoding.EncodeToString(sum)
	})
}

func withSum(sum func(*argon) string) Hash {
	a := newArgon()
	return Hash{recipe: a.recipe(), output: sum(a)}
}

func newArgon() *argon {
	a := &argon{kind: argonID, memoryKiB: 19456, passes: 2, lanes: 1, salt: make([]byte, newSaltBytes)}
	_, _ = rand.Read(a.salt) // never fails (crypto/rand)
	a.sum = strings.Repeat("A", base64.RawStdEncoding.EncodedLen(newSumBytes))
	return a
}

// readArgon reads "$argon2id$v=19$m=19456,t=2,p=1$SALT$".
func readArgon(s *scheme, setting string, size int) (recipe, error) {
	part := strings.Split(setting, "$")
	if len(part) != 6 {
		return recipe{}, malformed("%s: %d parts, want 5", s.name, len(part)-1)
	}
	a, err := parseArgon(part[1:5], size)
	if err != nil {
		return recipe{}, fmt.Errorf("%s: %w", s.name, err)
	}
	return a.recipe(), nil
}

// parseArgon reads kind, version, price and salt of one whose sum has size characters.
func parseArgon(part []string, size int) (*argon, error) {
	a := &argon{kind: part[0], sum: strings.Repeat("A", size)}
	if part[1] != argonVersion {
		return nil, malformed("version is not 19")
	}
	if n := base64.RawStdEncoding.DecodedLen(size); n < minArgonBytes || n > maxArgonBytes {
		return nil, malformed("sum has %d bytes, want %d to %d", n, minArgonBytes, maxArgonBytes)
	}
	param := strings.Split(part[2], ",")
	if len(param) != 3 {
		return nil, malformed("want m, t and p")
	}
	for i, p := range []struct {
		name string
		most uint64
		to   *uint32
	}{{"m", maxMemoryKiB, &a.memoryKiB}, {"t", 1 << 24, &a.passes}, {"p", maxLanes, &a.lanes}} {
		digits, ok := strings.CutPrefix(param[i], p.name+"=")
		if !ok {
			return nil, malformed("want m, t and p in this order")
		}
		n, err := parseNumber(p.name, digits, 1, p.most)
		if err != nil {
			return nil, err
		}
		*p.to = uint32(n)
	}
	if a.memoryKiB < 8*a.lanes {
		return nil, malformed("m is below 8 times p (RFC 9106, section 3.1)")
	}
	if _, err := a.checkedPrice(); err != nil {
		return nil, err
	}
	var err error
	a.salt, err = parseBase64("salt", part[3], minSaltBytes, maxSaltBytes)
	return a, err
}

func (a *argon) recipe() recipe {
	return recipe{
		scheme: a.kind, setting: a.setting(), size: len(a.sum), price: a.price(), derive: a.derive,
		weak: uint64(a.memoryKiB)*uint64(a.passes) < weakArgonKiB,
	}
}

func (a *argon) setting() string {
	return fmt.Sprintf("$%s$%s$m=%d,t=%d,p=%d$%s$", a.kind, argonVersion, a.memoryKiB, a.passes, a.lanes, base64.RawStdEncoding.EncodeToString(a.salt))
}

func (a *argon) checkedPrice() (Price, error) {
	kib := float64(a.memoryKiB)
	return priced(1, kib*float64(a.passes)*argonPassNs+kib*argonKiBNs, kib)
}

// price is that of one that was accepted.
func (a *argon) price() Price {
	p, _ := a.checkedPrice()
	return p
}

func (a *argon) derive(password string) string {
	var sum []byte
	n := uint32(base64.RawStdEncoding.DecodedLen(len(a.sum)))
	switch a.kind {
	case "argon2d": // which x/crypto does not have
		sum = argon2d.DKey([]byte(password), a.salt, a.passes, a.memoryKiB, a.lanes, n)
	case "argon2i":
		sum = argon2.Key([]byte(password), a.salt, a.passes, a.memoryKiB, uint8(a.lanes), n)
	default:
		sum = argon2.IDKey([]byte(password), a.salt, a.passes, a.memoryKiB, uint8(a.lanes), n)
	}
	return base64.RawStdEncoding.EncodeToString(sum)
}

// parseBase64 reads bytes in the one way to write them.
func parseBase64(name, text string, least, most int) ([]byte, error) {
	// Decoding skips CR and LF, which a hash must not hold.
	if strings.ContainsAny(text, "\r\n") {
		return nil, malformed("line break in %s", name)
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, malformed("%s is not base64", name)
	}
	if len(b) < least || len(b) > most {
		return nil, malformed("%s has %d bytes, want %d to %d", name, len(b), least, most)
	}
	return b, nil
}
