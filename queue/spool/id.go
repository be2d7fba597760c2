package spool

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"time"
)

// idLetters are the digits of Crockford's base 32, in the order of their codes,
// so that ids sort by time as text.
const idLetters = "0123456789abcdefghjkmnpqrstvwxyz"

const (
	idBytes      = 10
	idLength     = 16 // letters
	idRandomBits = 30 // against two in the same millisecond; the rest is the time
)

// ID names a message: 16 letters and digits as text, safe in a URL, a file name and
// a mail header, and sorted by time.
type ID [idBytes]byte

// NewID returns an ID of the time given.
func NewID(now time.Time) ID {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	low := uint64(binary.BigEndian.Uint32(random[:])) & (1<<idRandomBits - 1)
	ms := uint64(now.UnixMilli())
	var id ID
	binary.BigEndian.PutUint16(id[:], uint16(ms>>(64-idRandomBits)))
	binary.BigEndian.PutUint64(id[2:], ms<<idRandomBits|low)
	return id
}

// ParseID reads the text of an ID.
func ParseID(s string) (id ID, ok bool) {
	if len(s) != idLength {
		return id, false
	}
	n, err := idEncoding().Decode(id[:], []byte(s))
	return id, err == nil && n == idBytes
}

func (id ID) String() string { return idEncoding().EncodeToString(id[:]) }

func (id ID) compare(other ID) int { return bytes.Compare(id[:], other[:]) }

func idEncoding() *base32.Encoding {
	return base32.NewEncoding(idLetters).WithPadding(base32.NoPadding)
}
