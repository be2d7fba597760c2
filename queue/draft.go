package queue

import (
	"context"
	"fmt"
	"time"

	"gateway/queue/spool"
	"gateway/session"
)

// maxInline is the largest content that is kept in the log; a larger one is a file.
const maxInline = 128 << 10

// Draft is a message while its content arrives. It is used by one goroutine and
// ends with Commit or Discard.
type Draft struct {
	queue    *Queue
	id       spool.ID
	buffer   *[]byte
	file     *spool.File // nil while the content is small
	size     int64
	eightBit bool
	err      error // why writing failed; it stays
	over     bool
}

// Draft begins a message.
func (q *Queue) Draft() *Draft {
	buffer, ok := q.buffers.Get().(*[]byte)
	if !ok {
		buffer = new([]byte)
	}
	return &Draft{queue: q, id: spool.NewID(q.now()), buffer: buffer}
}

// ID is the queue id that the message will have.
func (d *Draft) ID() string { return d.id.String() }

// Size is how many bytes were written.
func (d *Draft) Size() int64 { return d.size }

// Write adds to the content, which is kept as it is, byte by byte. An error is
// final; session.ErrNoSpace means that the disk is full.
func (d *Draft) Write(p []byte) (int, error) {
	if d.over {
		return 0, fmt.Errorf("write content: %w", session.ErrClosed)
	}
	if d.err != nil {
		return 0, d.err
	}
	if d.file == nil && len(*d.buffer)+len(p) > maxInline {
		d.spill()
	}
	if d.err == nil && d.file != nil {
		_, d.err = d.file.Write(p)
	} else if d.err == nil {
		*d.buffer = append(*d.buffer, p...)
	}
	if d.err != nil {
		return 0, d.err
	}
	d.size += int64(len(p))
	d.eightBit = d.eightBit || !ascii7(p)
	return len(p), nil
}

// spill moves the content to a file.
func (d *Draft) spill() {
	if d.file, d.err = d.queue.spool.File(d.id); d.err != nil {
		return
	}
	_, d.err = d.file.Write(*d.buffer)
	*d.buffer = (*d.buffer)[:0]
}

// Commit puts the message into the queue and returns its id. It returns nil only
// when content and envelope are on stable storage; from then on the queue answers
// for it. On an error the message is not in the queue, save that of an envelope
// whose fate the disk did not tell. The draft is over in any case.
//
// Errors: ErrEnvelope, ErrRoute, ErrNoRoute, session.ErrNoSpace,
// session.ErrUnavailable, or what ended the Write.
func (d *Draft) Commit(ctx context.Context, e Envelope) (string, error) {
	defer d.Discard()
	switch {
	case d.over:
		return "", fmt.Errorf("commit message: %w", session.ErrClosed)
	case d.err != nil:
		return "", d.err
	}
	route, err := d.queue.checkEnvelope(e)
	if err != nil {
		return "", err
	}
	e.Route = route
	if err := d.queue.spool.Room(); err != nil {
		return "", err
	}
	var batch spool.Batch[*delivery]
	added, err := d.addTo(&batch, e, d.queue.now())
	if err != nil {
		return "", err
	}
	if err := d.queue.spool.Commit(ctx, &batch); err != nil {
		return "", fmt.Errorf("commit message: %w", err)
	}
	d.queue.enter(added.Value)
	return d.ID(), nil
}

// addTo adds the message to a batch. Once that is committed, the deliveries that are
// its Value are to be entered.
func (d *Draft) addTo(batch *spool.Batch[*delivery], e Envelope, now time.Time) (*entry, error) {
	if d.file != nil {
		if err := d.file.Publish(); err != nil {
			return nil, err
		}
	}
	m := &message{envelope: envelope{
		From: e.From, User: e.User, Conn: e.Conn, Session: e.Session, MessageID: e.MessageID, Route: e.Route,
		SMTPUTF8: e.SMTPUTF8, EightBit: d.eightBit || !ascii(e.Header), RequireTLS: e.RequireTLS, Ret: e.Ret, EnvID: e.EnvID,
		Size: d.size + int64(len(e.Header)), Accepted: micros(now),
	}}
	for _, to := range e.To {
		m.envelope.To = append(m.envelope.To, forwarded(to))
	}
	m.status = status{Held: e.Hold, To: make([]progress, len(e.To))}
	m.entry = batch.Add(d.id, encode(m.envelope), d.file, []byte(e.Header), *d.buffer)
	if e.Hold {
		batch.SetState(m.entry, encode(m.status))
	}
	m.entry.Value = d.queue.plan(m)
	return m.entry, nil
}

// Discard forgets the message. After Commit, or a second time, it does nothing.
func (d *Draft) Discard() {
	if d.over {
		return
	}
	d.over = true
	*d.buffer = (*d.buffer)[:0]
	d.queue.buffers.Put(d.buffer)
	d.buffer = nil
	if d.file != nil {
		d.file.Discard()
	}
}
