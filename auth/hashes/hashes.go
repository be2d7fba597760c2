// Package hashes holds the password hashes that the gateway stores: what they
// look like, what one costs, and how a password is compared with it. Nothing
// else in the tree parses a hash.
//
// There is one scheme, argon2id (RFC 9106) in the PHC string format. A hash of
// any other scheme, or one dearer than the limits here, is refused when it is
// parsed: nothing is guessed and nothing is computed before its price is known.
package hashes

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The price of a new hash: the OWASP minimum for argon2id, about 50 ms.
const (
	newMemoryKiB = 19456
	newPasses    = 2
	newLanes     = 1
	newSaltBytes = 16
	newSumBytes  = 32
)

// The limits of a hash that is accepted. Work, memory times passes, is what the
// time depends on: maxWork is about thirteen times that of a new hash.
const (
	maxMemoryKiB = 128 << 10
	maxPasses    = 64
	maxLanes     = 8
	maxWork      = 512 << 10 // KiB times passes
	minSaltBytes = 8
	maxSaltBytes = 64
	minSumBytes  = 16
	maxSumBytes  = 64
	// maxTextBytes bounds the text before it is looked at.
	maxTextBytes = 512
)

const (
	scheme  = "argon2id"
	version = "v=19"
)

var (
	// ErrScheme is a hash of a scheme that is not known.
	ErrScheme = errors.New("unknown password hash scheme")
	// ErrMalformed is a hash that does not have the form of its scheme.
	ErrMalformed = errors.New("malformed password hash")
	// ErrCost is a hash that would cost too much to verify.
	ErrCost = errors.New("password hash is too costly")
)

// Hash is a password hash whose price is known and within the limits. Make one
// with Parse, New or Dummy; the zero Hash matches nothing.
type Hash struct {
	memoryKiB, passes uint32
	lanes             uint8
	salt, sum         []byte
}

// New hashes password at the present price. It takes about 50 ms and MemoryKiB
// of memory.
func New(password string) Hash {
	h := blank()
	_, _ = rand.Read(h.salt) // never fails (crypto/rand)
	h.sum = h.compute(password, newSumBytes)
	return h
}

// Dummy returns a hash that no password matches and that costs what a new one
// does, to be compared with where there is none.
func Dummy() Hash {
	h := blank()
	_, _ = rand.Read(h.salt)
	h.sum = make([]byte, newSumBytes)
	_, _ = rand.Read(h.sum)
	return h
}

func blank() Hash {
	return Hash{memoryKiB: newMemoryKiB, passes: newPasses, lanes: newLanes, salt: make([]byte, newSaltBytes)}
}

// Parse reads the form that Encode writes,
// "$argon2id$v=19$m=19456,t=2,p=1$SALT$SUM", and nothing else: no other order,
// no sign, no leading zero, no padding. The error is ErrScheme, ErrMalformed or
// ErrCost and does not quote the hash.
func Parse(text string) (Hash, error) {
	if len(text) > maxTextBytes {
		return Hash{}, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxTextBytes)
	}
	part := strings.Split(text, "$")
	if len(part) < 2 || part[0] != "" {
		return Hash{}, ErrScheme
	}
	if part[1] != scheme {
		return Hash{}, ErrScheme
	}
	if len(part) != 6 {
		return Hash{}, fmt.Errorf("%w: %d parts, want 5", ErrMalformed, len(part)-1)
	}
	if part[2] != version {
		return Hash{}, fmt.Errorf("%w: version is not 19", ErrMalformed)
	}
	h, err := parsePrice(part[3])
	if err != nil {
		return Hash{}, err
	}
	if h.salt, err = parseBytes("salt", part[4], minSaltBytes, maxSaltBytes); err != nil {
		return Hash{}, err
	}
	if h.sum, err = parseBytes("sum", part[5], minSumBytes, maxSumBytes); err != nil {
		return Hash{}, err
	}
	return h, nil
}

// parsePrice reads "m=19456,t=2,p=1".
func parsePrice(text string) (Hash, error) {
	param := strings.Split(text, ",")
	if len(param) != 3 {
		return Hash{}, fmt.Errorf("%w: want m, t and p", ErrMalformed)
	}
	m, err := parseParam("m", param[0], maxMemoryKiB)
	if err != nil {
		return Hash{}, err
	}
	t, err := parseParam("t", param[1], maxPasses)
	if err != nil {
		return Hash{}, err
	}
	p, err := parseParam("p", param[2], maxLanes)
	if err != nil {
		return Hash{}, err
	}
	if m < 8*p {
		return Hash{}, fmt.Errorf("%w: m is below 8 times p (RFC 9106, section 3.1)", ErrMalformed)
	}
	if m*t > maxWork {
		return Hash{}, fmt.Errorf("%w: m times t is over %d", ErrCost, maxWork)
	}
	return Hash{memoryKiB: uint32(m), passes: uint32(t), lanes: uint8(p)}, nil
}

func parseParam(name, text string, limit uint64) (uint64, error) {
	digits, ok := strings.CutPrefix(text, name+"=")
	if !ok || digits == "" || digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return 0, fmt.Errorf("%w: want %s=NUMBER", ErrMalformed, name)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > limit { // an error here is a number out of range
		return 0, fmt.Errorf("%w: %s is over %d", ErrCost, name, limit)
	}
	return n, nil
}

func parseBytes(name, text string, least, most int) ([]byte, error) {
	// Decoding skips CR and LF, which a hash must not hold.
	if strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("%w: line break in %s", ErrMalformed, name)
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s is not base64", ErrMalformed, name)
	}
	if len(b) < least || len(b) > most {
		return nil, fmt.Errorf("%w: %s has %d bytes, want %d to %d", ErrMalformed, name, len(b), least, most)
	}
	return b, nil
}

// MemoryKiB is the memory that Matches needs.
func (h Hash) MemoryKiB() int { return int(h.memoryKiB) }

// Matches reports whether h was made from password. It takes the time and the
// memory of the hash, and the comparison takes the same time for every result.
func (h Hash) Matches(password string) bool {
	if len(h.sum) == 0 {
		return false
	}
	sum := h.compute(password, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

func (h Hash) compute(password string, n uint32) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memoryKiB, h.lanes, n)
}

// Encode returns the text to store, which Parse reads. It is not called String,
// so that no hash is printed by accident.
func (h Hash) Encode() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$%s$%s$m=%d,t=%d,p=%d$%s$%s", scheme, version, h.memoryKiB, h.passes, h.lanes,
		b64.EncodeToString(h.salt), b64.EncodeToString(h.sum))
}

// Format keeps a hash out of whatever is printed: it is for the store alone.
func (h Hash) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[hash]") }
