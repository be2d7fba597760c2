package hashes

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"sync"
)

// crypt(3) with DES changes the cipher by its salt, so that crypto/des is of no use.
// Bits are counted from the highest, as in FIPS 46-3, whose tables these are.

const (
	desName         = "des-crypt"
	desSettingChars = 2
	desOutputChars  = 11
	desBytes        = 8 // of a password count
	desPasses       = 25
	desPassNs       = 180
)

// readDES reads the two characters of the salt.
func readDES(s *scheme, setting string, _ int) (recipe, error) {
	if len(setting) != desSettingChars || !isCrypt64(setting) {
		return recipe{}, malformed("%s: want a salt of two characters", s.name)
	}
	price, err := priced(desPasses, desPassNs, 0)
	return recipe{price: price, weak: true, truncates: desBytes, text: true, derive: func(password string) string {
		keys := desKeys(desKey(password))
		return desText(keys.encrypt(0, parseCrypt64(setting), desPasses))
	}}, err
}

// readBSDi reads "_PASSSALT", of BSDi: four digits of how many passes, and four of the
// salt. All of the password counts.
func readBSDi(s *scheme, setting string, _ int) (recipe, error) {
	rest := setting[len(s.prefix):]
	if len(rest) != 8 || !isCrypt64(rest) {
		return recipe{}, malformed("%s: want 4 digits for passes and 4 for the salt", s.name)
	}
	passes, salt := parseCrypt64(rest[:4]), parseCrypt64(rest[4:])
	if passes == 0 {
		return recipe{}, malformed("%s: no passes", s.name)
	}
	price, err := priced(float64(passes), desPassNs, 0)
	return recipe{price: price, weak: true, text: true, derive: func(password string) string {
		key := desKey(password)
		for len(password) > desBytes {
			password = password[desBytes:]
			key = desKeys(key).cipher(key) ^ desKey(password)
		}
		return desText(desKeys(key).encrypt(0, salt, int(passes)))
	}}, err
}

// desKey is made of the lower seven bits of the first eight bytes.
func desKey(password string) uint64 {
	var key [desBytes]byte
	for i := range min(len(password), desBytes) {
		key[i] = password[i] << 1
	}
	return binary.BigEndian.Uint64(key[:])
}

// desText writes a block in digits, the highest bits first.
func desText(block uint64) string {
	var text strings.Builder
	for i := range desOutputChars {
		shift := 64 - 6*(i+1)
		if digit := block; shift >= 0 {
			text.WriteByte(crypt64Digits[digit>>shift&63])
		} else {
			text.WriteByte(crypt64Digits[digit<<-shift&63])
		}
	}
	return text.String()
}

// desSchedule is the keys of the rounds, as two halves of 24 bits.
type desSchedule [16][2]uint32

func desKeys(key uint64) desSchedule {
	var schedule desSchedule
	chosen := permute(key, 64, permutedChoice1())
	c, d := uint32(chosen>>28), uint32(chosen&(1<<28-1))
	for i, shift := range [16]int{1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1} {
		c, d = rotate28(c, shift), rotate28(d, shift)
		k := permute(uint64(c)<<28|uint64(d), 56, permutedChoice2())
		schedule[i] = [2]uint32{uint32(k >> 24), uint32(k & (1<<24 - 1))}
	}
	return schedule
}

func rotate28(v uint32, n int) uint32 { return (v<<n | v>>(28-n)) & (1<<28 - 1) }

// cipher is plain DES.
func (k desSchedule) cipher(block uint64) uint64 { return k.encrypt(block, 0, 1) }

// encrypt runs a block through the cipher so many times. Where a bit of salt is set,
// the two halves of the expanded block change places; its lowest bit is for the
// highest bits of the halves.
func (k desSchedule) encrypt(block uint64, salt uint32, passes int) uint64 {
	swap := bits.Reverse32(salt) >> 8
	boxes := desBoxes()
	block = permute(block, 64, initialPermutation())
	left, right := uint32(block>>32), uint32(block)
	for range passes {
		for _, key := range k {
			high, low := expand(right)
			mixed := (high ^ low) & swap
			left, right = right, left^boxes.substitute(high^mixed^key[0], low^mixed^key[1])
		}
		left, right = right, left
	}
	return permute(uint64(left)<<32|uint64(right), 64, finalPermutation())
}

// expand makes 32 bits eight groups of six, each of which begins with the last bit of
// the group of four before and ends with the first of the one after.
func expand(v uint32) (high, low uint32) {
	for i := range 4 {
		high = high<<6 | bits.RotateLeft32(v, 4*i+5)&63
		low = low<<6 | bits.RotateLeft32(v, 4*i+21)&63
	}
	return high, low
}

// boxes are the substitutions, with the permutation that follows them already made.
type boxes [8][64]uint32

func (b *boxes) substitute(high, low uint32) uint32 {
	return b[0][high>>18] | b[1][high>>12&63] | b[2][high>>6&63] | b[3][high&63] |
		b[4][low>>18] | b[5][low>>12&63] | b[6][low>>6&63] | b[7][low&63]
}

// desBoxes are made once: they do not change.
var desBoxes = sync.OnceValue(func() *boxes {
	var b boxes
	for i, box := range substitutions() {
		for v := range 64 {
			row, column := v>>4&2|v&1, v>>1&15
			out := uint64(box[16*row+column]) << (4 * (7 - i))
			b[i][v] = uint32(permute(out, 32, roundPermutation()))
		}
	}
	return &b
})

// permute takes bits of v, which has so many, in the order of their numbers.
func permute(v uint64, width int, order []byte) uint64 {
	var out uint64
	for _, n := range order {
		out = out<<1 | v>>(width-int(n))&1
	}
	return out
}

func initialPermutation() []byte {
	var order []byte
	for _, first := range [8]byte{58, 60, 62, 64, 57, 59, 61, 63} {
		for i := range byte(8) {
			order = append(order, first-8*i)
		}
	}
	return order
}

func finalPermutation() []byte {
	order := make([]byte, 64)
	for i, n := range initialPermutation() {
		order[n-1] = byte(i + 1)
	}
	return order
}

func permutedChoice1() []byte {
	return []byte{
		57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
		63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
	}
}

func permutedChoice2() []byte {
	return []byte{
		14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2,
		41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
	}
}

func roundPermutation() []byte {
	return []byte{
		16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10,
		2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25,
	}
}

func substitutions() [8][64]byte {
	return [8][64]byte{
		{
			14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7, 0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12, 11, 9, 5, 3, 8,
			4, 1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0, 15, 12, 8, 2, 4, 9, 1, 7, 5, 11, 3, 14, 10, 0, 6, 13,
		}, {
			15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10, 3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1, 10, 6, 9, 11, 5,
			0, 14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15, 13, 8, 10, 1, 3, 15, 4, 2, 11, 6, 7, 12, 0, 5, 14, 9,
		}, {
			10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8, 13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5, 14, 12, 11, 15, 1,
			13, 6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7, 1, 10, 13, 0, 6, 9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12,
		}, {
			7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15, 13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2, 12, 1, 10, 14, 9,
			10, 6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4, 3, 15, 0, 6, 10, 1, 13, 8, 9, 4, 5, 11, 12, 7, 2, 14,
		}, {
			2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9, 14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15, 10, 3, 9, 8, 6,
			4, 2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14, 11, 8, 12, 7, 1, 14, 2, 13, 6, 15, 0, 9, 10, 4, 5, 3,
		}, {
			12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11, 10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13, 14, 0, 11, 3, 8,
			9, 14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6, 4, 3, 2, 12, 9, 5, 15, 10, 11, 14, 1, 7, 6, 0, 8, 13,
		}, {
			4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1, 13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5, 12, 2, 15, 8, 6,
			1, 4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2, 6, 11, 13, 8, 1, 4, 10, 7, 9, 5, 0, 15, 14, 2, 3, 12,
		}, {
			13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7, 1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6, 11, 0, 14, 9, 2,
			7, 11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8, 2, 1, 14, 7, 4, 10, 8, 13, 15, 12, 9, 0, 3, 5, 6, 11,
		},
	}
}
