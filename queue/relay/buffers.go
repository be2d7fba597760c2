package relay

import (
	"bufio"
	"io"
	"sync"
)

const (
	readBuffer  = 4 << 10 // holds a line of a reply
	writeBuffer = 64 << 10
	// contentBuffer is how much content is looked at in one piece; lines that fit
	// are folded where a reader would.
	contentBuffer = 64 << 10
)

// buffers are lent to connections while they have something to say. The zero
// value is ready.
type buffers struct {
	readers, writers, contents sync.Pool
}

func (b *buffers) reader(r io.Reader) *bufio.Reader {
	if br, ok := b.readers.Get().(*bufio.Reader); ok {
		br.Reset(r)
		return br
	}
	return bufio.NewReaderSize(r, readBuffer)
}

func (b *buffers) writer(w io.Writer) *bufio.Writer {
	if bw, ok := b.writers.Get().(*bufio.Writer); ok {
		bw.Reset(w)
		return bw
	}
	return bufio.NewWriterSize(w, writeBuffer)
}

func (b *buffers) content() *[contentBuffer]byte {
	if p, ok := b.contents.Get().(*[contentBuffer]byte); ok {
		return p
	}
	return new([contentBuffer]byte)
}

func (b *buffers) release(r *bufio.Reader, w *bufio.Writer) {
	r.Reset(nil)
	w.Reset(nil)
	b.readers.Put(r)
	b.writers.Put(w)
}
