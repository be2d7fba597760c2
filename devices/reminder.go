package devices

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"gateway/policies"
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
	// Devices lists the devices and exemptions of the rules in force, as they are at that
	// time.
	Devices  func(now time.Time) []policies.DeviceInfo
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
		for _, d := range r.cfg.Devices(now) {
			if err := r.remind(ctx, d, now); err != nil && ctx.Err() == nil {
				r.cfg.Log.Error("owner not reminded", "device", key(d), "owner", d.Owner, "err", err)
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

// due is the reminder that a device is at; zero for none. One that was missed, while
// the gateway was down or since the device is new, is not sent after the next.
func due(d policies.DeviceInfo, now time.Time) (days int) {
	left := d.Expires.Sub(now)
	if d.Stage != session.StageWarn || left <= 0 {
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
func (r *Reminder) remind(ctx context.Context, d policies.DeviceInfo, now time.Time) error {
	days := due(d, now)
	if days == 0 {
		return nil
	}
	var sent int
	err := r.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT count(*) FROM device_reminders WHERE device = $1 AND expires = $2 AND days = $3`,
			key(d), d.Expires.Unix(), days).Scan(&sent)
	})
	if err != nil || sent > 0 {
		return err
	}
	if err := r.send(ctx, d, days, now); err != nil {
		return err
	}
	through := context.WithoutCancel(ctx) // a stop in between is no reason to send it again
	return r.cfg.DB.Write(through, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(through, `INSERT INTO device_reminders (device, expires, days, sent) VALUES ($1, $2, $3, $4)`,
			key(d), d.Expires.Unix(), days, now.Unix())
		return err
	})
}

// key is the name under which the reminders of d are remembered. No device has a name
// with a blank in it.
func key(d policies.DeviceInfo) string {
	if d.Requirement == "" {
		return d.Name
	}
	return "exempt " + strconv.Quote(d.Requirement) + " " + strconv.Quote(d.Name)
}

// send puts a reminder into the queue. Its reverse-path is the null one: nobody reads
// what would come back to it.
func (r *Reminder) send(ctx context.Context, d policies.DeviceInfo, days int, now time.Time) error {
	l := letter{device: d, days: days, hostname: r.cfg.Hostname, now: now}
	content := l.text()
	id, err := r.cfg.Put(ctx, content, queue.Envelope{To: []queue.EnvelopeRecipient{{Address: d.Owner}}, MessageID: l.messageID()})
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	from := ""
	return r.cfg.Recorder.Append(session.Event{
		Event: session.EventMail, Verb: session.Accept, Outcome: session.OutcomeDone, Rule: d.Rule, Reason: fmt.Sprintf("reminder of %d days", days),
		MessageID: l.messageID(), QueueID: id, From: &from, To: []string{d.Owner}, Size: int64(len(content)),
	})
}

func (r *Reminder) forget(ctx context.Context, now time.Time) error {
	return r.cfg.DB.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM device_reminders WHERE expires < $1`, now.Add(-kept).Unix())
		return err
	})
}
