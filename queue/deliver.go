package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gateway/queue/relay"
)

// deliver makes one attempt for the recipients of a delivery that wait, and returns
// when the next is to be made, or over.
func (q *Queue) deliver(ctx context.Context, d *delivery) (next int64, err error) {
	m, err := q.load(d.entry)
	if isDamaged(err) {
		q.cfg.Log.Error("message left alone: it cannot be read", "id", d.entry.ID(), "err", err)
		return over, nil
	}
	if err != nil {
		return 0, err
	}
	attempt, cancel := context.WithTimeoutCause(ctx, q.cfg.AttemptTimeout, errors.New("the attempt took too long"))
	defer cancel()
	waiting := slices.DeleteFunc(m.waiting(), func(n int) bool { return q.keyOf(m, n) != d.to.destinationKey })
	var unreachable *relay.Status
	for batch := range slices.Chunk(waiting, relay.MaxRecipients) {
		if ctx.Err() != nil {
			break // cut: the rest is as due as before
		}
		var result relay.Result
		if unreachable != nil {
			result = same(*unreachable, len(batch))
		} else if result, err = q.hand(attempt, m, d, batch); isDamaged(err) {
			return q.holdDamaged(ctx, m, d, waiting, err)
		} else if err != nil {
			return 0, err
		}
		if err := q.conclude(ctx, m, d, batch, result); err != nil {
			return 0, err
		}
		last := result.Statuses[len(batch)-1]
		if result.Down {
			unreachable = &last // the rest would only wait for the same
		}
		if !result.Down || ctx.Err() == nil {
			q.judge(d, result.Down && last.Outcome == relay.Deferred)
		}
	}
	waiting = slices.DeleteFunc(waiting, func(n int) bool { return !m.status.To[n].waiting() })
	if len(waiting) == 0 {
		return over, nil
	}
	return nextOf(m, waiting), nil
}

// judge tells the scheduler how the destination is.
func (q *Queue) judge(d *delivery, away bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if away {
		q.schedule.away(d.to, micros(q.now()), q.cfg.Retry)
	} else {
		q.schedule.answers(d.to)
	}
}

// same is the result of a destination that could not be spoken to.
func same(s relay.Status, n int) relay.Result {
	return relay.Result{Down: true, Statuses: slices.Repeat([]relay.Status{s}, n)}
}

// holdDamaged keeps a message whose content cannot be read, for somebody to look at.
func (q *Queue) holdDamaged(ctx context.Context, m *message, d *delivery, waiting []int, cause error) (next int64, err error) {
	q.cfg.Log.Error("message held: its content cannot be read", "id", m.id(), "err", cause)
	if err := q.Hold(ctx, m.id()); err != nil {
		return 0, err
	}
	s := relay.Status{Enhanced: "4.3.0", Text: "the content is damaged"}
	return micros(q.now()), q.conclude(ctx, m, d, waiting, same(s, len(waiting)))
}

// hand gives the message to where its route leads. The error is a fault of ours
// that says nothing about the message, or that its content is damaged.
func (q *Queue) hand(ctx context.Context, m *message, d *delivery, batch []int) (relay.Result, error) {
	route, err := q.routes.resolve(d.to.route)
	if err == nil && route.To.IsZero() {
		err = ErrNoRoute
	}
	if err != nil {
		return same(relay.Status{Enhanced: "4.3.5", Text: err.Error()}, len(batch)), nil
	}
	h, err := q.header(m)
	if err != nil {
		return relay.Result{}, err
	}
	if h.received > maxReceived {
		s := relay.Status{Outcome: relay.Failed, Enhanced: "5.4.6", Text: fmt.Sprintf("mail loop: more than %d Received fields", maxReceived)}
		return relay.Result{Statuses: slices.Repeat([]relay.Status{s}, len(batch))}, nil
	}
	if route.To.maildir() {
		return q.handMaildir(ctx, route.To, m, batch), nil
	}
	body, err := q.open(m)
	if err != nil {
		return relay.Result{}, err
	}
	defer body.Close()
	out := relay.Message{
		From: m.From, Size: m.Size, Body: body, EightBit: m.EightBit, SMTPUTF8: m.SMTPUTF8 && h.eightBit || !ascii(m.From),
		RequireTLS: m.RequireTLS, Ret: m.Ret, EnvID: m.EnvID,
	}
	for _, n := range batch {
		to := m.envelope.To[n]
		out.To = append(out.To, relay.Recipient{Address: to.Address, Notify: to.Notify, ORcpt: to.ORcpt})
		out.SMTPUTF8 = out.SMTPUTF8 || !ascii(to.Address)
	}
	return q.client.Deliver(ctx, d.to.target(route), out), nil
}

// target is where the deliveries of a destination go.
func (d *destination) target(route NamedRoute) relay.Target {
	t := relay.Target{TLS: route.TLS, Auth: route.Auth}
	if route.To.scheme == schemeMX {
		t.Domain = d.domain
	} else {
		t.Endpoint = route.To.endpoint()
	}
	return t
}
