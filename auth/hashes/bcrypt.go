package hashes

import (
	"encoding/base64"
	"math"

	//lint:ignore SA1019 bcrypt is made of it
	"golang.org/x/crypto/blowfish"
)

const (
	bcryptDigits = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	// bcryptSaltChars are 16 bytes.
	bcryptSaltChars = 22
	// bcryptBytes of a password count.
	bcryptBytes = 72
	// bcryptNs is what twice two key expansions take.
	bcryptNs       = 58_600
	bcryptWeakCost = 10
)

// readBcrypt reads "$2b$10$SALT" (Niels Provos and David Mazières). $2a$ and $2y$ are
// the same but for faults of some programs with passwords that nobody has.
//
// golang.org/x/crypto/bcrypt compares, but does not give out the hash of a given salt,
// which a wrapped one needs.
func readBcrypt(s *scheme, setting string, _ int) (recipe, error) {
	rest := setting[len(s.prefix):]
	if len(rest) != 3+bcryptSaltChars || rest[2] != '$' {
		return recipe{}, malformed("bcrypt: want COST, two digits, and a salt of %d characters", bcryptSaltChars)
	}
	if !isDigit(rest[0]) || !isDigit(rest[1]) {
		return recipe{}, malformed("bcrypt: cost is not a number of two digits")
	}
	cost := 10*int(rest[0]-'0') + int(rest[1]-'0')
	if cost < 4 {
		return recipe{}, malformed("bcrypt: cost is below 4")
	}
	salt, err := base64.NewEncoding(bcryptDigits).WithPadding(base64.NoPadding).DecodeString(rest[3:])
	if err != nil || len(salt) != 16 {
		return recipe{}, malformed("bcrypt: salt with a character that none has")
	}
	price, err := priced(math.Exp2(float64(cost)), bcryptNs, 0)
	return recipe{price: price, weak: cost < bcryptWeakCost, truncates: bcryptBytes, text: true, derive: func(password string) string {
		return bcryptHash(password, salt, cost)
	}}, err
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func bcryptHash(password string, salt []byte, cost int) string {
	// The NUL at the end of a string in C is part of the key.
	key := append([]byte(password), 0)
	key = key[:min(len(key), bcryptBytes)]
	c, err := blowfish.NewSaltedCipher(key, salt)
	if err != nil {
		return "" // of a key of no bytes or a salt of none, which there is not
	}
	for range uint64(1) << cost {
		blowfish.ExpandKey(key, c)
		blowfish.ExpandKey(salt, c)
	}
	sum := []byte("OrpheanBeholderScryDoubt")
	for i := 0; i < len(sum); i += blowfish.BlockSize {
		for range 64 {
			c.Encrypt(sum[i:i+blowfish.BlockSize], sum[i:i+blowfish.BlockSize])
		}
	}
	return base64.NewEncoding(bcryptDigits).WithPadding(base64.NoPadding).EncodeToString(sum[:23])
}
