package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"gateway/session"
)

// ErrExists is a message whose id is taken.
var ErrExists = errors.New("message exists already")

// A Batch is changes that hold all together or not at all. The zero Batch is none.
type Batch[T any] struct {
	records []record[T]
}

// record is one change, and how it is written.
type record[T any] struct {
	kind     kind
	flags    uint8
	id       ID
	message  *Message[T]
	envelope []byte
	content  [][]byte
	sums     [2]uint32
	file     *File
	// from is where a copy is made from: it is not made if the message has moved or
	// gone.
	from place
}

func (r *record[T]) size() int64 {
	n := int64(headSize + len(r.envelope))
	for _, c := range r.content {
		n += int64(len(c))
	}
	return n
}

// head is the record's head for a write that begins at group.
func (r *record[T]) head(group int64) head {
	h := head{kind: r.kind, flags: r.flags, id: r.id, group: uint32(group), envelope: uint32(len(r.envelope)), sums: r.sums}
	h.content = uint32(r.size() - headSize - int64(h.envelope))
	return h
}

// Add adds a message with that envelope and that content, part after part. If file
// is not nil, the content goes on in it; it must be published. The parts must not
// change before Commit returns. The Message that is returned can be found from then
// on; its Value may be set before.
func (b *Batch[T]) Add(id ID, envelope []byte, file *File, content ...[]byte) *Message[T] {
	m := &Message[T]{id: id}
	r := record[T]{kind: kindMessage, id: id, message: m, envelope: envelope, content: content, file: file}
	if file != nil {
		r.flags, m.flags = flagFile, inFile
	}
	r.sums = [2]uint32{sum(envelope), sum(content...)}
	b.records = append(b.records, r)
	return m
}

// SetState replaces the state of m.
func (b *Batch[T]) SetState(m *Message[T], state []byte) {
	b.records = append(b.records, record[T]{
		kind: kindState, id: m.id, message: m, envelope: state, sums: [2]uint32{sum(state), sum()},
	})
}

// Remove removes m.
func (b *Batch[T]) Remove(m *Message[T]) {
	b.records = append(b.records, record[T]{kind: kindRemoved, id: m.id, message: m})
}

// request is a batch on its way to the writer.
type request[T any] struct {
	records []record[T]
	size    int64
	copied  bool // from another segment, to be able to remove that
	done    chan error
}

// Commit returns nil once the changes are on stable storage. If ctx is done before
// their turn comes they are not made; later it has no effect.
//
// Errors: session.ErrNotExist for a message that is gone, ErrExists,
// session.ErrNoSpace, session.ErrClosed, or what the disk says. Then none of them
// holds, save that after a failed sync the next Open may find them.
func (s *Spool[T]) Commit(ctx context.Context, b *Batch[T]) error {
	err := s.commit(ctx, &request[T]{records: b.records})
	for i := range b.records {
		r := &b.records[i]
		switch {
		case r.file != nil && (err == nil || errors.Is(err, errSync)):
			r.file.keep() // after a failed sync the next Open decides
		case err == nil && r.kind == kindRemoved && r.message.flags&inFile != 0:
			s.removeFile(r.id)
		}
	}
	return err
}

func (s *Spool[T]) commit(ctx context.Context, r *request[T]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range r.records {
		if i < len(r.records)-1 {
			r.records[i].flags |= flagMore
		}
		if n := r.records[i].size(); n > maxPart {
			return fmt.Errorf("spool: a record of %d bytes is too long", n)
		}
		r.size += r.records[i].size()
	}
	r.done = make(chan error, 1)
	select {
	case <-s.closing:
		return session.ErrClosed
	default:
	}
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return session.ErrClosed
	}
	select {
	case err := <-r.done:
		return err
	case <-s.stopped:
		select {
		case err := <-r.done:
			return err
		default:
			return session.ErrClosed // it came too late for the writer's last look
		}
	}
}

// removeFile removes the file of a message that is no more. If that fails the next
// Open does it.
func (s *Spool[T]) removeFile(id ID) {
	if err := os.Remove(filepath.Join(s.cfg.Dir, id.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.cfg.Log.Warn("content not removed", "id", id, "err", err)
	}
}

// admit checks the changes of a request against what there is and what is about to
// be. The caller holds the lock. After an error nothing is changed.
func (s *Spool[T]) admit(r *request[T]) error {
	for i := range r.records {
		c := &r.records[i]
		if err := s.admitOne(c); err != nil {
			s.dismiss(r.records[:i])
			return fmt.Errorf("message %s: %w", c.id, err)
		}
	}
	return nil
}

func (s *Spool[T]) admitOne(c *record[T]) error {
	m := c.message
	switch {
	case c.from.segment != 0: // a copy; the cleaner knows
		if m.flags&(gone|leaving) != 0 || !slices.Contains([]place{m.at, m.state}, c.from) {
			return errMoved
		}
	case c.kind == kindMessage:
		if s.index.get(m.id) != nil {
			return ErrExists
		}
		m.flags = m.flags&inFile | pending // it may have been tried before, in vain
		s.index.insert(m)
	case m == nil: // the copy of a removal
	case m.flags&(gone|leaving) != 0, m.flags&pending != 0 && c.kind == kindRemoved:
		return session.ErrNotExist
	case c.kind == kindRemoved:
		m.flags |= leaving
		// The segment that must go before this removal may.
		c.envelope = appendNumber(nil, m.at.segment)
		c.sums[0] = sum(c.envelope)
	}
	return nil
}

// dismiss takes back what admit did for some records.
func (s *Spool[T]) dismiss(records []record[T]) {
	for i := range records {
		c := &records[i]
		switch {
		case c.from.segment != 0 || c.message == nil:
		case c.kind == kindMessage:
			s.index.remove(c.message)
		case c.kind == kindRemoved:
			c.message.flags &^= leaving
		}
	}
}
