package queue

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"gateway/queue/spool"
	"gateway/session"
)

// Item is a message in a list.
type Item struct {
	ID          string    `json:"id"`
	From        string    `json:"from"` // "" is the null reverse-path, of a bounce
	User        string    `json:"user,omitempty"`
	Route       string    `json:"route"` // of the first recipient that waits
	Size        int64     `json:"size"`
	Accepted    time.Time `json:"accepted"`
	Held        bool      `json:"held"`
	Attempts    int       `json:"attempts"` // the most that one recipient had
	NextAttempt time.Time `json:"next_attempt"`
	To          []string  `json:"to"`              // recipients not yet served, the first 10
	Waiting     int       `json:"waiting"`         // how many there are
	Reply       string    `json:"reply,omitempty"` // the last one of a recipient that waits
	Damaged     bool      `json:"damaged,omitempty"`
}

// Recipient is the state of one recipient.
type Recipient struct {
	Address    string    `json:"address"`
	State      string    `json:"state"` // waiting, delivered, failed, expired
	Route      string    `json:"route,omitempty"`
	Attempts   int       `json:"attempts"`
	Attempted  time.Time `json:"attempted,omitzero"` // last
	Next       time.Time `json:"next_attempt,omitzero"`
	Reply      string    `json:"reply,omitempty"` // last
	RemoteHost string    `json:"remote_host,omitempty"`
	Notify     string    `json:"notify,omitempty"`
}

// Detail is all that is known of a message. Header is the beginning of its
// content, as it was sent: mind what prints it. It is empty if the content is
// damaged; the Reply says so.
type Detail struct {
	Item
	Conn       string      `json:"conn,omitempty"`
	Session    string      `json:"session,omitempty"`
	MessageID  string      `json:"message_id,omitempty"`
	SMTPUTF8   bool        `json:"smtputf8"`
	RequireTLS bool        `json:"require_tls"`
	EnvID      string      `json:"envelope_id,omitempty"`
	Warned     bool        `json:"warned"` // its sender was told that it is delayed
	Expires    time.Time   `json:"expires"`
	Recipients []Recipient `json:"recipients"`
	Header     string      `json:"header"`
}

// Len returns how many messages are in the queue, held ones included.
func (q *Queue) Len() int { return q.spool.Len() }

// Syncs is how often the queue had something put on stable storage since Open.
func (q *Queue) Syncs() int64 { return q.spool.Syncs() }

// maxListedRecipients is how many recipients an Item names.
const maxListedRecipients = 10

// maxPage bounds a page of List.
const maxPage = 1000

// Page is a part of a list, the oldest messages first.
type Page struct {
	Items []Item `json:"items"`
	// Next is where the next page begins: the last id that was looked at. "" is that
	// this was the last page.
	Next string `json:"next,omitempty"`
}

// List returns the messages that a filter matches, of the next 1,000 whose ids come
// after that one; "" begins with the oldest. A page may be empty and not the last.
func (q *Queue) List(ctx context.Context, f Filter, after string) (Page, error) {
	from, ok := spool.ParseID(after)
	if after != "" && !ok {
		return Page{}, fmt.Errorf("list the queue after %q: %w", after, session.ErrNotExist)
	}
	list := q.spool.After(from, maxPage)
	page := Page{Items: []Item{}}
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return Page{}, err
		}
		m, err := q.load(e)
		switch {
		case isDamaged(err):
			m = &message{entry: e}
		case isGone(err):
			continue
		case err != nil:
			return Page{}, fmt.Errorf("list the queue: %w", err)
		}
		item := q.item(m)
		item.Damaged = err != nil
		if f.matches(q, m, item) {
			page.Items = append(page.Items, item)
		}
	}
	if len(list) == maxPage {
		page.Next = list[len(list)-1].ID().String()
	}
	return page, nil
}

// item is a message as a list has it.
func (q *Queue) item(m *message) Item {
	i := Item{
		ID: m.id(), From: m.From, User: m.User, Route: m.Route, Size: m.Size, Accepted: m.accepted(), Held: m.Held,
		NextAttempt: m.accepted(), To: []string{},
	}
	for _, p := range m.status.To {
		i.Attempts = max(i.Attempts, p.Attempts)
	}
	waiting := m.waiting()
	if i.Waiting = len(waiting); i.Waiting == 0 {
		return i
	}
	i.NextAttempt = fromMicros(nextOf(m, waiting))
	i.Route = q.keyOf(m, waiting[0]).route.String()
	for _, n := range waiting {
		if len(i.To) < maxListedRecipients {
			i.To = append(i.To, m.envelope.To[n].Address)
		}
		i.Reply = cmp.Or(i.Reply, m.status.To[n].Reply)
	}
	return i
}

// Show returns one message; session.ErrNotExist if there is none of that id.
func (q *Queue) Show(_ context.Context, id string) (Detail, error) {
	e, err := q.find(id)
	if err != nil {
		return Detail{}, err
	}
	m, err := q.load(e)
	if err != nil {
		return Detail{}, fmt.Errorf("show message %s: %w", id, err)
	}
	d := Detail{
		Item: q.item(m), Conn: m.Conn, Session: m.Session, MessageID: m.MessageID, SMTPUTF8: m.SMTPUTF8, RequireTLS: m.RequireTLS,
		EnvID: m.EnvID, Warned: m.Warned, Expires: m.accepted().Add(q.cfg.Expire),
	}
	for n, to := range m.envelope.To {
		d.Recipients = append(d.Recipients, q.recipient(m, n, to))
	}
	h, err := q.header(m)
	if err != nil && !isDamaged(err) {
		return Detail{}, fmt.Errorf("show message %s: %w", id, err)
	}
	d.Header = string(h.raw)
	return d, nil
}

func (q *Queue) recipient(m *message, n int, to forwarded) Recipient {
	p := m.status.To[n]
	r := Recipient{
		Address: to.Address, State: cmp.Or(p.State, stateWaiting), Route: q.keyOf(m, n).route.String(),
		Attempts: p.Attempts, Reply: p.Reply, RemoteHost: p.RemoteHost, Notify: to.Notify,
	}
	if p.Attempted != 0 {
		r.Attempted = fromMicros(p.Attempted)
	}
	if p.waiting() {
		r.Next = fromMicros(max(p.Next, m.Accepted))
	}
	return r
}

// Hold keeps a message from being delivered until Release. An attempt that is
// under way goes on. It does not stop the clock: one that is held for longer than
// Config.Expire has a single attempt left.
func (q *Queue) Hold(ctx context.Context, id string) error {
	return q.alter(ctx, id, false, func(m *message) { m.Held = true })
}

// Release ends Hold, and lets the message be tried at once.
func (q *Queue) Release(ctx context.Context, id string) error {
	return q.alter(ctx, id, true, func(m *message) { m.Held = false })
}

// Retry lets a message be tried now, also by a destination that is backed off from.
// One that is held stays so.
func (q *Queue) Retry(ctx context.Context, id string) error {
	return q.alter(ctx, id, true, func(*message) {})
}

// alter changes the state of a message, on disk and for the scheduler. With now, it
// is due at once.
func (q *Queue) alter(ctx context.Context, id string, now bool, f func(m *message)) error {
	return q.change(id, func(m *message) error {
		f(m)
		for _, n := range m.waiting() {
			if now {
				m.status.To[n].Next = micros(q.now())
			}
		}
		var batch spool.Batch[*delivery]
		batch.SetState(m.entry, encode(m.status))
		if err := q.spool.Commit(ctx, &batch); err != nil {
			return err
		}
		q.mu.Lock()
		for d := m.entry.Value; d != nil; d = d.sibling {
			q.reschedule(d, m.Held, now)
		}
		q.mu.Unlock()
		q.rouse()
		return nil
	})
}

// reschedule makes the scheduler know a change. The caller holds the lock.
func (q *Queue) reschedule(d *delivery, held, now bool) {
	d.held = held
	if held {
		q.schedule.remove(d)
		return
	}
	if now {
		d.next = micros(q.now())
		d.to.until = 0
	}
	q.schedule.add(d)
}

// Remove forgets a message. Nobody gets a bounce; the caller records who did it.
// An attempt that is under way goes on.
func (q *Queue) Remove(ctx context.Context, id string) error {
	e, err := q.find(id)
	if err != nil {
		return err
	}
	defer q.lock(e)()
	var batch spool.Batch[*delivery]
	batch.Remove(e)
	if err := q.spool.Commit(ctx, &batch); err != nil {
		return fmt.Errorf("remove message %s: %w", id, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for d := e.Value; d != nil; d = d.sibling {
		d.over = true
		q.schedule.remove(d)
	}
	return nil
}
