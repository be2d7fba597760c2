package sftp

import (
	"encoding/binary"
	"errors"
	"io"
)

const (
	// maxPacket is the longest packet taken, without its length; the draft's 34000
	// (section 3) is the least, 256 KiB is what OpenSSH takes.
	maxPacket = 256 << 10
	// lengthSize is that of the length before each packet.
	lengthSize = 4
	// minRead is the least room worth a read, unless a packet ends sooner.
	minRead = 128 << 10
	// pieceSize is the most data that SSH puts into one of its packets: writing whole
	// pieces leaves no short packets between long ones.
	pieceSize = 32 << 10
	// flushAt is how much is gathered before it is written while more requests wait.
	flushAt = 5 * pieceSize
	// maxWrite is the most that is written at once: the longest answer. To a peer that
	// takes packets of any size, the library sends each write as one packet, and fails
	// above 256 KiB with some ciphers.
	maxWrite = dataHeader + maxData
)

// errPacket is a packet whose length cannot be.
var errPacket = errors.New("packet length out of range")

// input cuts what comes in a channel into packets, where it lies. It reads in
// large pieces, for each read may make the library tell the peer of new room.
type input struct {
	ch    io.Reader
	pool  *buffers
	first *smallBlock // held while large is not
	large *inputBlock
	buf   []byte // one of both
	r, w  int    // buf[r:w] is not yet cut
}

// packet returns the next packet that is here, without its length; nil if there
// is none. It is valid until fill is called.
func (in *input) packet() ([]byte, error) {
	have := in.buf[in.r:in.w]
	if len(have) < lengthSize {
		return nil, nil
	}
	n := binary.BigEndian.Uint32(have)
	if n == 0 || n > maxPacket {
		return nil, errPacket
	}
	end := lengthSize + int(n)
	if len(have) < end {
		return nil, nil
	}
	in.r += end
	return have[lengthSize:end], nil
}

// fill waits for more. If busy is set, a large buffer is kept although nothing
// is in it.
func (in *input) fill(busy bool) error {
	left := in.w - in.r
	switch {
	case left == 0 && in.large != nil && !busy:
		in.release()
		fallthrough
	case in.buf == nil:
		if in.first == nil {
			in.first = in.pool.small()
		}
		in.buf = in.first[:]
	case in.large == nil && (left == len(in.buf) || left >= lengthSize && in.needs() > len(in.buf)):
		in.large = in.pool.input()
		copy(in.large[:], in.buf[in.r:in.w])
		in.pool.giveSmall(in.first)
		in.first, in.buf, in.r, in.w = nil, in.large[:], 0, left
	}
	if left == 0 {
		in.r, in.w = 0, 0
	} else if in.r > 0 && (len(in.buf)-in.w < min(minRead, len(in.buf)/2) || in.needs() > len(in.buf)-in.r) {
		copy(in.buf, in.buf[in.r:in.w])
		in.r, in.w = 0, left
	}
	n, err := in.ch.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// needs is how long the packet is that has begun, with its length.
func (in *input) needs() int {
	if in.w-in.r < lengthSize {
		return lengthSize
	}
	return lengthSize + int(binary.BigEndian.Uint32(in.buf[in.r:]))
}

// release gives the buffers back; what was not cut is lost.
func (in *input) release() {
	if in.large != nil {
		in.pool.giveInput(in.large)
	}
	if in.first != nil {
		in.pool.giveSmall(in.first)
	}
	in.large, in.first, in.buf, in.r, in.w = nil, nil, nil, 0, 0
}

// output gathers answers and writes them in large pieces.
type output struct {
	ch   io.Writer
	pool *buffers
	held *block
	n    int
	err  error // writing failed for good
}

// reserve makes room for n bytes, at most maxWrite, writing what was gathered
// if there is too much of it.
func (o *output) reserve(n int) error {
	if o.n >= flushAt || o.n+n > maxWrite {
		o.write(o.n - o.n%pieceSize)
	}
	if o.n+n > maxWrite {
		o.write(o.n)
	}
	if o.err == nil && o.held == nil {
		o.held = o.pool.block()
	}
	return o.err
}

// free is where the next answer is to be put: as long as there is room, and
// without content.
func (o *output) free() []byte { return o.held[o.n:o.n:maxWrite] }

// add makes answer, which was appended to free, part of the output.
func (o *output) add(answer []byte) {
	if &answer[0] != &o.held[o.n] {
		panic("an answer is longer than the room reserved for it")
	}
	o.n += len(answer)
}

// flush writes all and gives the buffer back.
func (o *output) flush() error {
	o.write(o.n)
	o.release()
	return o.err
}

// send writes all and keeps the buffer, in which there was room reserved.
func (o *output) send() error {
	o.write(o.n)
	return o.err
}

func (o *output) write(n int) {
	if n > 0 && o.err == nil {
		_, o.err = o.ch.Write(o.held[:n])
		o.n = copy(o.held[:], o.held[n:o.n])
	}
}

func (o *output) release() {
	if o.held != nil {
		o.pool.giveBlock(o.held)
	}
	o.held, o.n = nil, 0
}
