package queue

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"gateway/queue/spool"
)

const (
	// maxHeader bounds what is read of a header: to count hops, to show it, and to
	// return it with a bounce.
	maxHeader = 64 << 10
	// maxReceived is how many Received fields a message may have before it is held
	// to go round in circles (RFC 5321, section 6.3).
	maxReceived = 50
)

// header is the beginning of a content.
type header struct {
	raw      []byte // whole lines, without the empty one
	received int
	eightBit bool
}

// header reads the beginning of the content of m. Errors are those of
// spool.Content.
func (q *Queue) header(m *message) (header, error) {
	body, err := q.open(m)
	if err != nil {
		return header{}, err
	}
	defer body.Close()
	return readHeader(body)
}

// open returns the content of m.
func (q *Queue) open(m *message) (*spool.Content, error) {
	c, err := q.spool.Content(m.entry)
	if err == nil && c.Size() != m.Size {
		return nil, errors.Join(fmt.Errorf("%w: the content has %d bytes, want %d", spool.ErrDamaged, c.Size(), m.Size), c.Close())
	}
	return c, err
}

// readHeader reads up to the first empty line, or as many whole lines as are
// within maxHeader.
func readHeader(r io.Reader) (header, error) {
	var h header
	br := bufio.NewReaderSize(io.LimitReader(r, maxHeader), 4096)
	field := []byte("received:")
	for {
		line, err := br.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return header{}, fmt.Errorf("read header: %w", err)
		}
		text := bytes.TrimRight(line, "\r\n")
		if len(text) == 0 || err != nil && len(h.raw)+len(line) >= maxHeader {
			return h, nil
		}
		if len(text) >= len(field) && bytes.EqualFold(text[:len(field)], field) {
			h.received++
		}
		h.raw = append(h.raw, line...)
		h.eightBit = h.eightBit || !ascii7(line)
		if err != nil {
			return h, nil
		}
	}
}
