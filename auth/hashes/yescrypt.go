package hashes

import (
	"strings"

	"github.com/go-crypt/x/yescrypt"
)

// yescryptNs is what a block of 128 bytes takes.
const yescryptNs = 300

// readYescrypt reads "$y$j9T$SALT$" (Alexander Peslyak, yescrypt), of the flavour that
// libxcrypt makes: j, then the logarithm of N and r, a digit each.
func readYescrypt(s *scheme, setting string, _ int) (recipe, error) {
	rest, ok := strings.CutSuffix(setting[len(s.prefix):], "$")
	params, salt, found := strings.Cut(rest, "$")
	if !ok || !found || len(params) != 3 || params[0] != 'j' || !isCrypt64(params) {
		return recipe{}, malformed("yescrypt: want $y$jNR$SALT$HASH, which is all that libxcrypt makes")
	}
	ln, r := float64(parseCrypt64(params[1:2])+1), float64(parseCrypt64(params[2:])+1)
	price, err := scryptPrice(ln, r, 1, yescryptNs)
	if err != nil {
		return recipe{}, err
	}
	if ln < 10 || ln > 18 || r > 32 {
		return recipe{}, malformed("yescrypt: N or r that libxcrypt does not make")
	}
	if raw := yescrypt.Decode64([]byte(salt)); raw == nil || len(raw) > maxSaltBytes || string(yescrypt.Encode64(raw)) != salt {
		return recipe{}, malformed("yescrypt: salt is not in the base64 of crypt(3)")
	}
	return recipe{price: price, text: true, derive: func(password string) string {
		h, err := yescrypt.Hash([]byte(password), []byte(setting))
		if err != nil {
			return "" // parameters were looked at before
		}
		_, output, _ := cutLast(string(h), "$")
		return output
	}}, nil
}
