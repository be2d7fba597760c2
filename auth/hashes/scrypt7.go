package hashes

import (
	"math"
	"strings"

	"github.com/go-crypt/x/yescrypt"
	"golang.org/x/crypto/scrypt"
)

// scryptNs is what a block of 128 bytes takes.
const scryptNs = 330

// readScrypt7 reads "$7$NRRRRRPPPPPSALT$" (Colin Percival, RFC 7914, in the text of
// crypt(3) and libsodium): the logarithm of N in one digit, r and p in five each.
func readScrypt7(s *scheme, setting string, _ int) (recipe, error) {
	rest, ok := strings.CutSuffix(setting[len(s.prefix):], "$")
	if !ok || len(rest) < 11 || !isCrypt64(rest[:11]) {
		return recipe{}, malformed("scrypt7: want N, r and p of 1, 5 and 5 digits, and SALT$HASH")
	}
	ln, r, p, salt := parseCrypt64(rest[:1]), parseCrypt64(rest[1:6]), parseCrypt64(rest[6:11]), rest[11:]
	if ln < 1 || r < 1 || p < 1 {
		return recipe{}, malformed("scrypt7: N, r or p is none")
	}
	if err := checkSalt(s, salt, 2*maxSaltBytes); err != nil {
		return recipe{}, err
	}
	price, err := scryptPrice(float64(ln), float64(r), float64(p), scryptNs)
	return recipe{price: price, text: true, derive: func(password string) string {
		key, err := scrypt.Key([]byte(password), []byte(salt), 1<<ln, int(r), int(p), 32)
		if err != nil {
			return "" // parameters were looked at before
		}
		return string(yescrypt.Encode64(key))
	}}, err
}

// scryptPrice is that of N, by its logarithm, r and p, with that many nanoseconds for a
// block.
func scryptPrice(ln, r, p, ns float64) (Price, error) {
	blocks := math.Exp2(ln) * r
	return priced(blocks*p, ns, (blocks+r*p)/8)
}
