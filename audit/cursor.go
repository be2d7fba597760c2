package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// cursor walks over the lines of a record that may be growing meanwhile, from
// one segment into the next.
type cursor struct {
	dir string
	// durable bounds what is shown, where the reader is told how far the record is
	// on stable storage. Nil shows every whole line.
	durable func() int64
	// torn is told of an unfinished line that another segment follows. May be nil.
	torn func(segment string, bytes int64)

	// end, if set, is where the record ended when the reading began: a reader that is
	// slower than the writer comes to an end all the same.
	end *position

	f      *os.File
	first  int64 // seq that the segment is named after; zero before the first
	offset int64 // of the next line
	number int   // of the last line within the segment
	buf    []byte
	fresh  bool // a later segment is there, and the end of this one was read after it
}

// stopHere sets end to where the record ends now.
func (c *cursor) stopHere() error {
	firsts, err := listSegments(c.dir)
	if err != nil {
		return fmt.Errorf("read audit record: %w", err)
	}
	c.end = &position{}
	for _, first := range firsts {
		info, err := os.Stat(filepath.Join(c.dir, segmentName(first)))
		if err != nil {
			return fmt.Errorf("read audit record: %w", err)
		}
		if info.Size() > 0 {
			c.end = &position{first, info.Size()}
		}
	}
	return nil
}

// passed reports whether the next line began after end.
func (c *cursor) passed() bool {
	return c.end != nil && (c.first > c.end.first || c.first == c.end.first && c.offset >= c.end.offset)
}

// readSize is how much is read at once.
const readSize = 128 << 10

func (c *cursor) close() {
	if c.f != nil {
		_ = c.f.Close()
		c.f = nil
	}
}

// segment is the file that the last line was in.
func (c *cursor) segment() string { return segmentName(c.first) }

// seek goes to an offset of a segment, which must be the beginning of a line.
func (c *cursor) seek(first, offset int64) error {
	c.close()
	f, err := os.Open(filepath.Join(c.dir, segmentName(first)))
	if err != nil {
		return err
	}
	c.f, c.first, c.offset, c.number, c.buf, c.fresh = f, first, offset, 0, nil, false
	return nil
}

// next returns the next line without its newline, valid until the next call. It
// returns io.EOF where the record ends for now, and may be called again later.
// errLongLine is a line that was skipped.
func (c *cursor) next(ctx context.Context) ([]byte, error) {
	long := false
	for {
		if c.passed() {
			c.buf = nil
			return nil, io.EOF
		}
		if end := bytes.IndexByte(c.buf, '\n'); end >= 0 {
			line := c.buf[:end]
			if c.durable != nil && !long && lineSeq(line) > c.durable() {
				c.buf = nil // may still be taken back: read again later
				return nil, io.EOF
			}
			c.buf = c.buf[end+1:]
			c.offset += int64(end) + 1
			c.number++
			if long {
				return nil, errLongLine
			}
			return line, nil
		}
		if len(c.buf) >= maxLine {
			long = true
			c.offset += int64(len(c.buf))
			c.buf = nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		more, err := c.fill()
		if err != nil {
			return nil, err
		}
		if more {
			continue
		}
		moved, err := c.advance()
		if err != nil {
			return nil, err
		}
		if !moved {
			c.buf = nil
			return nil, io.EOF
		}
	}
}

// fill reads on in the segment and reports whether there was more.
func (c *cursor) fill() (bool, error) {
	if c.f == nil {
		return false, nil
	}
	grown := make([]byte, len(c.buf)+readSize)
	have := copy(grown, c.buf)
	n, err := c.f.ReadAt(grown[have:], c.offset+int64(have))
	c.buf = grown[:have+n]
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read audit record: %w", err)
	}
	return n > 0, nil
}

// advance goes to the next segment if there is one. The end of the present one
// is read once more before: it may have grown until the next was made.
func (c *cursor) advance() (bool, error) {
	firsts, err := listSegments(c.dir)
	if err != nil {
		return false, fmt.Errorf("read audit record: %w", err)
	}
	for _, first := range firsts {
		if first <= c.first || emptySegment(c.dir, first) {
			continue
		}
		if c.end != nil && first > c.end.first {
			return false, nil
		}
		if c.f != nil && !c.fresh {
			c.fresh = true
			return true, nil
		}
		if len(c.buf) > 0 && c.torn != nil {
			c.torn(c.segment(), int64(len(c.buf)))
		}
		if err := c.seek(first, 0); err != nil {
			return false, fmt.Errorf("read audit record: %w", err)
		}
		return true, nil
	}
	return false, nil
}

// lineSeq reads the seq at the beginning of a line, and zero if there is none.
func lineSeq(line []byte) int64 {
	rest, ok := bytes.CutPrefix(line, []byte(`{"seq":`))
	if !ok {
		return 0
	}
	digits, _, ok := bytes.Cut(rest[:min(len(rest), 21)], []byte{','})
	if !ok {
		return 0
	}
	seq, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return 0
	}
	return seq
}
