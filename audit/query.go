package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"gateway/session"
)

// Record is one line of the record.
type Record struct {
	// Raw is the line as stored, without its newline.
	Raw   []byte
	Event session.Event
}

// Reader searches and follows a record. It holds nothing open between calls,
// and may be used by many goroutines.
type Reader struct {
	dir string
	log *Log // nil for a record that another process may be writing
	// progress, if it is not nil, is told in Query how many lines were read.
	progress func(lines int64)
}

// NewReader reads the record in dir, from any process that may read the files.
// Where another process writes it, a line is seen when it is written, which may
// be a moment before it is on stable storage.
func NewReader(dir string) *Reader { return &Reader{dir: dir} }

// Reader reads the record that l writes: each line as soon as it is on stable
// storage, and not before.
func (l *Log) Reader() *Reader { return &Reader{dir: l.cfg.Dir, log: l} }

// WithProgress returns a Reader of the same record whose queries tell, again and again and
// from the goroutine that ranges over them, how many lines that might be wanted they read.
func (r *Reader) WithProgress(progress func(lines int64)) *Reader {
	return &Reader{dir: r.dir, log: r.log, progress: progress}
}

// Query returns the events that f wants, oldest first. A line that cannot be
// read is an error that names it, after which the next one follows; any other
// error is the last. Reading a Log's own record, everything appended before
// the call is included.
func (r *Reader) Query(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := f.Validate(); err != nil {
			yield(Record{}, err)
			return
		}
		r.settle(ctx)
		c := r.cursor()
		if err := errors.Join(c.stopHere(), r.skip(c, f.Since)); err != nil {
			c.close()
			yield(Record{}, err)
			return
		}
		s := newWalk(ctx, c, f)
		defer s.close()
		read := int64(0)
		for left := f.Limit; ; {
			lines, err := s.next(ctx)
			if err != nil {
				yield(Record{}, err)
				return
			}
			if lines == nil {
				return
			}
			if read += int64(len(lines)); r.progress != nil {
				r.progress(read)
			}
			for _, l := range lines {
				switch {
				case l.err != nil:
					if !yield(Record{}, l.err) || !errors.As(l.err, new(*LineError)) {
						return
					}
				case l.wanted:
					if !yield(l.event, nil) {
						return
					}
					if left--; left == 0 {
						return
					}
				}
			}
		}
	}
}

// settle has what was appended written first. If it cannot be, what is there is
// read.
func (r *Reader) settle(ctx context.Context) {
	if r.log != nil {
		_ = r.log.Sync(ctx)
	}
}

func (r *Reader) cursor() *cursor {
	c := &cursor{dir: r.dir}
	if r.log != nil {
		c.durable = r.log.Durable
	}
	return c
}

// A LineError is a line of the record that is not an event.
type LineError struct {
	Segment string
	Line    int
	Err     error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.Segment, e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// step reads one line and reports whether f wants it. A line that is not
// wanted may come back without its event.
func (r *Reader) step(ctx context.Context, c *cursor, f Filter, quick func([]byte) bool) (Record, bool, error) {
	line, err := c.next(ctx)
	if errors.Is(err, errLongLine) {
		return Record{}, false, &LineError{c.segment(), c.number, err}
	}
	if err != nil {
		return Record{}, false, err
	}
	if !quick(line) {
		return Record{Raw: line}, false, nil
	}
	e, err := decode(line)
	if err != nil {
		return Record{}, false, &LineError{c.segment(), c.number, err}
	}
	if !f.Match(e) {
		return Record{Raw: line}, false, nil
	}
	return Record{Raw: append([]byte(nil), line...), Event: e}, true, nil
}

// skip puts c at the segment in which events since then begin.
func (r *Reader) skip(c *cursor, since time.Time) error {
	firsts, err := listSegments(r.dir)
	if err != nil {
		return fmt.Errorf("read audit record: %w", err)
	}
	if len(firsts) == 0 {
		return fmt.Errorf("read audit record: no segments in %s", r.dir)
	}
	at := 0
	if !since.IsZero() {
		for i := len(firsts) - 1; i > 0; i-- {
			if t := firstTime(r.dir, firsts[i]); !t.IsZero() && t.Add(clockSlack).Before(since) {
				at = i
				break
			}
		}
	}
	if err := c.seek(firsts[at], 0); err != nil {
		return fmt.Errorf("read audit record: %w", err)
	}
	return nil
}

// firstTime is the time of a segment's first line, zero if it has none.
func firstTime(dir string, first int64) time.Time {
	f, err := os.Open(filepath.Join(dir, segmentName(first)))
	if err != nil {
		return time.Time{}
	}
	defer f.Close()
	head := make([]byte, maxStamp)
	n, _ := f.ReadAt(head, 0)
	return lineTime(head[:n])
}

// lineTime reads the time at the beginning of a line, zero if there is none.
func lineTime(line []byte) time.Time {
	const key = `,"time":"`
	head := string(line[:min(len(line), maxStamp)])
	for i := 0; i+len(key)+len(timeFormat) <= len(head); i++ {
		if head[i:i+len(key)] == key {
			t, err := time.Parse(timeFormat, head[i+len(key):i+len(key)+len(timeFormat)])
			if err != nil {
				return time.Time{}
			}
			return t
		}
	}
	return time.Time{}
}

// At returns the event with that seq. The error is ErrNoEvent if the record has none.
func (r *Reader) At(ctx context.Context, seq int64) (Record, error) {
	r.settle(ctx)
	firsts, err := listSegments(r.dir)
	if err != nil {
		return Record{}, fmt.Errorf("read audit record: %w", err)
	}
	at := -1
	for i, first := range firsts {
		if first <= seq {
			at = i
		}
	}
	if at < 0 {
		return Record{}, fmt.Errorf("%w %d", ErrNoEvent, seq)
	}
	c := r.cursor()
	defer c.close()
	if err := errors.Join(c.stopHere(), c.seek(firsts[at], 0)); err != nil {
		return Record{}, fmt.Errorf("read audit record: %w", err)
	}
	that := func(line []byte) bool { return lineSeq(line) == seq }
	for {
		rec, found, err := r.step(ctx, c, Filter{}, that)
		switch {
		case errors.Is(err, io.EOF):
			return Record{}, fmt.Errorf("%w %d", ErrNoEvent, seq)
		case err == nil && found, err != nil && !errors.As(err, new(*LineError)):
			return rec, err
		}
	}
}

// ErrNoEvent is an event that the record does not have.
var ErrNoEvent = errors.New("the record has no event with seq")
