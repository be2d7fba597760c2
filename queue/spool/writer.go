package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"gateway/session"
)

const (
	// maxGroup and maxGroupBytes bound one write; a single change may be longer.
	maxGroup      = 1024
	maxGroupBytes = 4 << 20
	// maxKept is the largest buffer that is kept between two writes.
	maxKept = 2 * maxGroupBytes
)

// errMoved is a copy that is not wanted any more.
var errMoved = errors.New("the message has moved or gone")

// errSync is a sync that failed: what was written may be on stable storage or not.
var errSync = errors.New("sync")

// writer is the state of the goroutine that writes.
type writer struct {
	active *segment // nil before the first write
	next   uint32   // number of the next segment
	// broken says that what follows the active segment's size is not known; distrust
	// that a sync failed, so that what follows goes to another file: the kernel reports
	// that once, and may then believe to be written what is not.
	broken, distrust bool
	pace             pace
	buf              []byte
}

// group is the requests of one write.
type group[T any] struct {
	requests []*request[T]
	size     int64
}

func (g *group[T]) add(r *request[T]) {
	g.requests = append(g.requests, r)
	g.size += r.size
}

func (g *group[T]) full() bool { return len(g.requests) >= maxGroup || g.size >= maxGroupBytes }

// write serves requests until Close, and those that came before it.
func (s *Spool[T]) write() {
	defer close(s.stopped)
	for {
		g := s.gather()
		if len(g.requests) == 0 {
			return
		}
		s.writeGroup(g)
	}
}

// gather waits for a request, and for others that are about to come.
func (s *Spool[T]) gather() (g group[T]) {
	select {
	case r := <-s.requests:
		g.add(r)
	case <-s.closing:
	}
	s.takeWaiting(&g)
	if len(g.requests) < s.writer.pace.target {
		s.awaitMore(&g)
	}
	s.writer.pace.learn(len(g.requests))
	return g
}

// takeWaiting adds the requests that are there.
func (s *Spool[T]) takeWaiting(g *group[T]) {
	for !g.full() {
		select {
		case r := <-s.requests:
			g.add(r)
		default:
			return
		}
	}
}

// awaitMore adds requests until there are as many as the pace expects, or none comes.
func (s *Spool[T]) awaitMore(g *group[T]) {
	gap := time.NewTimer(maxGap)
	defer gap.Stop()
	for !g.full() && len(g.requests) < s.writer.pace.target {
		select {
		case r := <-s.requests:
			g.add(r)
			gap.Reset(maxGap)
		case <-gap.C:
			return
		case <-s.closing:
			return
		}
	}
	s.takeWaiting(g)
}

// writeGroup makes the changes of a group and answers for each.
func (s *Spool[T]) writeGroup(g group[T]) {
	s.mu.Lock()
	admitted := g.requests[:0]
	var frees int64 // what of it may use the reserve
	var size int64
	for _, r := range g.requests {
		if err := s.admit(r); err != nil {
			r.done <- err
			continue
		}
		admitted = append(admitted, r)
		size += r.size
		if r.frees() {
			frees += r.size
		}
	}
	s.mu.Unlock()
	if len(admitted) == 0 {
		return
	}
	reserved, err := s.ready(size)
	if reserved != nil {
		// There is no space for another segment: what frees space goes on.
		admitted = s.refuse(admitted, reserved, func(r *request[T]) bool { return !r.frees() })
		if s.writer.active.size+frees > s.writer.active.end {
			err = reserved
		}
	}
	if err == nil && len(admitted) > 0 {
		err = s.put(admitted)
	}
	if err != nil {
		s.refuse(admitted, err, func(*request[T]) bool { return true })
		return
	}
	for _, r := range admitted {
		r.done <- nil
	}
}

// frees reports whether a request adds no message.
func (r *request[T]) frees() bool {
	for i := range r.records {
		if r.records[i].kind == kindMessage {
			return false
		}
	}
	return true
}

// refuse answers those of some requests, and returns the others.
func (s *Spool[T]) refuse(requests []*request[T], err error, which func(*request[T]) bool) (others []*request[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range requests {
		if !which(r) {
			others = append(others, r)
			continue
		}
		s.dismiss(r.records)
		r.done <- err
	}
	return others
}

// ready makes sure that there is a segment with space for size bytes. If there is no
// space for another segment, reserved says why, and the reserve may be used.
func (s *Spool[T]) ready(size int64) (reserved, err error) {
	w := &s.writer
	if w.broken {
		if err := w.active.cut(); err != nil {
			return nil, err
		}
		w.broken = false
	}
	if w.active != nil && !w.distrust && (w.active.size+size <= w.active.limit || w.active.size == 0) {
		return nil, nil
	}
	err = s.roll(size)
	if errors.Is(err, session.ErrNoSpace) && w.active != nil && !w.distrust {
		return err, nil
	}
	return nil, err
}

// roll begins the next segment, with space for size bytes at least.
func (s *Spool[T]) roll(size int64) error {
	w := &s.writer
	want := s.cfg.SegmentSize
	if least := 2*size + int64(startSize); want < least {
		want = least
	}
	next, err := createSegment(s.cfg.Dir, w.next, want)
	if err != nil {
		return err
	}
	if err := s.syncDir(); err != nil {
		return errors.Join(err, next.discard())
	}
	if w.active != nil {
		if err := w.active.file.Truncate(w.active.size); err != nil { // gives back what was taken in advance
			s.cfg.Log.Warn("segment not cut to its length", "segment", w.active.number, "err", err)
		}
	}
	s.mu.Lock()
	s.segments[next.number] = next
	w.active, w.distrust = next, false
	w.next++
	s.mu.Unlock()
	s.wakeCleaner()
	return nil
}

func (s *Spool[T]) syncDir() error {
	s.syncs.Add(1)
	return syncFolder(s.cfg.Dir)
}

// put writes the changes at the end of the log, syncs, and makes them hold.
func (s *Spool[T]) put(requests []*request[T]) error {
	w := &s.writer
	seg := w.active
	buf := w.buf[:0]
	if seg.size == 0 {
		buf = append(buf, seg.start()...)
	}
	for _, r := range requests {
		for i := range r.records {
			buf = r.records[i].append(buf, seg)
		}
	}
	if cap(buf) <= maxKept {
		w.buf = buf
	}
	w.broken = true
	if _, err := seg.file.WriteAt(buf, seg.size); err != nil {
		return fmt.Errorf("write segment %s: %w", segmentName(seg.number), diskError(err))
	}
	w.distrust = true
	s.syncs.Add(1)
	if err := datasync(seg.file); err != nil {
		return fmt.Errorf("%w segment %s: %w", errSync, segmentName(seg.number), diskError(err))
	}
	w.broken, w.distrust = false, false
	s.mu.Lock()
	defer s.mu.Unlock()
	offset := seg.size
	if offset == 0 {
		offset = int64(startSize)
	}
	seg.size += int64(len(buf))
	for _, r := range requests {
		for i := range r.records {
			offset += s.hold(&r.records[i], seg, offset)
		}
	}
	return nil
}

// append adds the record as it stands in a segment.
func (r *record[T]) append(b []byte, seg *segment) []byte {
	b = r.head(seg.size).append(b, seg.salt)
	b = append(b, r.envelope...)
	for _, c := range r.content {
		b = append(b, c...)
	}
	return b
}

// hold makes a written change hold in memory, and returns its length. The caller
// holds the lock.
func (s *Spool[T]) hold(r *record[T], seg *segment, offset int64) int64 {
	h := r.head(0)
	p := place{segment: seg.number, offset: uint32(offset), envelope: h.envelope, content: h.content}
	s.apply(r.kind, r.message, p, r.envelope)
	return h.size()
}

// apply is what a record means, when it is written and when it is read again. m is
// nil for a removal whose message is gone already.
func (s *Spool[T]) apply(k kind, m *Message[T], p place, envelope []byte) {
	switch k {
	case kindMessage:
		s.release(m.at)
		m.at = p
		m.flags &^= pending
		s.use(p)
	case kindState:
		s.release(m.state)
		m.state = p
		s.use(p)
	case kindRemoved:
		if m != nil {
			s.release(m.at)
			s.release(m.state)
			s.index.remove(m)
		}
		if of := number(envelope); s.segments[of] != nil {
			s.segments[p.segment].removals[of]++
		}
	}
}

// use and release count what is in use of a segment.
func (s *Spool[T]) use(p place) { s.segments[p.segment].used += p.size() }

func (s *Spool[T]) release(p place) {
	seg := s.segments[p.segment]
	if seg == nil {
		return
	}
	if seg.used -= p.size(); seg != s.writer.active && s.inTheWay(seg) {
		s.wakeCleaner()
	}
}

func appendNumber(b []byte, segment uint32) []byte {
	return binary.LittleEndian.AppendUint32(b, segment)
}

// number reads the envelope part of a removal.
func number(envelope []byte) uint32 {
	if len(envelope) != 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(envelope)
}
