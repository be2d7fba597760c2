package queue

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"gateway/queue/spool"
	"gateway/session"
)

// States of a recipient.
const (
	stateWaiting   = "waiting"
	stateDelivered = "delivered"
	stateFailed    = "failed"
	stateExpired   = "expired"
)

// entry is a message as it is kept in memory. Its deliveries belong to the
// scheduler.
type entry = spool.Message[*delivery]

// envelope is what is kept of a message and never changes: the envelope part of its
// record, as JSON.
type envelope struct {
	From       string      `json:"from"`
	To         []forwarded `json:"to"`
	User       string      `json:"user,omitempty"`
	Conn       string      `json:"conn,omitempty"`
	Session    string      `json:"session,omitempty"`
	MessageID  string      `json:"message_id,omitempty"`
	Route      string      `json:"route,omitempty"` // of its own
	SMTPUTF8   bool        `json:"smtputf8,omitempty"`
	EightBit   bool        `json:"eight_bit,omitempty"`
	RequireTLS bool        `json:"require_tls,omitempty"`
	Ret        string      `json:"ret,omitempty"`
	EnvID      string      `json:"env_id,omitempty"`
	Size       int64       `json:"size"`
	Accepted   int64       `json:"accepted"` // microseconds since 1970, as all times here
}

type forwarded struct {
	Address string `json:"a"`
	Notify  string `json:"n,omitempty"`
	ORcpt   string `json:"o,omitempty"`
}

// status is what changes of a message: its state in the spool, as JSON. A message
// without one is as it was accepted.
type status struct {
	Held   bool       `json:"held,omitempty"`
	Warned bool       `json:"warned,omitempty"` // its sender was told of the delay
	To     []progress `json:"recipients"`       // one for each recipient
}

// progress is how far it is with one recipient.
type progress struct {
	State      string `json:"s,omitempty"` // "" is waiting
	Attempts   int    `json:"n,omitempty"`
	Attempted  int64  `json:"at,omitempty"`
	Next       int64  `json:"next,omitempty"` // 0 is at once
	Reply      string `json:"r,omitempty"`
	RemoteHost string `json:"h,omitempty"`
}

func (p progress) waiting() bool { return p.State == "" }

// message is a message with all that is known of it, read from disk.
type message struct {
	entry *entry
	envelope
	status
}

func (m *message) id() string { return m.entry.ID().String() }

func (m *message) accepted() time.Time { return fromMicros(m.Accepted) }

// waiting are the numbers of the recipients that wait.
func (m *message) waiting() (numbers []int) {
	for i, p := range m.status.To {
		if p.waiting() {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

// load reads a message. Errors: session.ErrNotExist if it is gone, spool.ErrDamaged.
func (q *Queue) load(e *entry) (*message, error) {
	m := &message{entry: e}
	raw, err := q.spool.Envelope(e)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &m.envelope); err != nil {
		return nil, fmt.Errorf("envelope of %s: %w: %w", e.ID(), spool.ErrDamaged, err)
	}
	return m, q.loadStatus(m)
}

// loadStatus reads what changes of m.
func (q *Queue) loadStatus(m *message) error {
	m.status = status{To: make([]progress, len(m.envelope.To))}
	raw, err := q.spool.State(m.entry)
	switch {
	case err != nil || raw == nil:
		return err
	case json.Unmarshal(raw, &m.status) != nil || len(m.status.To) != len(m.envelope.To):
		return fmt.Errorf("state of %s: %w", m.id(), spool.ErrDamaged)
	}
	return nil
}

// find returns the message of that id; session.ErrNotExist if there is none.
func (q *Queue) find(id string) (*entry, error) {
	if parsed, ok := spool.ParseID(id); ok {
		if e := q.spool.Get(parsed); e != nil {
			return e, nil
		}
	}
	return nil, fmt.Errorf("message %s: %w", id, session.ErrNotExist)
}

// encode is JSON of what always encodes.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// change does f to the state of a message and writes it, while nobody else does. An
// error of f is returned, and nothing is written.
func (q *Queue) change(id string, f func(m *message) error) error {
	e, err := q.find(id)
	if err != nil {
		return err
	}
	defer q.lock(e)()
	m, err := q.load(e)
	if err != nil {
		return err
	}
	return f(m)
}

// lock keeps others from changing the state of a message; the result ends it.
func (q *Queue) lock(e *entry) (unlock func()) {
	id := e.ID()
	l := &q.stripes[int(id[len(id)-1])%len(q.stripes)]
	l.Lock()
	return l.Unlock
}

// isDamaged reports whether an error is about a message that cannot be read.
func isDamaged(err error) bool { return errors.Is(err, spool.ErrDamaged) }

// isGone reports whether an error is about a message that was removed.
func isGone(err error) bool { return errors.Is(err, session.ErrNotExist) }

// nextOf is when the next of some recipients of m is to be tried.
func nextOf(m *message, numbers []int) int64 {
	least := slices.MinFunc(numbers, func(a, b int) int { return cmp.Compare(m.status.To[a].Next, m.status.To[b].Next) })
	return max(m.status.To[least].Next, m.Accepted)
}

// micros is how times are stored: microseconds since 1970.
func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(v int64) time.Time { return time.UnixMicro(v).UTC() }
