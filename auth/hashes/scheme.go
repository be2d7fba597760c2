package hashes

import (
	"fmt"
	"strings"
	"sync"
)

// A scheme is a row of the table of what is verified here: how its canonical text is
// recognised and divided, and how what is in front of the output is read.
type scheme struct {
	name string
	// prefix of the canonical text.
	prefix string
	// tail is how many characters the output has; 0 is all that follows the last "$".
	tail int
	form form
	// read reads the canonical text up to the output, of which it is given the size,
	// and prices it. It computes nothing.
	read func(s *scheme, setting string, size int) (recipe, error)
	// crypt says that the canonical text is that of crypt(3) or another program.
	crypt bool
}

// form is how an output is written.
type form int

const (
	crypt64 form = iota // "./0-9A-Za-z"
	hexLow
	base64Raw
)

// table is made once: it does not change.
var table = sync.OnceValue(makeTable)

// makeTable lists the schemes in the order in which prefixes are looked for. DES, which
// has none, is not among them.
func makeTable() []scheme {
	rows := []scheme{
		{name: argonID, prefix: argonPrefix, form: base64Raw, read: readArgon, crypt: true},
		{name: "argon2i", prefix: "$argon2i$", form: base64Raw, read: readArgon, crypt: true},
		{name: "argon2d", prefix: "$argon2d$", form: base64Raw, read: readArgon, crypt: true},
		{name: "yescrypt", prefix: "$y$", tail: 43, read: readYescrypt, crypt: true},
		{name: "scrypt7", prefix: "$7$", tail: 43, read: readScrypt7, crypt: true},
		{name: "bcrypt", prefix: "$2a$", tail: 31, read: readBcrypt, crypt: true},
		{name: "bcrypt", prefix: "$2b$", tail: 31, read: readBcrypt, crypt: true},
		{name: "bcrypt", prefix: "$2y$", tail: 31, read: readBcrypt, crypt: true},
		{name: "sha512-crypt", prefix: "$6$", tail: 86, read: readSHACrypt, crypt: true},
		{name: "sha256-crypt", prefix: "$5$", tail: 43, read: readSHACrypt, crypt: true},
		{name: "md5-crypt", prefix: "$1$", tail: 22, read: readMD5Crypt, crypt: true},
		{name: "apr1", prefix: "$apr1$", tail: 22, read: readMD5Crypt, crypt: true},
		{name: "nt", prefix: "$3$$", tail: 32, form: hexLow, read: readNT, crypt: true},
		{name: "bsdi-crypt", prefix: "_", tail: 11, read: readBSDi, crypt: true},
	}
	for _, d := range digests() {
		rows = append(rows, scheme{name: d.name, prefix: ownPrefix + d.name + "$", tail: 2 * d.size, form: hexLow, read: d.read})
	}
	for _, k := range pbkdf2Kinds() {
		rows = append(rows, scheme{name: k.name, prefix: ownPrefix + k.name + "$", form: base64Raw, read: k.read})
	}
	for _, k := range scramKinds() {
		rows = append(rows, scheme{name: k.name, prefix: ownPrefix + k.name + "$", form: base64Raw, read: k.read})
	}
	return rows
}

// ownPrefix begins the canonical text of a scheme that has none of its own.
const ownPrefix = "$x-"

// schemeOf finds the scheme of a canonical text or its setting. A text without any
// prefix can only be one of DES; whoever reads it finds out.
func schemeOf(text string) (*scheme, error) {
	for _, s := range table() {
		if strings.HasPrefix(text, s.prefix) {
			return &s, nil
		}
	}
	if why := refusedPrefix(text); why != "" {
		return nil, fmt.Errorf("%w: %s", ErrScheme, why)
	}
	if len(text) == desSettingChars || len(text) == desSettingChars+desOutputChars {
		if isCrypt64(text) {
			return &scheme{name: desName, tail: desOutputChars, read: readDES, crypt: true}, nil
		}
	}
	return nil, fmt.Errorf("%w: it begins like none that is known", ErrScheme)
}

// refusedPrefix says why a hash cannot be verified, of the kinds that are known; empty
// of others.
func refusedPrefix(text string) string {
	for _, refused := range [...]struct{ prefix, why string }{
		{"!", "the password is locked"},
		{"*", "the password is locked"},
		{"$gy$", "gost-yescrypt ($gy$) needs the hash Streebog, which is not here; set another password"},
		{"$2x$", "bcrypt $2x$ was made by a faulty program; set another password"},
		{"$2$", "bcrypt $2$ is older than any program that is still in use; set another password"},
		{"$md5", "SunMD5 ($md5$) is not verified here; set another password"},
		{"$sha1$", "sha1-crypt of NetBSD ($sha1$) is not verified here; set another password"},
		{"$scrypt$", "scrypt in the PHC form is not verified here; set another password"},
	} {
		if strings.HasPrefix(text, refused.prefix) {
			return refused.why
		}
	}
	if text == "" {
		return "there is no password"
	}
	return ""
}

// recipe reads a setting.
func (s *scheme) recipe(setting string, size int) (recipe, error) {
	if s.tail != 0 && size != s.tail {
		return recipe{}, malformed("%s: the hash has %d characters, want %d", s.name, size, s.tail)
	}
	r, err := s.read(s, setting, size)
	if err != nil {
		return recipe{}, err
	}
	r.scheme, r.setting, r.size = s.name, setting, size
	return r, nil
}

func (s *scheme) checkOutput(output string) error {
	switch s.form {
	case hexLow:
		if strings.Trim(output, "0123456789abcdef") != "" {
			return malformed("%s: the hash is not hexadecimal", s.name)
		}
	case base64Raw:
		if _, err := parseBase64("hash", output, 1, maxTextBytes); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	default:
		if !isCrypt64(output) {
			return malformed("%s: the hash has characters that none has", s.name)
		}
	}
	return nil
}

// crypt64Digits are those of crypt(3), in the order of what they are worth.
const crypt64Digits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func isCrypt64(text string) bool { return strings.Trim(text, crypt64Digits) == "" }

// appendCrypt64 appends n digits of v, the least first.
func appendCrypt64(to []byte, v uint32, n int) []byte {
	for range n {
		to = append(to, crypt64Digits[v&63])
		v >>= 6
	}
	return to
}

// parseCrypt64 reads digits, the least first.
func parseCrypt64(text string) (v uint32) {
	for i := len(text) - 1; i >= 0; i-- {
		v = v<<6 | uint32(strings.IndexByte(crypt64Digits, text[i]))
	}
	return v
}

// checkSalt is for salts that are used as the text that they are.
func checkSalt(s *scheme, salt string, most int) error {
	if len(salt) > most {
		return malformed("%s: salt of %d characters, want at most %d", s.name, len(salt), most)
	}
	for i := range len(salt) {
		if c := salt[i]; c <= ' ' || c > '~' || c == '$' || c == ':' {
			return malformed("%s: salt with a character that none has", s.name)
		}
	}
	return nil
}
