package devices

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"gateway/queue"
	"gateway/session"
	"gateway/store"
)

// Config is what a Reminder is made of. All but Log must be set.
type Config struct {
	DB *store.DB
	// Put puts a message into the queue and returns its id once it is on stable
	// storage.
	Put func(ctx context.Context, content []byte, e queue.Envelope) (id string, err error)
	// Endings lists what ends, as it is at that time.
	Endings  func(ctx context.Context, now time.Time) []Ending
	Recorder session.Recorder
	// Hostname is the host name of the gateway; the reminders are from its postmaster.
	Hostname string
	// Log may be nil for slog.Default.
	Log *slog.Logger
}

const (
	// interval is how often it is looked whether a reminder is due.
	interval = time.Hour
	day      = 24 * time.Hour
	// kept is how long after the end of a device its reminders are remembered.
	kept = 30 * day
)

// daysAhead are the days before its end at which the owner of a device is told.
func daysAhead() []int { return []int{3, 14, 30} }

// A Reminder sends reminders.
type Reminder struct{ cfg Config }

// New returns a Reminder.
func New(cfg Config) *Reminder {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Reminder{cfg}
}

// Run sends what is due, at once and then from time to time, until ctx is done. What
// cannot be sent is logged and tried again.
func (r *Reminder) Run(ctx context.Context) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		now := time.Now()
		for _, e := range r.cfg.Endings(ctx, now) {
			if err := r.remind(ctx, e, now); err != nil && ctx.Err() == nil {
				r.cfg.Log.Error("owner not reminded", "of", e.Key, "owner", e.Owner, "err", err)
			}
		}
		if err := r.forget(ctx, now); err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("forget old reminders", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// due is the reminder that an ending is at; zero for none. One that was missed, while
// the gateway was down or since the ending is new, is not sent after the next.
func due(e Ending, now time.Time) (days int) {
	left := e.Expires.Sub(now)
	if left <= 0 {
		return 0
	}
	for _, days := range daysAhead() {
		if left <= time.Duration(days)*day {
			return days
		}
	}
	return 0
}

// remind sends the reminder that is due if it was not sent. It is remembered after it
// is in the queue: a crash between the two sends it again, with the same Message-ID,
// rather than never.
func (r *Reminder) remind(ctx context.Context, e Ending, now time.Time) error {
	days := due(e, now)
	if days == 0 {
		return nil
	}
	var sent int
	err := r.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT count(*) FROM device_reminders WHERE device = $1 AND expires = $2 AND days = $3`,
			e.Key, e.Expires.Unix(), days).Scan(&sent)
	})
	if err != nil || sent > 0 {
		return err
	}
	if err := r.send(ctx, e, days, now); err != nil {
		return err
	}
	through := context.WithoutCancel(ctx) // a stop in between is no reason to send it again
	return r.cfg.DB.Write(through, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(through, `INSERT INTO device_reminders (device, expires, days, sent) VALUES ($1, $2, $3, $4)`,
			e.Key, e.Expires.Unix(), days, now.Unix())
		return err
	})
}

// send puts a reminder into the queue. Its reverse-path is the null one: nobody reads
// what would come back to it.
func (r *Reminder) send(ctx context.Context, e Ending, days int, now time.Time) error {
	l := letter{ending: e, days: days, hostname: r.cfg.Hostname, now: now}
	content := l.text()
	id, err := r.cfg.Put(ctx, content, queue.Envelope{To: []queue.EnvelopeRecipient{{Address: e.Owner}}, MessageID: l.messageID()})
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	from := ""
	return r.cfg.Recorder.Append(session.Event{
		Event: session.EventMail, Verb: session.Accept, Outcome: session.OutcomeDone, Rule: e.Rule, Reason: fmt.Sprintf("reminder of %d days", days),
		MessageID: l.messageID(), QueueID: id, From: &from, To: []string{e.Owner}, Size: int64(len(content)),
	})
}

func (r *Reminder) forget(ctx context.Context, now time.Time) error {
	return r.cfg.DB.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM device_reminders WHERE expires < $1`, now.Add(-kept).Unix())
		return err
	})
}
