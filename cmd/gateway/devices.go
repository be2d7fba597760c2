package main

import (
	"context"
	"errors"
	"time"

	"gateway/audit"
	"gateway/devices"
	"gateway/policies"
	"gateway/queue"
	"gateway/session"
)

const (
	// warnedBy is for how long back it is looked who still logs in in clear.
	warnedBy = 30 * 24 * time.Hour
	// lookAgain is how often.
	lookAgain = 24 * time.Hour
)

// remind tells the owners of devices, of exemptions, and of accounts whose logins in clear
// will be refused, that their time is nearly over, until ctx is done.
func (n *node) remind(ctx context.Context) error {
	var logins []devices.Ending
	var looked time.Time
	return devices.New(devices.Config{
		DB: n.db, Put: n.put, Recorder: n.recorder, Hostname: n.cfg.Hostname, Log: n.log,
		Endings: func(ctx context.Context, now time.Time) []devices.Ending {
			p, _ := n.gate.Policy().(*policies.Policy)
			if now.Sub(looked) >= lookAgain {
				var err error
				if logins, err = n.loginsEnding(ctx, p, now); err != nil && ctx.Err() == nil {
					n.log.Warn("owners of accounts that log in in clear may not be told of its end", "err", err)
				}
				looked = now
			}
			return append(devices.OfRules(p.Endings(now)), logins...)
		},
	}).Run(ctx)
}

// loginsEnding are those of accounts that logged in in clear to send mail, where no client
// can be told that this ends, and that the rules will refuse. Who has no mail address is
// told nothing.
func (n *node) loginsEnding(ctx context.Context, p *policies.Policy, now time.Time) ([]devices.Ending, error) {
	changes := p.Changes(now)
	if len(changes) == 0 {
		return nil, nil
	}
	last := make(map[string]session.Event)
	filter := audit.Filter{Event: session.EventLogin, Outcome: session.OutcomeGranted, Channel: session.Plain.String(), Since: now.Add(-warnedBy), Until: now}
	for rec, err := range n.record.Reader().Query(ctx, filter) {
		switch e := rec.Event; {
		case errors.As(err, new(*audit.LineError)):
		case err != nil:
			return nil, err
		case e.Facts != nil && e.Method != session.MethodDevice && (e.Protocol == session.Submission || e.Protocol == session.Relay):
			last[e.User] = e
		}
	}
	var out []devices.Ending
	for user, e := range last {
		info, err := n.accounts.Show(ctx, user)
		if err != nil || len(info.Addresses) == 0 {
			continue
		}
		again := *e.Facts
		for _, again.Time = range changes {
			v := p.Decide(again)
			if v.Allowed || !v.Retry.IsZero() {
				continue
			}
			out = append(out, devices.OfLogin(devices.Login{
				User: user, Owner: info.Addresses[0], Rule: v.Rule, Protocol: e.Protocol, Network: session.ClientNetwork(again.Remote).String(),
				Last: e.Time, Refused: again.Time, Instead: p.Instead(e.Protocol, again.Client),
			}))
			break
		}
	}
	return out, nil
}

// put puts a message of our own into the queue.
func (n *node) put(ctx context.Context, content []byte, e queue.Envelope) (string, error) {
	draft := n.queue.Draft()
	defer draft.Discard()
	if _, err := draft.Write(content); err != nil {
		return "", err
	}
	return draft.Commit(ctx, e)
}
