package spool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"gateway/session"
)

const (
	// sparsePart is the part of a segment, one in so many, below which what is in use is
	// copied and the segment removed.
	sparsePart = 4
	// maxSmall is how many segments shorter than a sparse part there may be. They come
	// from restarts.
	maxSmall = 8
	// cleanPause is the wait after a fault of the disk.
	cleanPause = 10 * time.Second
	// copyBatch is how many bytes are copied between two syncs.
	copyBatch = 1 << 20
)

func (s *Spool[T]) wakeCleaner() {
	select {
	case s.clean <- struct{}{}:
	default:
	}
}

// inTheWay reports whether little of a segment is in use. The caller holds the lock.
func (s *Spool[T]) inTheWay(seg *segment) bool {
	return seg.used < seg.size/sparsePart || seg.used == 0
}

// cleanUp removes segments until Close.
func (s *Spool[T]) cleanUp() {
	for {
		select {
		case <-s.clean:
		case <-s.closing:
			return
		}
		for {
			seg := s.nextToClean()
			if seg == nil {
				break
			}
			err := s.cleanSegment(seg)
			if err == nil {
				continue
			}
			if s.isClosing() {
				return
			}
			if errors.Is(err, session.ErrNoSpace) {
				break // there will be other news when there is some
			}
			if errors.Is(err, ErrDamaged) {
				s.keep(seg)
			}
			s.cfg.Log.Error("segment of the spool not removed", "segment", segmentName(seg.number), "err", err)
			select {
			case <-time.After(cleanPause):
				s.wakeCleaner()
			case <-s.closing:
				return
			}
			break
		}
	}
}

// keep leaves a segment alone for as long as this process runs.
func (s *Spool[T]) keep(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.kept = true
	s.unfinished, s.copiesFrom = 0, math.MaxUint32
}

// nextToClean is a segment that is in the way, nil if there is none: first those that
// need no copies, then the one that was begun with, then the others.
func (s *Spool[T]) nextToClean() *segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var sparse, small []*segment
	for _, n := range s.numbers() {
		seg := s.segments[n]
		switch {
		case seg == s.writer.active || seg.kept || s.unfinished != 0 && n >= s.copiesFrom:
		case seg.used == 0 && len(s.othersRemoved(seg)) == 0:
			return seg
		case s.inTheWay(seg):
			sparse = append(sparse, seg)
		case seg.size < s.cfg.SegmentSize/sparsePart:
			small = append(small, seg)
		}
	}
	switch {
	case s.unfinished != 0:
		return s.segments[s.unfinished]
	case len(sparse) > 0:
		return sparse[0]
	case len(small) > maxSmall:
		return small[0]
	default:
		return nil
	}
}

// cleanSegment copies what is in use of a segment to the end of the log, and removes
// it.
func (s *Spool[T]) cleanSegment(seg *segment) error {
	s.beginCopies(seg)
	if err := s.copyOut(seg); err != nil {
		return err
	}
	s.mu.RLock()
	used := seg.used
	s.mu.RUnlock()
	if used > 0 {
		return nil // a state changed meanwhile: once more
	}
	name := filepath.Join(s.cfg.Dir, segmentName(seg.number))
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Only now may a removal go that speaks of a message in this segment.
	if err := s.syncDir(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.segments, seg.number)
	for _, other := range s.segments {
		delete(other.removals, seg.number)
	}
	if s.unfinished == seg.number {
		s.unfinished, s.copiesFrom = 0, math.MaxUint32
	}
	return seg.file.Close()
}

// beginCopies notes which segment is to go, unless it needs no copies.
func (s *Spool[T]) beginCopies(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.used == 0 && len(s.othersRemoved(seg)) == 0 || s.unfinished == seg.number {
		return
	}
	s.unfinished, s.copiesFrom = seg.number, s.writer.next
	if s.writer.active != nil {
		s.copiesFrom = s.writer.active.number
	}
}

// copyOut copies what is in use of a segment.
func (s *Spool[T]) copyOut(seg *segment) error {
	s.mu.RLock()
	nothing := seg.used == 0 && len(s.othersRemoved(seg)) == 0
	s.mu.RUnlock()
	if nothing {
		return nil
	}
	var wanted []*request[T]
	var size int64
	flush := func() error {
		done := make(chan error, len(wanted))
		for _, r := range wanted {
			go func() { done <- s.commit(context.Background(), r) }()
		}
		var errs []error
		for range wanted {
			if err := <-done; !errors.Is(err, errMoved) {
				errs = append(errs, err)
			}
		}
		wanted, size = nil, 0
		return errors.Join(errs...)
	}
	err := seg.scan(int64(startSize), func(h head, offset int64) error {
		r, err := s.copyOf(seg, h, offset)
		if err != nil || r == nil {
			return err
		}
		wanted = append(wanted, r)
		for i := range r.records {
			size += r.records[i].size()
		}
		if size >= copyBatch {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// othersRemoved are the removals in seg that other segments need, by the number of
// that segment. The caller holds the lock.
func (s *Spool[T]) othersRemoved(seg *segment) map[uint32]bool {
	needed := make(map[uint32]bool)
	for of := range seg.removals {
		if of != seg.number && s.segments[of] != nil {
			needed[of] = true
		}
	}
	return needed
}

// copyOf is the request that copies the record at offset, nil if it is not in use.
func (s *Spool[T]) copyOf(seg *segment, h head, offset int64) (*request[T], error) {
	p := place{segment: seg.number, offset: uint32(offset), envelope: h.envelope, content: h.content}
	s.mu.RLock()
	m := s.index.get(h.id)
	var state place
	inUse := false
	if m != nil {
		state = m.state
		inUse = h.kind == kindMessage && m.at == p || h.kind == kindState && m.state == p
	}
	needed := s.othersRemoved(seg)
	s.mu.RUnlock()
	switch {
	case h.kind == kindRemoved:
		envelope, err := seg.read(offset+headSize, int64(h.envelope))
		if err != nil || !needed[number(envelope)] {
			return nil, err
		}
		return &request[T]{records: []record[T]{{kind: kindRemoved, id: h.id, envelope: envelope, sums: h.sums}}}, nil
	case !inUse:
		return nil, nil
	}
	c, err := s.copyRecord(seg, m, h.kind, p)
	if err != nil {
		return nil, err
	}
	r := &request[T]{records: []record[T]{c}}
	if h.kind == kindMessage && state.segment != 0 {
		// With the message goes its state: the next Open would meet the old one before the
		// message, and not know whose it is.
		s.mu.RLock()
		holder := s.segments[state.segment]
		s.mu.RUnlock()
		if holder == nil {
			return nil, fmt.Errorf("state of message %s: %w", h.id, session.ErrClosed)
		}
		c, err := s.copyRecord(holder, m, kindState, state)
		if err != nil {
			return nil, err
		}
		r.records = append(r.records, c)
	}
	return r, nil
}

// copyRecord reads the record at p as it is, damaged or not.
func (s *Spool[T]) copyRecord(seg *segment, m *Message[T], k kind, p place) (record[T], error) {
	b, err := seg.read(int64(p.offset), p.size())
	if err != nil {
		return record[T]{}, err
	}
	h, ok := parseHead(b, seg.salt)
	if !ok {
		return record[T]{}, fmt.Errorf("message %s: %w", m.id, ErrDamaged)
	}
	return record[T]{
		kind: k, flags: h.flags &^ flagMore, id: m.id, message: m, from: p, sums: h.sums,
		envelope: b[headSize : headSize+h.envelope], content: [][]byte{b[headSize+h.envelope:]},
	}, nil
}
