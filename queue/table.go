package queue

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gateway/session"
)

// States of a recipient.
const (
	stateWaiting   = "waiting"
	stateDelivered = "delivered"
	stateFailed    = "failed"
	stateExpired   = "expired"
)

// message is a row of messages, with its recipients.
type message struct {
	id, from, account, conn, session, messageID, route string

	smtputf8, eightBit, inFile, held bool

	size           int64
	accepted, next time.Time
	attempts       int
	recipients     []recipient
	content        []byte // set for insert only, if not in a file
}

// recipient is a row of message_recipients.
type recipient struct {
	number int
	Recipient
}

// insert is the commit of a message.
func (q *Queue) insert(ctx context.Context, m message) error {
	return q.db.Write(ctx, func(tx *sql.Tx) error { return insertMessage(ctx, tx, m) })
}

func insertMessage(ctx context.Context, tx *sql.Tx, m message) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO messages
		(id, sender, account, conn, session, message_id, route, smtputf8, eight_bit, size, in_file, accepted, next_attempt, held)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		m.id, m.from, m.account, m.conn, m.session, m.messageID, m.route, number(m.smtputf8), number(m.eightBit),
		m.size, number(m.inFile), micros(m.accepted), micros(m.next), number(m.held))
	if err != nil {
		return fmt.Errorf("insert message: %w", err)
	}
	if !m.inFile {
		content := m.content
		if content == nil {
			content = []byte{} // nil would be NULL
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO message_contents (message, content) VALUES ($1, $2)`, m.id, content)
		if err != nil {
			return fmt.Errorf("insert content: %w", err)
		}
	}
	for _, r := range m.recipients {
		_, err = tx.ExecContext(ctx, `INSERT INTO message_recipients (message, number, address) VALUES ($1, $2, $3)`,
			m.id, r.number, r.Address)
		if err != nil {
			return fmt.Errorf("insert recipient: %w", err)
		}
	}
	return nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (q *Queue) exists(ctx context.Context, id string) (found bool, err error) {
	err = q.db.Read(ctx, func(tx *sql.Tx) error {
		found, err = existsIn(ctx, tx, id)
		return err
	})
	return found, err
}

func existsIn(ctx context.Context, tx *sql.Tx, id string) (bool, error) {
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM messages WHERE id = $1`, id).Scan(&n); err != nil {
		return false, fmt.Errorf("look for message %s: %w", id, err)
	}
	return n > 0, nil
}

// load reads a message with all its recipients; session.ErrNotExist if there is
// none.
func (q *Queue) load(ctx context.Context, id string) (m message, err error) {
	err = q.db.Read(ctx, func(tx *sql.Tx) error {
		var accepted, next int64
		err := tx.QueryRowContext(ctx, `SELECT id, sender, account, conn, session, message_id, route, smtputf8, eight_bit,
			size, in_file, accepted, held, attempts, next_attempt FROM messages WHERE id = $1`, id).
			Scan(&m.id, &m.from, &m.account, &m.conn, &m.session, &m.messageID, &m.route, &m.smtputf8, &m.eightBit,
				&m.size, &m.inFile, &accepted, &m.held, &m.attempts, &next)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("message %s: %w", id, session.ErrNotExist)
		}
		if err != nil {
			return fmt.Errorf("message %s: %w", id, err)
		}
		m.accepted, m.next = fromMicros(accepted), fromMicros(next)
		m.recipients, err = loadRecipients(ctx, tx, id)
		return err
	})
	return m, err
}

func loadRecipients(ctx context.Context, tx *sql.Tx, id string) (list []recipient, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT number, address, state, attempts, attempted, reply, remote_host
		FROM message_recipients WHERE message = $1 ORDER BY number`, id)
	if err != nil {
		return nil, fmt.Errorf("recipients of %s: %w", id, err)
	}
	defer rows.Close()
	for rows.Next() {
		var r recipient
		var attempted int64
		if err := rows.Scan(&r.number, &r.Address, &r.State, &r.Attempts, &attempted, &r.Reply, &r.RemoteHost); err != nil {
			return nil, fmt.Errorf("recipients of %s: %w", id, err)
		}
		if attempted != 0 {
			r.Attempted = fromMicros(attempted)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// loadContent reads a content that is kept in the store.
func (q *Queue) loadContent(ctx context.Context, id string) (content []byte, err error) {
	err = q.db.Read(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT content FROM message_contents WHERE message = $1`, id).Scan(&content)
		if errors.Is(err, sql.ErrNoRows) {
			return session.ErrNotExist
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("content of %s: %w", id, err)
	}
	return content, nil
}

// due is a message whose time has come.
type due struct {
	id, route string
	next      int64 // when it was to be tried
}

// findDue lists the messages that are due at now, the longest waiting first,
// without those of some routes. It looks at each route by itself, so that the
// backlog of one that is full costs nothing.
func (q *Queue) findDue(ctx context.Context, now time.Time, without []string, limit int) (list []due, err error) {
	err = q.db.Read(ctx, func(tx *sql.Tx) error {
		routes, err := waitingRoutes(ctx, tx)
		if err != nil {
			return err
		}
		for _, route := range routes {
			if slices.Contains(without, route) {
				continue
			}
			if list, err = appendDue(ctx, tx, list, route, now, limit); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find mail that is due: %w", err)
	}
	slices.SortStableFunc(list, func(a, b due) int { return cmp.Compare(a.next, b.next) })
	return list[:min(len(list), limit)], nil
}

// waitingRoutes lists the routes by which mail waits, one step in the index each.
func waitingRoutes(ctx context.Context, tx *sql.Tx) (routes []string, err error) {
	rows, err := tx.QueryContext(ctx, `WITH RECURSIVE waiting (route) AS (
			SELECT min(route) FROM messages WHERE held = 0
			UNION ALL
			SELECT (SELECT min(m.route) FROM messages m WHERE m.held = 0 AND m.route > waiting.route)
			FROM waiting WHERE waiting.route IS NOT NULL)
		SELECT route FROM waiting WHERE route IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var route string
		if err := rows.Scan(&route); err != nil {
			return nil, err
		}
		routes = append(routes, route)
	}
	return routes, rows.Err()
}

// appendDue adds the messages of one route that are due.
func appendDue(ctx context.Context, tx *sql.Tx, list []due, route string, now time.Time, limit int) ([]due, error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, next_attempt FROM messages
		WHERE held = 0 AND route = $1 AND next_attempt <= $2 ORDER BY next_attempt LIMIT $3`, route, micros(now), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		d := due{route: route}
		if err := rows.Scan(&d.id, &d.next); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, rows.Err()
}

// nextDue is when the first message after now is due; ok is false if none is.
func (q *Queue) nextDue(ctx context.Context, now time.Time) (at time.Time, ok bool, err error) {
	var v sql.NullInt64
	err = q.db.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT min(next_attempt) FROM messages WHERE held = 0 AND next_attempt > $1`, micros(now)).Scan(&v)
	})
	if err != nil {
		return time.Time{}, false, fmt.Errorf("find the next attempt: %w", err)
	}
	return fromMicros(v.Int64), v.Valid, nil
}

// settle writes the results of an attempt, and the bounce that follows from
// them, in one transaction. The message goes once nobody waits for it; gone says
// so. One that was removed meanwhile is left alone.
func (q *Queue) settle(ctx context.Context, m message, results []recipient, next time.Time, bounce *message) (gone bool, err error) {
	err = q.db.Write(ctx, func(tx *sql.Tx) error {
		gone = false
		if found, err := existsIn(ctx, tx, m.id); err != nil || !found {
			return err
		}
		for _, r := range results {
			_, err := tx.ExecContext(ctx, `UPDATE message_recipients SET state = $1, attempts = $2, attempted = $3, reply = $4, remote_host = $5
				WHERE message = $6 AND number = $7`, r.State, r.Attempts, micros(r.Attempted), r.Reply, r.RemoteHost, m.id, r.number)
			if err != nil {
				return fmt.Errorf("result of %s: %w", m.id, err)
			}
		}
		if bounce != nil {
			if err := insertMessage(ctx, tx, *bounce); err != nil {
				return err
			}
		}
		var waiting int
		err := tx.QueryRowContext(ctx, `SELECT count(*) FROM message_recipients WHERE message = $1 AND state = $2`, m.id, stateWaiting).Scan(&waiting)
		if err != nil {
			return fmt.Errorf("recipients of %s: %w", m.id, err)
		}
		if waiting == 0 {
			gone = true
			_, err = tx.ExecContext(ctx, `DELETE FROM messages WHERE id = $1`, m.id)
		} else {
			_, err = tx.ExecContext(ctx, `UPDATE messages SET attempts = $1, next_attempt = $2 WHERE id = $3`, m.attempts+1, micros(next), m.id)
		}
		if err != nil {
			return fmt.Errorf("result of %s: %w", m.id, err)
		}
		return nil
	})
	return gone, err
}

// removeFile removes the content file of a message that is no more. If that
// fails the next Open does it.
func (q *Queue) removeFile(id string) {
	if err := os.Remove(filepath.Join(q.cfg.Dir, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		q.cfg.Log.Warn("content not removed", "id", id, "err", err)
	}
}
