package queue

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"
)

// idLetters are the digits of Crockford's base 32, in the order of their codes,
// so that ids sort by time as text.
const idLetters = "0123456789abcdefghjkmnpqrstvwxyz"

const (
	idTimeLetters   = 10 // milliseconds since 1970, 50 bits
	idRandomLetters = 6  // 30 bits against two in the same millisecond
	idLength        = idTimeLetters + idRandomLetters
)

// newID returns a queue id: 16 letters and digits, safe in a URL, a file name
// and a mail header, and sorted by the time given.
func newID(now time.Time) string {
	var id [idLength]byte
	v := uint64(now.UnixMilli())
	for i := idTimeLetters - 1; i >= 0; i-- {
		id[i] = idLetters[v&31]
		v >>= 5
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	v = binary.LittleEndian.Uint64(random[:])
	for i := idTimeLetters; i < idLength; i++ {
		id[i] = idLetters[v&31]
		v >>= 5
	}
	return string(id[:])
}

// validID reports whether s may be the name of a content file.
func validID(s string) bool {
	return len(s) == idLength && strings.Trim(s, idLetters) == ""
}
