package hashes

import (
	"encoding/binary"
	"encoding/hex"
	"unicode/utf16"

	//lint:ignore SA1019 what is imported is made of it
	"golang.org/x/crypto/md4"
)

// digestNs is what one digest takes, of any kind.
const digestNs = 2000

// readNT reads "$3$$", the hash of Windows NT and Samba.
func readNT(s *scheme, setting string, _ int) (recipe, error) {
	if setting != s.prefix {
		return recipe{}, malformed("nt: it has a salt, which none has")
	}
	price, err := priced(1, digestNs, 0)
	return recipe{price: price, weak: true, text: true, derive: func(password string) string {
		return hex.EncodeToString(ntSum(password))
	}}, err
}

func ntSum(password string) []byte {
	h := md4.New()
	for _, unit := range utf16.Encode([]rune(password)) {
		h.Write(binary.LittleEndian.AppendUint16(nil, unit))
	}
	return h.Sum(nil)
}
