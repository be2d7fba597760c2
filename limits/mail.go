package limits

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"gateway/session"
	"gateway/store"
)

const (
	// mailSaveTime is how long counts are kept in memory only: who crashes within it
	// has counted so much less.
	mailSaveTime = 10 * time.Second
	// maxKnownRecipients is how many recipients are remembered of one account. Further
	// ones are new each time.
	maxKnownRecipients = 100_000

	mailKeyName  = "mail-recipients"
	mailKeyBytes = 32
)

// Mail counts what accounts send, by the hour and the day of the clock in UTC, and
// to whom. It is kept in the store, so that neither a restart nor a crash begins
// anew. Only what an account has a limit on is counted.
type Mail struct {
	db  *store.DB
	key []byte // of the hash under which recipients are remembered
	log *slog.Logger

	mu      sync.Mutex
	senders map[string]*sender // by the account's name
	timer   *time.Timer        // set while something is not saved
	closed  bool

	saving sync.Mutex
}

// sender is what is counted of one account.
type sender struct {
	hour, day span
	known     map[int64]struct{}   // to whom it has written; nil until that is needed
	unsaved   map[int64]struct{}   // those of them that the store does not have
	warned    map[string]time.Time // of which limit, until when it holds
	changed   bool
}

// span is an hour or a day.
type span struct {
	began                       time.Time
	messages, recipients, fresh int64
}

// at begins the span anew if it is over.
func (s *span) at(now time.Time, length time.Duration) {
	if began := now.UTC().Truncate(length); !s.began.Equal(began) {
		*s = span{began: began}
	}
}

func (s *span) add(messages, recipients, fresh int64) {
	s.messages += messages
	s.recipients += recipients
	s.fresh += fresh
}

const day = 24 * time.Hour

var _ session.MailCounter = (*Mail)(nil)

// OpenMail reads the counts from db, which must stay open for as long as they are
// used.
func OpenMail(ctx context.Context, db *store.DB, log *slog.Logger) (*Mail, error) {
	if log == nil {
		log = slog.Default()
	}
	m := &Mail{db: db, log: log, senders: make(map[string]*sender)}
	var err error
	if m.key, err = db.Secret(ctx, mailKeyName, mailKeyBytes); err != nil {
		return nil, fmt.Errorf("count mail: %w", err)
	}
	err = db.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT account, span, began, messages, recipients, fresh FROM mail_counts`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var account, kind string
			var began int64
			var s span
			if err := rows.Scan(&account, &kind, &began, &s.messages, &s.recipients, &s.fresh); err != nil {
				return err
			}
			s.began = time.UnixMicro(began).UTC()
			if kind == "hour" {
				m.sender(account).hour = s
			} else {
				m.sender(account).day = s
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("count mail: %w", err)
	}
	return m, nil
}

// sender is what is counted of an account; m.mu is held, or nobody has m yet.
func (m *Mail) sender(account string) *sender {
	s := m.senders[account]
	if s == nil {
		s = &sender{}
		m.senders[account] = s
	}
	return s
}

// Room implements session.MailCounter.
func (m *Mail) Room(user string, l session.MailLimits, to []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, fresh, err := m.look(user, l, to)
	if err != nil {
		return err
	}
	return s.room(l, int64(len(to)), int64(len(fresh)))
}

// Take implements session.MailCounter.
func (m *Mail) Take(user string, l session.MailLimits, to []string) (giveBack func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, fresh, err := m.look(user, l, to)
	if err != nil {
		return nil, err
	}
	recipients, strangers := int64(len(to)), int64(len(fresh))
	if err := s.room(l, recipients, strangers); err != nil {
		return nil, err
	}
	s.hour.add(1, recipients, strangers)
	s.day.add(1, recipients, strangers)
	for r := range fresh {
		if len(s.known) < maxKnownRecipients {
			s.known[r], s.unsaved[r] = struct{}{}, struct{}{}
		}
	}
	m.touch(s)
	hour, today := s.hour.began, s.day.began
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if s.hour.began.Equal(hour) {
			s.hour.add(-1, -recipients, -strangers)
		}
		if s.day.began.Equal(today) {
			s.day.add(-1, -recipients, -strangers)
		}
		for r := range fresh {
			if _, stored := s.unsaved[r]; stored { // what is on disk stays: it was nearly sent
				delete(s.known, r)
				delete(s.unsaved, r)
			}
		}
		m.touch(s)
	}, nil
}

// look returns the counts of user as of now, and which of to are new to them, where
// that matters.
func (m *Mail) look(user string, l session.MailLimits, to []string) (*sender, map[int64]struct{}, error) {
	s, now := m.sender(user), time.Now()
	s.hour.at(now, time.Hour)
	s.day.at(now, day)
	if l.NewRecipientsPerDay == 0 {
		return s, nil, nil
	}
	if s.known == nil {
		if err := m.loadKnown(user, s); err != nil {
			return nil, nil, fmt.Errorf("%w: recipients of the account: %w", session.ErrUnavailable, err)
		}
	}
	fresh := make(map[int64]struct{})
	for _, address := range to {
		r := m.hash(address)
		if _, known := s.known[r]; !known {
			fresh[r] = struct{}{}
		}
	}
	return s, fresh, nil
}

// room says which limit one more message would exceed.
func (s *sender) room(l session.MailLimits, recipients, fresh int64) error {
	for _, c := range []struct {
		limit, would int64
		span         *span
		length       time.Duration
		what         string
	}{
		{l.MessagesPerHour, s.hour.messages + 1, &s.hour, time.Hour, "messages an hour"},
		{l.MessagesPerDay, s.day.messages + 1, &s.day, day, "messages a day"},
		{l.RecipientsPerHour, s.hour.recipients + recipients, &s.hour, time.Hour, "recipients an hour"},
		{l.RecipientsPerDay, s.day.recipients + recipients, &s.day, day, "recipients a day"},
		{l.NewRecipientsPerDay, s.day.fresh + fresh, &s.day, day, "new recipients a day"},
	} {
		if c.limit == 0 || c.would <= c.limit {
			continue
		}
		err := &session.LimitError{What: fmt.Sprintf("%d %s", c.limit, c.what), Until: c.span.began.Add(c.length)}
		if !s.warned[c.what].Equal(err.Until) {
			if s.warned == nil {
				s.warned = make(map[string]time.Time)
			}
			s.warned[c.what], err.First = err.Until, true
		}
		return err
	}
	return nil
}

// hash stands for an address, so that the store does not list who knows whom.
func (m *Mail) hash(address string) int64 {
	sum := sha256.Sum256(append([]byte(strings.ToLower(address)), m.key...))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

func (m *Mail) loadKnown(user string, s *sender) error {
	known := make(map[int64]struct{})
	ctx := context.Background() // in memory, but for the first time
	err := m.db.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT recipient FROM mail_recipients WHERE account = $1`, user)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r int64
			if err := rows.Scan(&r); err != nil {
				return err
			}
			known[r] = struct{}{}
		}
		return rows.Err()
	})
	if err == nil {
		s.known, s.unsaved = known, make(map[int64]struct{})
	}
	return err
}

// touch has s saved soon; m.mu is held.
func (m *Mail) touch(s *sender) {
	s.changed = true
	if m.timer == nil && !m.closed {
		m.timer = time.AfterFunc(mailSaveTime, func() {
			if err := m.save(context.Background()); err != nil {
				m.log.Error("counts of mail are not saved", "err", err)
			}
		})
	}
}

// Close saves what is not saved. The store must still be open.
func (m *Mail) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	return m.save(context.Background())
}

// saved is a copy of a sender for the store.
type saved struct {
	account   string
	hour, day span
	known     []int64
}

func (m *Mail) save(ctx context.Context) error {
	m.saving.Lock()
	defer m.saving.Unlock()
	list := m.changes()
	if len(list) == 0 {
		return nil
	}
	err := m.db.Write(ctx, func(tx *sql.Tx) error {
		for _, s := range list {
			if err := s.write(ctx, tx); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM mail_counts WHERE began < $1`, time.Now().Add(-2*day).UnixMicro())
		return err
	})
	if err != nil {
		m.unsave(list)
	}
	return err
}

// changes takes what is to be saved.
func (m *Mail) changes() (list []saved) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
	for account, s := range m.senders {
		if !s.changed {
			continue
		}
		one := saved{account: account, hour: s.hour, day: s.day}
		for r := range s.unsaved {
			one.known = append(one.known, r)
		}
		s.changed = false
		clear(s.unsaved)
		list = append(list, one)
	}
	return list
}

// unsave puts back what could not be saved.
func (m *Mail) unsave(list []saved) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range list {
		s := m.senders[one.account]
		for _, r := range one.known {
			s.unsaved[r] = struct{}{}
		}
		m.touch(s)
	}
}

func (s saved) write(ctx context.Context, tx *sql.Tx) error {
	for kind, span := range map[string]span{"hour": s.hour, "day": s.day} {
		_, err := tx.ExecContext(ctx, `INSERT INTO mail_counts (account, span, began, messages, recipients, fresh) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (account, span) DO UPDATE SET began = excluded.began, messages = excluded.messages,
				recipients = excluded.recipients, fresh = excluded.fresh`,
			s.account, kind, span.began.UnixMicro(), span.messages, span.recipients, span.fresh)
		if err != nil {
			return err
		}
	}
	for _, r := range s.known {
		_, err := tx.ExecContext(ctx, `INSERT INTO mail_recipients (account, recipient) VALUES ($1, $2) ON CONFLICT DO NOTHING`, s.account, r)
		if err != nil {
			return err
		}
	}
	return nil
}
