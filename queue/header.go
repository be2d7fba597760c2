package queue

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gateway/session"
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

// errContent is a content that is missing or not what was accepted.
var errContent = errors.New("content is damaged")

// open returns the content of m. The error is errContent if it is not there.
func (q *Queue) open(ctx context.Context, m message) (io.ReadCloser, error) {
	if !m.inFile {
		content, err := q.loadContent(ctx, m.id)
		if errors.Is(err, session.ErrNotExist) {
			err = fmt.Errorf("%w: %w", errContent, err)
		}
		return io.NopCloser(bytes.NewReader(content)), err
	}
	f, err := os.Open(filepath.Join(q.cfg.Dir, m.id))
	if errors.Is(err, session.ErrNotExist) {
		return nil, fmt.Errorf("%w: the file is missing", errContent)
	}
	if err != nil {
		return nil, fmt.Errorf("open content: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() != m.size {
		err = fmt.Errorf("%w: it has %d bytes, want %d", errContent, info.Size(), m.size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (q *Queue) header(ctx context.Context, m message) (header, error) {
	body, err := q.open(ctx, m)
	if err != nil {
		return header{}, err
	}
	defer body.Close()
	return readHeader(body)
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
