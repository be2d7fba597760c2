package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
)

const (
	damagedPrefix = "damaged-"
	// windowSize is how much of a segment is read at once: the heads of small messages
	// come together, and the contents of larger ones are passed over.
	windowSize = 16 << 10
	searchSize = 1 << 20
)

// replay reads all segments, and cuts the last one to what was acknowledged or may
// have been.
func (s *Spool[T]) replay(ctx context.Context) error {
	numbers, err := listSegments(s.cfg.Dir)
	if err != nil {
		return err
	}
	s.writer.next, s.copiesFrom = 1, math.MaxUint32
	for i, n := range numbers {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.writer.next = n + 1
		if err := s.replaySegment(n, i == len(numbers)-1); err != nil {
			return fmt.Errorf("segment %s: %w", segmentName(n), err)
		}
	}
	return nil
}

func (s *Spool[T]) replaySegment(number uint32, last bool) error {
	name := filepath.Join(s.cfg.Dir, segmentName(number))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	seg := &segment{number: number, file: f, removals: make(map[uint32]int)}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	switch err := seg.readStart(info.Size()); {
	case info.Size() == 0:
		return errors.Join(f.Close(), os.Remove(name)) // begun, and nothing put in
	case errors.Is(err, ErrDamaged):
		s.cfg.Log.Error("segment of the mail spool is damaged: nothing of it can be read; it is kept as "+damagedPrefix+segmentName(number), "bytes", info.Size())
		s.damaged = true
		return errors.Join(f.Close(), os.Rename(name, filepath.Join(s.cfg.Dir, damagedPrefix+segmentName(number))))
	case err != nil:
		return errors.Join(err, f.Close())
	}
	s.segments[number] = seg
	r := replayer[T]{spool: s, seg: seg, last: last, length: info.Size()}
	if err := r.run(); err != nil {
		return err
	}
	if last && !r.witnessed {
		return seg.cut()
	}
	return nil
}

// readStart reads magic and salt.
func (s *segment) readStart(size int64) error {
	if size < int64(startSize) {
		return ErrDamaged
	}
	b, err := s.read(0, int64(startSize))
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(b, []byte(segmentMagic)) {
		return ErrDamaged
	}
	s.salt = binary.LittleEndian.Uint32(b[len(segmentMagic):])
	return nil
}

// replayer reads one segment.
type replayer[T any] struct {
	spool  *Spool[T]
	seg    *segment
	last   bool
	length int64 // of the file
	window window
	change []found // records of a change whose end has not come yet
	// witnessed says that damage was told from a torn tail by what stands behind it: that
	// is not cut off, or the next replay would take the damage for one, and cut off all
	// from there.
	witnessed bool
}

// found is a record that was read.
type found struct {
	head     head
	offset   int64
	envelope []byte // of a removal
}

func (r *replayer[T]) run() error {
	r.window = window{file: r.seg.file, length: r.length}
	offset := int64(startSize)
	r.seg.size = r.length
	for offset < r.length {
		h, envelope, err := r.window.record(offset, r.seg.salt)
		if err == nil && r.last {
			err = r.checkContent(h, offset)
		}
		switch {
		case errors.Is(err, ErrDamaged):
			next, torn, err := r.damage(h, offset)
			if err != nil {
				return err
			}
			if torn {
				return nil
			}
			offset = next
			continue
		case err != nil:
			return err
		}
		f := found{head: h, offset: offset}
		if h.kind == kindRemoved {
			f.envelope = bytes.Clone(envelope)
		}
		r.take(f)
		offset += h.size()
	}
	if len(r.change) > 0 {
		_, _, err := r.damage(head{}, r.length)
		return err
	}
	return nil
}

// checkContent looks at a content of the last segment. One that was synced stays,
// whatever it is: who reads it is told.
func (r *replayer[T]) checkContent(h head, offset int64) error {
	b, err := r.seg.read(offset+headSize+int64(h.envelope), int64(h.content))
	if err != nil || sum(b) == h.sums[1] {
		return err
	}
	later, err := r.seg.searchHeads(offset+h.size(), r.length)
	if err != nil {
		return err
	}
	if later.group > offset {
		r.witnessed = true
		return nil
	}
	return ErrDamaged
}

// damage says what follows a record at offset that is not what was written: the next
// one, or that it is a torn tail, which it cuts off. h is its head, if that is good.
func (r *replayer[T]) damage(h head, offset int64) (next int64, torn bool, err error) {
	from := offset + 1
	if h.kind != 0 {
		from = offset + h.size()
	}
	later, err := r.seg.searchHeads(from, r.length)
	if err != nil {
		return 0, false, err
	}
	begin := offset
	if len(r.change) > 0 {
		begin = r.change[0].offset
	}
	r.change = nil
	s := r.spool
	if r.last && later.group <= begin {
		s.cfg.Log.Info("unfinished end of the mail spool cut off", "segment", segmentName(r.seg.number), "bytes", r.length-begin)
		r.seg.size = begin
		return 0, true, nil
	}
	s.damaged, r.witnessed = true, true
	s.cfg.Log.Error("the mail spool is damaged: messages may be missing, or come twice; the segment is kept as "+damagedPrefix+segmentName(r.seg.number),
		"segment", segmentName(r.seg.number), "from", begin, "to", later.first)
	name := filepath.Join(s.cfg.Dir, segmentName(r.seg.number))
	err = os.Link(name, filepath.Join(s.cfg.Dir, damagedPrefix+segmentName(r.seg.number)))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return 0, false, fmt.Errorf("keep the damaged segment: %w", err)
	}
	return later.first, false, nil
}

// take makes a change hold once all its records are there.
func (r *replayer[T]) take(f found) {
	r.change = append(r.change, f)
	if f.head.flags&flagMore != 0 {
		return
	}
	for _, f := range r.change {
		r.hold(f)
	}
	r.change = r.change[:0]
}

func (r *replayer[T]) hold(f found) {
	s, h := r.spool, f.head
	p := place{segment: r.seg.number, offset: uint32(f.offset), envelope: h.envelope, content: h.content}
	m := s.index.get(h.id)
	switch {
	case h.kind == kindMessage && m == nil:
		m = &Message[T]{id: h.id}
		if h.flags&flagFile != 0 {
			m.flags = inFile
		}
		s.index.insert(m)
	case h.kind == kindMessage && m.at.segment != r.seg.number:
		s.unfinished, s.copiesFrom = m.at.segment, min(s.copiesFrom, r.seg.number) // it was being copied
	case h.kind == kindState && m == nil:
		return // of a message that is gone, and its segment too
	}
	s.apply(h.kind, m, p, f.envelope)
}

// window reads a file in order, a piece at a time.
type window struct {
	file   *os.File
	length int64
	offset int64
	buf    []byte
}

// record returns the head and the envelope part of the record at offset, valid until
// the next call. ErrDamaged is no record, or one whose envelope is damaged: then the
// head is good.
func (w *window) record(offset int64, salt uint32) (h head, envelope []byte, err error) {
	b, err := w.bytes(offset, headSize)
	if err != nil {
		return head{}, nil, err
	}
	h, ok := parseHead(b, salt)
	if !ok || offset+h.size() > w.length {
		return head{}, nil, ErrDamaged
	}
	envelope, err = w.bytes(offset+headSize, int(h.envelope))
	if err == nil && sum(envelope) != h.sums[0] {
		err = ErrDamaged
	}
	return h, envelope, err
}

func (w *window) bytes(offset int64, n int) ([]byte, error) {
	if offset+int64(n) > w.length {
		return nil, ErrDamaged
	}
	if offset < w.offset || offset+int64(n) > w.offset+int64(len(w.buf)) {
		size := min(int64(max(n, windowSize)), w.length-offset)
		if int64(cap(w.buf)) < size {
			w.buf = make([]byte, size)
		}
		w.buf, w.offset = w.buf[:size], offset
		if _, err := w.file.ReadAt(w.buf, offset); err != nil {
			w.buf = w.buf[:0]
			return nil, err
		}
	}
	return w.buf[offset-w.offset:][:n], nil
}

// heads is what a search found.
type heads struct {
	first int64 // offset of the first one; the end of the file if there is none
	group int64 // the last begin of a write that one tells
}

// searchHeads looks for heads anywhere behind offset.
func (s *segment) searchHeads(offset, length int64) (heads, error) {
	result := heads{first: length}
	magic := binary.LittleEndian.AppendUint32(nil, recordMagic)
	buf := make([]byte, searchSize)
	for offset < length {
		n, err := s.file.ReadAt(buf[:min(int64(len(buf)), length-offset)], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return result, err
		}
		piece := buf[:n]
		for at := 0; at+headSize <= n; {
			i := bytes.Index(piece[at:], magic)
			if i < 0 {
				break
			}
			at += i
			if h, ok := parseHead(piece[at:], s.salt); ok && offset+int64(at)+h.size() <= length {
				result.first = min(result.first, offset+int64(at))
				result.group = max(result.group, int64(h.group))
			}
			at++
		}
		if n < headSize || offset+int64(n) == length {
			break
		}
		offset += int64(n - headSize + 1)
	}
	return result, nil
}

// scan calls f for each record, around damage.
func (s *segment) scan(offset int64, f func(h head, offset int64) error) error {
	w := window{file: s.file, length: s.size}
	for offset < s.size {
		h, _, err := w.record(offset, s.salt)
		switch {
		case errors.Is(err, ErrDamaged) && h.kind == 0:
			later, err := s.searchHeads(offset+1, s.size)
			if err != nil {
				return err
			}
			offset = later.first
			continue
		case err != nil && !errors.Is(err, ErrDamaged):
			return err
		}
		if err := f(h, offset); err != nil {
			return err
		}
		offset += h.size()
	}
	return nil
}
