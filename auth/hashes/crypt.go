package hashes

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"strings"
)

// What a round takes, of a password that is not very long.
const (
	md5RoundNs    = 240
	sha256RoundNs = 260
	sha512RoundNs = 400
)

// readMD5Crypt reads "$1$SALT$" (Poul-Henning Kamp) or "$apr1$SALT$" (Apache), which
// differ in that alone.
func readMD5Crypt(s *scheme, setting string, _ int) (recipe, error) {
	salt, ok := strings.CutSuffix(setting[len(s.prefix):], "$")
	if !ok {
		return recipe{}, malformed("%s: want SALT$HASH", s.name)
	}
	if err := checkSalt(s, salt, 8); err != nil {
		return recipe{}, err
	}
	price, err := priced(1000, md5RoundNs, 0)
	return recipe{price: price, weak: true, text: true, derive: func(password string) string {
		return md5Crypt(password, s.prefix, salt)
	}}, err
}

func md5Crypt(password, magic, salt string) string {
	alternate := md5.Sum([]byte(password + salt + password))
	h := md5.New()
	write(h, password, magic, salt, repeat(alternate[:], len(password)))
	for n := len(password); n > 0; n >>= 1 {
		if n&1 != 0 {
			write(h, "\x00")
		} else {
			write(h, password[:1])
		}
	}
	sum := string(h.Sum(nil))
	for i := range 1000 {
		sum = round(h, i, sum, password, salt)
	}
	return encodeTriples(sum, [][3]int{{0, 6, 12}, {1, 7, 13}, {2, 8, 14}, {3, 9, 15}, {4, 10, 5}, {-1, -1, 11}})
}

// round is one of md5-crypt and sha-crypt, number i.
func round(h hash.Hash, i int, sum, password, salt string) string {
	h.Reset()
	if i%2 != 0 {
		write(h, password)
	} else {
		write(h, sum)
	}
	if i%3 != 0 {
		write(h, salt)
	}
	if i%7 != 0 {
		write(h, password)
	}
	if i%2 != 0 {
		write(h, sum)
	} else {
		write(h, password)
	}
	return string(h.Sum(nil))
}

const (
	roundsMark    = "rounds="
	defaultRounds = 5000
	minRounds     = 1000
	maxRounds     = 999_999_999
)

// readSHACrypt reads "$5$rounds=5000$SALT$" or "$6$..." (Ulrich Drepper, SHA-crypt);
// the rounds may be missing.
func readSHACrypt(s *scheme, setting string, _ int) (recipe, error) {
	rest, ok := strings.CutSuffix(setting[len(s.prefix):], "$")
	if !ok {
		return recipe{}, malformed("%s: want SALT$HASH", s.name)
	}
	rounds, salt := uint64(defaultRounds), rest
	if given, ok := strings.CutPrefix(rest, roundsMark); ok {
		digits, after, ok := strings.Cut(given, "$")
		if !ok {
			return recipe{}, malformed("%s: want rounds=NUMBER$SALT$HASH", s.name)
		}
		var err error
		if rounds, err = parseNumber("rounds", digits, minRounds, maxRounds); err != nil {
			return recipe{}, err
		}
		salt = after
	}
	if err := checkSalt(s, salt, 16); err != nil {
		return recipe{}, err
	}
	ns, derive := float64(sha512RoundNs), sha512Crypt
	if s.prefix == "$5$" {
		ns, derive = sha256RoundNs, sha256Crypt
	}
	price, err := priced(float64(rounds), ns, 0)
	return recipe{price: price, weak: true, text: true, derive: func(password string) string {
		return derive(password, salt, int(rounds))
	}}, err
}

func sha256Crypt(password, salt string, rounds int) string {
	order := [][3]int{{0, 10, 20}, {21, 1, 11}, {12, 22, 2}, {3, 13, 23}, {24, 4, 14}, {15, 25, 5}, {6, 16, 26},
		{27, 7, 17}, {18, 28, 8}, {9, 19, 29}, {-1, 31, 30}}
	return encodeTriples(shaCrypt(sha256.New(), password, salt, rounds), order)
}

func sha512Crypt(password, salt string, rounds int) string {
	order := make([][3]int, 0, 22)
	for i, at := 0, [3]int{0, 21, 42}; i < 21; i++ {
		order = append(order, at)
		at = [3]int{at[1] + 1, at[2] + 1, at[0] + 1}
	}
	return encodeTriples(shaCrypt(sha512.New(), password, salt, rounds), append(order, [3]int{-1, -1, 63}))
}

// shaCrypt follows the steps of the paper.
func shaCrypt(h hash.Hash, password, salt string, rounds int) string {
	write(h, password, salt, password)
	alternate := h.Sum(nil) // steps 4 to 8
	h.Reset()
	write(h, password, salt, repeat(alternate, len(password)))
	for n := len(password); n > 0; n >>= 1 {
		if n&1 != 0 {
			write(h, string(alternate))
		} else {
			write(h, password)
		}
	}
	sum := string(h.Sum(nil)) // step 12
	p := repeated(h, password, len(password), len(password))
	s := repeated(h, salt, 16+int(sum[0]), len(salt))
	for i := range rounds {
		sum = round(h, i, sum, p, s)
	}
	return sum
}

// repeated is the digest of so many times text, in a given length (steps 13 to 20).
func repeated(h hash.Hash, text string, times, length int) string {
	h.Reset()
	for range times {
		write(h, text)
	}
	return repeat(h.Sum(nil), length)
}

func write(h hash.Hash, parts ...string) {
	for _, p := range parts {
		h.Write([]byte(p))
	}
}

// repeat is sum again and again, n bytes of it.
func repeat(sum []byte, n int) string {
	return strings.Repeat(string(sum), n/len(sum)+1)[:n]
}

// encodeTriples writes the bytes of sum in threes, in a scheme's own order: the first is
// the highest, and -1 stands for none.
func encodeTriples(sum string, order [][3]int) string {
	var out []byte
	for _, at := range order {
		v, digits := uint32(0), 1
		for _, i := range at {
			if v <<= 8; i >= 0 {
				v |= uint32(sum[i])
				digits++
			}
		}
		out = appendCrypt64(out, v, digits)
	}
	return string(out)
}
