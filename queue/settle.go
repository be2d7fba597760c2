package queue

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"gateway/queue/relay"
	"gateway/queue/spool"
	"gateway/session"
)

// conclude records the results of a batch of recipients and settles them: their
// states, the message's end if nobody waits for it any more, and the notifications
// that follow, all at once. m is brought up to date.
func (q *Queue) conclude(ctx context.Context, m *message, d *delivery, batch []int, result relay.Result) error {
	now := q.now()
	unlock := q.lock(m.entry)
	defer unlock()
	// Somebody may have held it, and other deliveries of it have ended.
	if err := q.loadStatus(m); err != nil {
		return err
	}
	var told []notice
	for i, n := range batch {
		p, s := &m.status.To[n], result.Statuses[i]
		p.Attempts++
		p.Attempted, p.Reply, p.RemoteHost = micros(now), s.String(), result.RemoteHost
		q.judgeRecipient(m, p, s, now)
		if about, wanted := m.noticeOf(n, s.DSN); wanted {
			told = append(told, notice{recipient: n, about: about, status: s, remote: result.RemoteName, final: d.to.route.local()})
		}
	}
	told = append(told, q.delayed(m, now)...)
	// What is recorded has happened at the remote host, whether or not the result
	// can be written here.
	q.record(m, d, batch, result)
	return q.settleUntilDone(ctx, m, told, now)
}

// judgeRecipient sets the state of a recipient after an attempt.
func (q *Queue) judgeRecipient(m *message, p *progress, s relay.Status, now time.Time) {
	expires := m.accepted().Add(q.cfg.Expire)
	switch {
	case s.Outcome == relay.Delivered:
		p.State = stateDelivered
	case s.Outcome == relay.Failed:
		p.State = stateFailed
	case !now.Before(expires):
		p.State = stateExpired
	default:
		p.Next = micros(q.nextAttempt(p.Attempts-1, now, m.accepted()))
	}
}

// nextAttempt is when to try again after a number of earlier attempts. One attempt is
// made when the sender is to be told of the delay, and the last one when the message
// expires.
func (q *Queue) nextAttempt(earlier int, now, accepted time.Time) time.Time {
	wait := q.cfg.Retry[min(earlier, len(q.cfg.Retry)-1)]
	// Spread, or all that failed together would come back together.
	wait += rand.N(wait/10 + 1)
	next := now.Add(wait)
	for _, mark := range []time.Time{accepted.Add(q.cfg.WarnAfter), accepted.Add(q.cfg.Expire)} {
		if now.Before(mark) && mark.Before(next) {
			next = mark
		}
	}
	return next
}

// delayed are the notices that recipients still wait, once they have for long enough.
func (q *Queue) delayed(m *message, now time.Time) (told []notice) {
	if m.Warned || now.Before(m.accepted().Add(q.cfg.WarnAfter)) || m.From == "" {
		return nil
	}
	for _, n := range m.waiting() {
		if wants(m.envelope.To[n].Notify, notifyDelay) {
			told = append(told, notice{recipient: n, about: notifyDelay, status: statusIn(m.status.To[n].Reply)})
		}
	}
	m.Warned = len(m.waiting()) > 0
	return told
}

// statusIn is the code and the enhanced code that a reply was kept with.
func statusIn(reply string) (s relay.Status) {
	code, rest, _ := strings.Cut(reply, " ")
	enhanced, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(code)
	if err != nil || len(code) != 3 || strings.Count(enhanced, ".") != 2 {
		return s
	}
	return relay.Status{Code: n, Enhanced: enhanced}
}

// settleUntilDone writes until that succeeds: what was delivered must not be
// delivered again because the disk was full for a moment.
func (q *Queue) settleUntilDone(ctx context.Context, m *message, told []notice, now time.Time) error {
	for {
		// The write itself is not cut: an attempt that was cut still has results.
		err := q.settle(context.WithoutCancel(ctx), m, told, now)
		if err == nil || errors.Is(err, session.ErrClosed) || errors.Is(err, session.ErrNotExist) {
			return err
		}
		q.cfg.Log.Error("result of a delivery not written", "id", m.id(), "err", err)
		timer := time.NewTimer(faultPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// settle writes the state of m, or removes it, together with the notifications. A
// message that was removed meanwhile is session.ErrNotExist: nobody is told.
func (q *Queue) settle(ctx context.Context, m *message, told []notice, now time.Time) error {
	var batch spool.Batch[*delivery]
	if len(m.waiting()) > 0 {
		batch.SetState(m.entry, encode(m.status))
	} else {
		batch.Remove(m.entry)
	}
	var added []*notification
	for _, about := range []string{notifyFailure, notifyDelay, notifySuccess} {
		some := slices.DeleteFunc(slices.Clone(told), func(n notice) bool { return n.about != about })
		if len(some) == 0 {
			continue
		}
		n, err := q.notify(m, about, some, now)
		if err != nil {
			return err
		}
		defer n.draft.Discard()
		if n.entry, err = n.draft.addTo(&batch, n.envelope, now); err != nil {
			return err
		}
		added = append(added, n)
	}
	if err := q.spool.Commit(ctx, &batch); err != nil {
		return err
	}
	for _, n := range added {
		q.recordNotification(m, n)
		q.enter(n.entry.Value)
	}
	return nil
}

// record appends a mail event for each kind of result.
func (q *Queue) record(m *message, d *delivery, batch []int, result relay.Result) {
	type kind struct{ state, reply string }
	groups := make(map[kind][]string)
	var order []kind
	for _, n := range batch {
		p := m.status.To[n]
		k := kind{p.State, p.Reply}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], m.envelope.To[n].Address)
	}
	for _, k := range order {
		verb, outcome := eventOf(k.state)
		e := q.event(m, verb, outcome)
		e.To, e.Reason, e.Route, e.RemoteHost, e.TLS = groups[k], k.reply, d.to.route.String(), result.RemoteHost, result.TLS
		if m.From == "" && (verb == session.Bounce || verb == session.Expire) {
			e.Reason += " (the null reverse-path gets no bounce: the message is dropped)"
		}
		q.append(e)
	}
}

// recordNotification records that a message of ours came into the queue.
func (q *Queue) recordNotification(about *message, n *notification) {
	m := &message{entry: n.entry, envelope: envelope{
		User: about.User, Conn: about.Conn, Session: about.Session, MessageID: n.envelope.MessageID, Size: n.draft.Size(),
	}}
	e := q.event(m, session.Accept, session.OutcomeDone)
	e.To, e.Reason = []string{about.From}, n.subject+" about "+about.id()
	q.append(e)
}

func (q *Queue) event(m *message, verb session.Verb, outcome string) session.Event {
	return session.Event{
		Event: session.EventMail, Conn: m.Conn, Session: m.Session, User: m.User, Outcome: outcome,
		Verb: verb, MessageID: m.MessageID, QueueID: m.id(), From: &m.From, Size: m.Size,
	}
}

func (q *Queue) append(e session.Event) {
	if err := q.cfg.Recorder.Append(e); err != nil {
		q.cfg.Log.Error("event not recorded", "event", e.Event, "id", e.QueueID, "verb", e.Verb, "err", err)
	}
}

func eventOf(state string) (session.Verb, string) {
	switch state {
	case stateDelivered:
		return session.Deliver, session.OutcomeDone
	case stateFailed:
		return session.Bounce, session.OutcomeFailed
	case stateExpired:
		return session.Expire, session.OutcomeFailed
	default:
		return session.Defer, session.OutcomeFailed
	}
}
