package spool

import (
	"encoding/binary"
	"hash/crc32"
)

// A kind of record.
type kind uint8

const (
	kindMessage kind = 1 + iota // envelope and content
	kindState                   // the state that holds from now on
	kindRemoved                 // the message is no more; the envelope part is the number of its segment
)

// Flags of a record.
const (
	// flagMore says that the next record belongs to the same change: both hold, or
	// neither.
	flagMore = 1 << iota
	// flagFile says that the content goes on in a file of its own.
	flagFile
)

const (
	recordMagic = 0x31435352
	headSize    = 40
	// maxPart bounds each part of a record; lengths beyond it are no record.
	maxPart = 64 << 20
)

// head is the fixed beginning of a record. Its envelope part and its content
// follow.
type head struct {
	kind     kind
	flags    uint8
	id       ID
	group    uint32 // offset in the segment at which the write began that it was part of
	envelope uint32 // lengths
	content  uint32
	sums     [2]uint32 // of envelope and content
}

// size is the length of the whole record.
func (h head) size() int64 { return headSize + int64(h.envelope) + int64(h.content) }

// castagnoli makes the table of CRC-32C, which the processor computes.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func sum(parts ...[]byte) uint32 {
	var s uint32
	for _, p := range parts {
		s = crc32.Update(s, castagnoli(), p)
	}
	return s
}

// append adds the head as it stands in a segment of that salt.
func (h head) append(b []byte, salt uint32) []byte {
	mark := len(b)
	b = binary.LittleEndian.AppendUint32(b, recordMagic)
	b = append(b, byte(h.kind), h.flags)
	b = append(b, h.id[:]...)
	for _, v := range []uint32{h.group, h.envelope, h.content, h.sums[0], h.sums[1]} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Update(salt, castagnoli(), b[mark:]))
}

// parseHead reads a head; ok is false if b does not begin with one of a segment of
// that salt.
func parseHead(b []byte, salt uint32) (h head, ok bool) {
	if len(b) < headSize || binary.LittleEndian.Uint32(b) != recordMagic ||
		binary.LittleEndian.Uint32(b[headSize-4:]) != crc32.Update(salt, castagnoli(), b[:headSize-4]) {
		return h, false
	}
	h.kind, h.flags = kind(b[4]), b[5]
	copy(h.id[:], b[6:])
	for i, v := range []*uint32{&h.group, &h.envelope, &h.content, &h.sums[0], &h.sums[1]} {
		*v = binary.LittleEndian.Uint32(b[6+idBytes+4*i:])
	}
	return h, h.kind >= kindMessage && h.kind <= kindRemoved && h.envelope <= maxPart && h.content <= maxPart
}
