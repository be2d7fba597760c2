package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// MaxTail is how many past events Tail may be asked for.
const MaxTail = 10000

// pollInterval is how often a record of another process is looked at.
const pollInterval = 200 * time.Millisecond

// Tail returns the last n events that f wants, oldest first, and then, if it is
// to follow, those that come, until ctx ends (which is no error), f.Limit is
// reached or the Log is closed. Lines that cannot be read are passed over.
func (r *Reader) Tail(ctx context.Context, n int, follow bool, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		err := f.Validate()
		if err == nil && (n < 0 || n > MaxTail) {
			err = fmt.Errorf("number of events %d: want 0 to %d", n, MaxTail)
		}
		if err != nil {
			yield(Record{}, err)
			return
		}
		r.settle(ctx)
		c := r.cursor()
		defer c.close()
		var last []Record
		if err = c.stopHere(); err == nil {
			last, err = r.last(ctx, c, n, f)
			c.end = nil
		}
		left := f.Limit
		for _, rec := range last {
			if !yield(rec, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
		if err == nil && follow {
			err = r.follow(ctx, c, f, left, yield)
		}
		if err != nil && ctx.Err() == nil {
			yield(Record{}, err)
		}
	}
}

// follow yields what comes after c.
func (r *Reader) follow(ctx context.Context, c *cursor, f Filter, left int, yield func(Record, error) bool) error {
	quick := f.quick()
	for {
		// Taken before reading, so that nothing that comes meanwhile is missed.
		changed, closed := r.changes()
		for {
			rec, wanted, err := r.step(ctx, c, f, quick)
			if errors.As(err, new(*LineError)) {
				continue
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if !wanted {
				continue
			}
			if !yield(rec, nil) {
				return nil
			}
			if left--; left == 0 {
				return nil
			}
		}
		if closed {
			return nil
		}
		if !wait(ctx, changed) {
			return nil
		}
	}
}

// changes returns a channel that tells when to look again, nil for a record of
// another process, and whether nothing more will come.
func (r *Reader) changes() (changed <-chan struct{}, closed bool) {
	if r.log == nil {
		return nil, false
	}
	select {
	case <-r.log.done:
		closed = true
	default:
	}
	_, changed = r.log.progress()
	return changed, closed
}

// wait returns when there may be something new, and false when ctx has ended.
func wait(ctx context.Context, changed <-chan struct{}) bool {
	var poll <-chan time.Time
	if changed == nil {
		timer := time.NewTimer(pollInterval)
		defer timer.Stop()
		poll = timer.C
	}
	select {
	case <-changed:
	case <-poll:
	case <-ctx.Done():
		return false
	}
	return true
}

// nearEnd is the part of a segment that is read first for its last events.
const nearEnd = 256 << 10

// last returns the last n events that f wants and leaves c behind them.
func (r *Reader) last(ctx context.Context, c *cursor, n int, f Filter) ([]Record, error) {
	firsts, err := listSegments(r.dir)
	if err != nil {
		return nil, fmt.Errorf("read audit record: %w", err)
	}
	if len(firsts) == 0 {
		return nil, fmt.Errorf("read audit record: no segments in %s", r.dir)
	}
	for len(firsts) > 1 && emptySegment(r.dir, firsts[len(firsts)-1]) {
		firsts = firsts[:len(firsts)-1]
	}
	newest := firsts[len(firsts)-1]
	offset, err := lineNearEnd(r.dir, newest)
	if err != nil {
		return nil, fmt.Errorf("read audit record: %w", err)
	}
	if err := c.seek(newest, offset); err != nil {
		return nil, fmt.Errorf("read audit record: %w", err)
	}
	found, err := r.collect(ctx, c, n, f, recordEnd())
	if err != nil || len(found) == n {
		return found, err
	}
	// Not enough there: whole segments, from the newest to the oldest. The end up
	// to which the first look came bounds the second one.
	end := position{c.first, c.offset}
	found = nil
	for i := len(firsts) - 1; i >= 0 && len(found) < n; i-- {
		back := r.cursor()
		if err := back.seek(firsts[i], 0); err != nil {
			return nil, fmt.Errorf("read audit record: %w", err)
		}
		stop := end
		if i < len(firsts)-1 {
			stop = position{firsts[i+1], 0}
		}
		older, err := r.collect(ctx, back, n-len(found), f, stop)
		back.close()
		if err != nil {
			return nil, err
		}
		found = append(older, found...)
	}
	return found, nil
}

// position is a place in the record.
type position struct{ first, offset int64 }

// before reports whether the last line that c returned lies behind p.
func (p position) before(c *cursor) bool {
	return c.first > p.first || c.first == p.first && c.offset > p.offset
}

// recordEnd is behind every line.
func recordEnd() position { return position{first: math.MaxInt64} }

// collect returns the last n events wanted between c and stop.
func (r *Reader) collect(ctx context.Context, c *cursor, n int, f Filter, stop position) ([]Record, error) {
	quick := f.quick()
	var ring []Record
	oldest := 0
	for {
		rec, wanted, err := r.step(ctx, c, f, quick)
		switch {
		case errors.Is(err, io.EOF), err == nil && stop.before(c):
			return slices.Concat(ring[oldest:], ring[:oldest]), nil
		case errors.As(err, new(*LineError)):
		case err != nil:
			return nil, err
		case !wanted || n == 0:
		case len(ring) < n:
			ring = append(ring, rec)
		default:
			ring[oldest] = rec
			oldest = (oldest + 1) % n
		}
	}
}

// lineNearEnd is the beginning of a line not far from the end of a segment.
func lineNearEnd(dir string, first int64) (int64, error) {
	f, err := os.Open(filepath.Join(dir, segmentName(first)))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	from := info.Size() - nearEnd
	if from <= 0 {
		return 0, nil
	}
	in := newLines(io.NewSectionReader(f, from, nearEnd), from)
	if _, err := in.next(); err != nil && !errors.Is(err, errLongLine) {
		if errors.Is(err, io.EOF) {
			return 0, nil // one long line
		}
		return 0, err
	}
	return in.offset, nil
}
