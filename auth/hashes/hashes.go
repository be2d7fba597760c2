package hashes

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxTextBytes bounds a text before it is looked at.
const maxTextBytes = 2048

var (
	// ErrScheme is a hash of a scheme that is not known or not verified here.
	ErrScheme = errors.New("password hash scheme is not usable")
	// ErrMalformed is a hash that does not have the form of its scheme.
	ErrMalformed = errors.New("malformed password hash")
	// ErrCost is a hash that would cost too much to verify.
	ErrCost = errors.New("password hash is too costly")
)

// Hash is a password hash whose price is known and within the limits. Make one
// with Parse, Foreign, New or Dummy; the zero Hash matches nothing.
type Hash struct {
	recipe
	output string // what recipe makes of the password, unless it is wrapped
	// outer, if it is there, is what output is replaced by: argon2id over it.
	outer *argon
	// first is how many bytes count of a password whose scheme cut it off; 0 is all.
	first int
}

// recipe makes the output of a hash from a password: a scheme with its parameters
// and salt, read and priced.
type recipe struct {
	scheme  string
	setting string // the canonical text up to the output
	price   Price
	size    int // characters of the output
	// weak says that a computer that has the hash can try very many passwords.
	weak bool
	// truncates is how many bytes of a password the scheme looks at; 0 is all.
	truncates int
	// text says that the scheme takes the password for a string that ends at NUL.
	text   bool
	derive func(password string) string
}

// Parse reads what Encode writes, and nothing else: there is one text for a hash.
// The error is ErrScheme, ErrMalformed or ErrCost and does not quote the hash.
func Parse(text string) (Hash, error) {
	if len(text) > maxTextBytes {
		return Hash{}, malformed("longer than %d bytes", maxTextBytes)
	}
	if rest, ok := strings.CutPrefix(text, wrappedPrefix); ok {
		return parseWrapped(rest)
	}
	first := 0
	if inner, digits, ok := cutLast(text, firstMark); ok && strings.HasPrefix(text, argonPrefix) {
		n, err := parseNumber("first", digits, 1, maxFirst)
		if err != nil {
			return Hash{}, err
		}
		text, first = inner, int(n)
	}
	h, err := parseBare(text)
	h.first = first
	return h, err
}

// parseBare reads a hash that is not wrapped.
func parseBare(text string) (Hash, error) {
	s, err := schemeOf(text)
	if err != nil {
		return Hash{}, err
	}
	cut := len(text) - s.tail
	if s.tail == 0 {
		cut = strings.LastIndexByte(text, '$') + 1
	}
	if cut < len(s.prefix) {
		return Hash{}, malformed("%s: too short", s.name)
	}
	setting, output := text[:cut], text[cut:]
	if err := s.checkOutput(output); err != nil {
		return Hash{}, err
	}
	r, err := s.recipe(setting, len(output))
	if err != nil {
		return Hash{}, err
	}
	return Hash{recipe: r, output: output}, nil
}

// Encode returns the text to store, which Parse reads. It is not called String,
// so that no hash is printed by accident. The zero Hash has none.
func (h Hash) Encode() string {
	switch {
	case h.outer != nil:
		return h.encodeWrapped()
	case h.first > 0:
		return h.setting + h.output + firstMark + strconv.Itoa(h.first)
	default:
		return h.setting + h.output
	}
}

// Matches reports whether h was made from password. It takes the time and the
// memory of the hash, and the comparison takes the same time for every result.
func (h Hash) Matches(password string) bool {
	if h.derive == nil {
		return false
	}
	if h.first > 0 && len(password) > h.first {
		password = password[:h.first]
	}
	// What the scheme cannot have hashed takes the same time, or it would tell the scheme.
	possible := !h.text || strings.IndexByte(password, 0) < 0 && len(password) <= maxTextPassword
	if !possible {
		password = ""
	}
	got, want := h.derive(password), h.output
	if h.outer != nil {
		got, want = h.outer.derive(got), h.outer.sum
	}
	return subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1 && possible
}

// Scheme names the scheme as docs/hashes.md does: "argon2id", "sha512-crypt"; of a
// wrapped hash "argon2id(md5-crypt)".
func (h Hash) Scheme() string {
	if h.outer != nil {
		return argonID + "(" + h.scheme + ")"
	}
	return h.scheme
}

// Original is Scheme without what it was wrapped in.
func (h Hash) Original() string { return h.scheme }

// Price is what Matches takes.
func (h Hash) Price() Price {
	p := h.price
	if h.outer != nil {
		p = p.And(h.outer.price())
	}
	return p
}

// Weak reports whether whoever has the hash can try very many passwords, so that it
// is to be wrapped: every scheme that needs no memory, bcrypt below cost 10, and
// others with parameters far below those of a new hash.
func (h Hash) Weak() bool { return h.derive != nil && h.weak && h.outer == nil }

// Current reports whether h is what New would make. Any other is to be replaced by
// Renew when the password is known.
func (h Hash) Current() bool {
	return h.outer == nil && strings.HasPrefix(h.setting, newPrice) && len(h.setting) >= len(newPrice)+newSaltChars
}

// Truncates is how many bytes of a password count; 0 is all of them.
func (h Hash) Truncates() int {
	if h.first > 0 {
		return h.first
	}
	return h.truncates
}

// Renew hashes password, which h matches, at the present price. What h did not look at
// of the password the new hash does not look at either: another client of the same
// user may have stored another end of it.
func (h Hash) Renew(password string) Hash {
	n := h.Truncates()
	if n == 0 || len(password) < n {
		return New(password)
	}
	renewed := New(password[:n])
	renewed.first = n
	return renewed
}

// Format keeps a hash out of whatever is printed: it is for the store alone.
func (h Hash) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[hash]") }

const (
	// firstMark is followed by how many bytes of the password count.
	firstMark = "$first="
	maxFirst  = 1024
	// maxTextPassword is for schemes whose price grows with the password.
	maxTextPassword = 256
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
}

// parseNumber reads a number without sign or leading zero. One that is too large
// costs too much.
func parseNumber(name, digits string, least, most uint64) (uint64, error) {
	if digits == "" || digits[0] == '0' && digits != "0" || strings.Trim(digits, "0123456789") != "" {
		return 0, malformed("%s is not a number", name)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > most { // an error here is a number out of range
		return 0, fmt.Errorf("%w: %s is over %d", ErrCost, name, most)
	}
	if n < least {
		return 0, malformed("%s is below %d", name, least)
	}
	return n, nil
}

// cutLast is strings.Cut at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
