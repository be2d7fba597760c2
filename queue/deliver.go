package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"gateway/queue/relay"
	"gateway/session"
)

// deliver makes one attempt for all recipients of a message that wait.
func (q *Queue) deliver(ctx context.Context, id string) error {
	m, err := q.load(ctx, id)
	if err != nil {
		return err
	}
	waiting := slices.DeleteFunc(slices.Clone(m.recipients), func(r recipient) bool { return r.State != stateWaiting })
	attempt, cancel := context.WithTimeoutCause(ctx, q.cfg.AttemptTimeout, errors.New("the attempt took too long"))
	defer cancel()
	var unreachable *relay.Status
	for batch := range slices.Chunk(waiting, relay.MaxRecipients) {
		if ctx.Err() != nil {
			return nil // cut: the rest is as due as before
		}
		var result relay.Result
		if unreachable != nil {
			result = same(*unreachable, len(batch))
		} else {
			result, err = q.hand(attempt, m, batch)
			if err != nil {
				return err
			}
		}
		if err := q.conclude(ctx, m, batch, result); err != nil {
			return err
		}
		// Without any reply the host is away, or the route is at fault: the rest
		// would only wait for the same.
		if s := result.Statuses[len(batch)-1]; s.Outcome == relay.Deferred && s.Code == 0 {
			unreachable = &s
		}
	}
	return nil
}

func same(s relay.Status, n int) relay.Result {
	return relay.Result{Statuses: slices.Repeat([]relay.Status{s}, n)}
}

// hand gives the message to where its route leads. The error is a fault of ours
// that says nothing about the message.
func (q *Queue) hand(ctx context.Context, m message, batch []recipient) (relay.Result, error) {
	failed := func(outcome relay.Outcome, enhanced, text string) (relay.Result, error) {
		return same(relay.Status{Outcome: outcome, Enhanced: enhanced, Text: text}, len(batch)), nil
	}
	route, err := q.route(m.route)
	if err != nil {
		return failed(relay.Deferred, "4.3.5", err.Error())
	}
	h, err := q.header(ctx, m)
	if errors.Is(err, errContent) {
		q.cfg.Log.Error("message held: its content cannot be read", "id", m.id, "err", err)
		if err := q.Hold(ctx, m.id); err != nil {
			return relay.Result{}, err
		}
		return failed(relay.Deferred, "4.3.0", err.Error())
	}
	if err != nil {
		return relay.Result{}, err
	}
	if h.received > maxReceived {
		return failed(relay.Failed, "5.4.6", fmt.Sprintf("mail loop: more than %d Received fields", maxReceived))
	}
	if route.maildir() {
		return q.handMaildir(ctx, route, m, batch), nil
	}
	body, err := q.open(ctx, m)
	if err != nil {
		return relay.Result{}, err
	}
	defer body.Close()
	out := relay.Message{From: m.from, Size: m.size, Body: body, EightBit: m.eightBit, SMTPUTF8: m.smtputf8 && h.eightBit || !ascii(m.from)}
	for _, r := range batch {
		out.To = append(out.To, relay.Recipient{Address: r.Address})
		out.SMTPUTF8 = out.SMTPUTF8 || !ascii(r.Address)
	}
	return q.client.Deliver(ctx, relay.Target{Endpoint: route.endpoint()}, out), nil
}

// conclude records the results of a batch and settles them.
func (q *Queue) conclude(ctx context.Context, m message, batch []recipient, result relay.Result) error {
	now := q.now()
	expires := m.accepted.Add(q.cfg.Expire)
	results := slices.Clone(batch)
	var lost []lostRecipient
	for i := range results {
		r, s := &results[i], result.Statuses[i]
		r.Attempts++
		r.Attempted, r.Reply, r.RemoteHost = now, s.String(), result.RemoteHost
		switch {
		case s.Outcome == relay.Delivered:
			r.State = stateDelivered
		case s.Outcome == relay.Failed:
			r.State = stateFailed
		case !now.Before(expires):
			r.State = stateExpired
		}
		if r.State == stateFailed || r.State == stateExpired {
			lost = append(lost, lostRecipient{r.Recipient, s})
		}
	}
	var bounce *message
	if len(lost) > 0 && m.from != "" {
		h, err := q.header(context.WithoutCancel(ctx), m)
		if err != nil && !errors.Is(err, errContent) {
			q.cfg.Log.Warn("header for a bounce not read", "id", m.id, "err", err)
		}
		b := q.bounce(m, h, lost, now)
		bounce = &b
	}
	// What is recorded has happened at the remote host, whether or not the result
	// can be written here.
	q.record(m, results, result)
	gone, err := q.settleUntilDone(ctx, m, results, q.nextAttempt(m.attempts, now, expires), bounce)
	if err != nil {
		return err
	}
	if bounce != nil {
		q.rouse()
	}
	if gone && m.inFile {
		q.removeFile(m.id)
	}
	return nil
}

// nextAttempt is when to try again after a number of earlier attempts. The last
// attempt is when the message expires.
func (q *Queue) nextAttempt(earlier int, now, expires time.Time) time.Time {
	wait := q.cfg.Retry[min(earlier, len(q.cfg.Retry)-1)]
	// Spread, or all that failed together would come back together.
	wait += rand.N(wait/10 + 1)
	if next := now.Add(wait); next.Before(expires) || !now.Before(expires) {
		return next
	}
	return expires
}

// record appends a mail event for each kind of result.
func (q *Queue) record(m message, results []recipient, result relay.Result) {
	type kind struct{ state, reply string }
	groups := make(map[kind][]string)
	var order []kind
	for _, r := range results {
		k := kind{r.State, r.Reply}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], r.Address)
	}
	for _, k := range order {
		verb, outcome := eventOf(k.state)
		from := m.from
		e := session.Event{
			Event: session.EventMail, Conn: m.conn, Session: m.session, User: m.account, Outcome: outcome, Reason: k.reply,
			Verb: verb, MessageID: m.messageID, QueueID: m.id, From: &from, To: groups[k], Size: m.size,
			Route: q.shownRoute(m.route), RemoteHost: result.RemoteHost, TLS: result.TLS,
		}
		if from == "" && (verb == session.Bounce || verb == session.Expire) {
			e.Reason += " (the null reverse-path gets no bounce: the message is dropped)"
		}
		if err := q.cfg.Recorder.Append(e); err != nil {
			q.cfg.Log.Error("event not recorded", "event", e.Event, "id", m.id, "verb", verb, "err", err)
		}
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
