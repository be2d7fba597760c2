package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gateway/session"
)

// maxListed bounds List; the oldest come first.
const maxListed = 10000

// Item is a message in a list.
type Item struct {
	ID          string    `json:"id"`
	From        string    `json:"from"` // "" is the null reverse-path, of a bounce
	User        string    `json:"user,omitempty"`
	Route       string    `json:"route"`
	Size        int64     `json:"size"`
	Accepted    time.Time `json:"accepted"`
	Held        bool      `json:"held"`
	Attempts    int       `json:"attempts"`
	NextAttempt time.Time `json:"next_attempt"`
	To          []string  `json:"to"`              // recipients not yet served, the first 10
	Waiting     int       `json:"waiting"`         // how many there are
	Reply       string    `json:"reply,omitempty"` // the last one of a recipient that waits
}

// Recipient is the state of one recipient.
type Recipient struct {
	Address    string    `json:"address"`
	State      string    `json:"state"` // waiting, delivered, failed, expired
	Attempts   int       `json:"attempts"`
	Attempted  time.Time `json:"attempted,omitzero"` // last
	Reply      string    `json:"reply,omitempty"`    // last
	RemoteHost string    `json:"remote_host,omitempty"`
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
	Expires    time.Time   `json:"expires"`
	Recipients []Recipient `json:"recipients"`
	Header     string      `json:"header"`
}

// Len returns how many messages are in the queue, held ones included.
func (q *Queue) Len(ctx context.Context) (n int, err error) {
	err = q.db.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT count(*) FROM messages`).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("count the messages of the queue: %w", err)
	}
	return n, nil
}

// List returns what is in the queue, the oldest first, at most 10,000 messages.
func (q *Queue) List(ctx context.Context) (list []Item, err error) {
	err = q.db.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT m.id, m.sender, m.account, m.route, m.size, m.accepted, m.held, m.attempts, m.next_attempt,
			(SELECT count(*) FROM message_recipients r WHERE r.message = m.id AND r.state = $1),
			coalesce((SELECT r.reply FROM message_recipients r WHERE r.message = m.id AND r.state = $1 ORDER BY r.number LIMIT 1), '')
			FROM messages m ORDER BY m.id LIMIT $2`, stateWaiting, maxListed)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var i Item
			var accepted, next int64
			if err := rows.Scan(&i.ID, &i.From, &i.User, &i.Route, &i.Size, &accepted, &i.Held, &i.Attempts, &next, &i.Waiting, &i.Reply); err != nil {
				return err
			}
			i.Accepted, i.NextAttempt = fromMicros(accepted), fromMicros(next)
			i.Route = q.shownRoute(i.Route)
			i.To = []string{}
			list = append(list, i)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		return listRecipients(ctx, tx, list)
	})
	if err != nil {
		return nil, fmt.Errorf("list the queue: %w", err)
	}
	return list, nil
}

// maxListedRecipients is how many recipients an Item names.
const maxListedRecipients = 10

// listRecipients fills in whom the messages wait for.
func listRecipients(ctx context.Context, tx *sql.Tx, list []Item) error {
	byID := make(map[string]*Item, len(list))
	for i := range list {
		byID[list[i].ID] = &list[i]
	}
	rows, err := tx.QueryContext(ctx, `SELECT message, address FROM message_recipients WHERE state = $1 ORDER BY message, number`, stateWaiting)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, address string
		if err := rows.Scan(&id, &address); err != nil {
			return err
		}
		if i := byID[id]; i != nil && len(i.To) < maxListedRecipients {
			i.To = append(i.To, address)
		}
	}
	return rows.Err()
}

// Show returns one message; session.ErrNotExist if there is none of that id.
func (q *Queue) Show(ctx context.Context, id string) (Detail, error) {
	m, err := q.load(ctx, id)
	if err != nil {
		return Detail{}, err
	}
	d := Detail{
		Item: Item{
			ID: m.id, From: m.from, User: m.account, Route: q.shownRoute(m.route), Size: m.size, Accepted: m.accepted,
			Held: m.held, Attempts: m.attempts, NextAttempt: m.next,
		},
		Conn: m.conn, Session: m.session, MessageID: m.messageID, SMTPUTF8: m.smtputf8, Expires: m.accepted.Add(q.cfg.Expire),
	}
	for _, r := range m.recipients {
		if r.State == stateWaiting {
			if len(d.To) < maxListedRecipients {
				d.To = append(d.To, r.Address)
			}
			d.Waiting++
			d.Reply = r.Reply
		}
		d.Recipients = append(d.Recipients, r.Recipient)
	}
	h, err := q.header(ctx, m)
	if err != nil && !errors.Is(err, errContent) {
		return Detail{}, fmt.Errorf("show message %s: %w", id, err)
	}
	d.Header = string(h.raw)
	return d, nil
}

// shownRoute names the default route for a message without one of its own.
func (q *Queue) shownRoute(s string) string {
	if s == "" {
		return q.cfg.DefaultRoute.String()
	}
	return s
}

// Hold keeps a message from being delivered until Release. An attempt that is
// under way goes on. It does not stop the clock: one that is held for longer than
// Config.Expire has a single attempt left.
func (q *Queue) Hold(ctx context.Context, id string) error {
	return q.change(ctx, "hold", id, `UPDATE messages SET held = 1 WHERE id = $1`, id)
}

// Release ends Hold, and lets the message be tried at once.
func (q *Queue) Release(ctx context.Context, id string) error {
	return q.change(ctx, "release", id, `UPDATE messages SET held = 0, next_attempt = $2 WHERE id = $1`, id, micros(q.now()))
}

// Retry lets a message be tried now. One that is held stays so.
func (q *Queue) Retry(ctx context.Context, id string) error {
	return q.change(ctx, "retry", id, `UPDATE messages SET next_attempt = $2 WHERE id = $1`, id, micros(q.now()))
}

// Remove forgets a message. Nobody gets a bounce; the caller records who did it.
// An attempt that is under way goes on.
func (q *Queue) Remove(ctx context.Context, id string) error {
	if err := q.change(ctx, "remove", id, `DELETE FROM messages WHERE id = $1`, id); err != nil {
		return err
	}
	if validID(id) {
		q.removeFile(id)
	}
	return nil
}

func (q *Queue) change(ctx context.Context, verb, id, query string, args ...any) error {
	err := q.db.Write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			if err == nil {
				err = session.ErrNotExist
			}
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s message %s: %w", verb, id, err)
	}
	q.rouse()
	return nil
}
