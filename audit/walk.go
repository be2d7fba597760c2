package audit

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"
)

// batchLines is how many lines are decoded at once.
const batchLines = 128

// walk goes over the lines of a record that f may want. One goroutine reads them,
// others decode them, and next has them in their order.
type walk struct {
	filter  Filter
	cursor  *cursor
	stop    context.CancelFunc
	ordered chan *batch // as they were read
	work    chan *batch // the same, for who decodes
	running sync.WaitGroup
}

// batch is some lines that follow each other.
type batch struct {
	lines   []scanned
	decoded chan struct{} // closed when they are
}

// scanned is a line, and what became of it.
type scanned struct {
	raw     []byte
	segment string
	number  int
	event   Record
	wanted  bool
	err     error
}

// newWalk takes c over.
func newWalk(ctx context.Context, c *cursor, f Filter) *walk {
	workers := runtime.GOMAXPROCS(0)
	ctx, stop := context.WithCancel(ctx)
	s := &walk{filter: f, cursor: c, stop: stop, ordered: make(chan *batch, 2*workers), work: make(chan *batch, 2*workers)}
	s.running.Go(func() { s.read(ctx) })
	for range workers {
		s.running.Go(s.decode)
	}
	return s
}

// close ends the walk, wherever it is, and closes the cursor.
func (s *walk) close() {
	s.stop()
	s.running.Wait()
	s.cursor.close()
}

// read gathers lines until the record ends, or what f wants.
func (s *walk) read(ctx context.Context) {
	defer close(s.ordered)
	defer close(s.work)
	quick := s.filter.quick()
	b := newBatch()
	for {
		line, err := s.cursor.next(ctx)
		switch {
		case errors.Is(err, io.EOF), err == nil && s.beyond(line):
			s.send(ctx, b)
			return
		case errors.Is(err, errLongLine):
			b.lines = append(b.lines, scanned{err: &LineError{s.cursor.segment(), s.cursor.number, err}})
		case err != nil:
			b.lines = append(b.lines, scanned{err: err})
			s.send(ctx, b)
			return
		case quick(line):
			b.lines = append(b.lines, scanned{raw: append([]byte(nil), line...), segment: s.cursor.segment(), number: s.cursor.number})
		}
		if len(b.lines) >= batchLines {
			if !s.send(ctx, b) {
				return
			}
			b = newBatch()
		}
	}
}

func newBatch() *batch {
	return &batch{lines: make([]scanned, 0, batchLines), decoded: make(chan struct{})}
}

// beyond reports whether a line begins a segment in which nothing is wanted any more,
// and so in all after it.
func (s *walk) beyond(line []byte) bool {
	return !s.filter.Until.IsZero() && s.cursor.number == 1 && lineTime(line).After(s.filter.Until.Add(clockSlack))
}

// send hands b on, and reports whether somebody still wants it.
func (s *walk) send(ctx context.Context, b *batch) bool {
	for _, to := range []chan *batch{s.ordered, s.work} {
		select {
		case to <- b:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (s *walk) decode() {
	for b := range s.work {
		for i := range b.lines {
			b.lines[i].decode(s.filter)
		}
		close(b.decoded)
	}
}

func (l *scanned) decode(f Filter) {
	if l.err != nil {
		return
	}
	e, err := decode(l.raw)
	if err != nil {
		l.err = &LineError{l.segment, l.number, err}
		return
	}
	l.event, l.wanted = Record{Raw: l.raw, Event: e}, f.Match(e)
}

// next returns the lines that follow, nil at the end.
func (s *walk) next(ctx context.Context) ([]scanned, error) {
	b, more := <-s.ordered
	if !more {
		return nil, ctx.Err()
	}
	select {
	case <-b.decoded:
		return b.lines, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// clockSlack is how far the clock may have been set back without a query by
// time missing the events of then, when it passes over whole segments.
const clockSlack = time.Hour
