package session

import (
	"context"
	"time"
)

// An Op is an action that was allowed and is under way. It is used by one
// goroutine at a time.
type Op struct {
	session *Session
	action  Action
	began   time.Time
	// rule and reason say by which rule it was refused, wouldRefuse which are only observed.
	rule, reason string
	wouldRefuse  []string
	// giveBack uncounts a message that was not accepted.
	giveBack func()

	// Bytes is the content moved, set before End.
	Bytes int64
	// Carrier is the protection of the connection that moves the content, where that
	// is not the session's own: an FTP data connection, of TLS as TLSChannel describes
	// it. Nil means the session's, also where no such connection came to be.
	Carrier *Channel
	// MessageID and QueueID complete the record of Accept.
	MessageID, QueueID string
	// Note is what the record of a success says beyond that, as its reason.
	Note string
}

// Action returns what is under way.
func (o *Op) Action() Action { return o.action }

// End records how it went and returns err; for an action that the peer is told
// succeeded, ErrUnavailable if even that could not be recorded. A successful
// look at attributes leaves no record: it changes nothing and clients do it
// before every step.
func (o *Op) End(_ context.Context, err error) error {
	if err == nil && o.action.Verb == Stat {
		return nil
	}
	outcome := OutcomeDone
	if err != nil {
		outcome = OutcomeFailed
		if o.giveBack != nil {
			o.giveBack()
		}
	}
	if recordErr := o.record(outcome, err); recordErr != nil && err == nil {
		return unavailable(recordErr)
	}
	return err
}

func (o *Op) record(outcome string, cause error) error {
	e := o.event(outcome)
	if outcome == OutcomeDone && o.Note != "" {
		e.Reason = printable(o.Note, maxReason)
	}
	if cause != nil {
		e.Reason = printable(cause.Error(), maxReason)
	}
	err := o.session.attempt.gate.cfg.Recorder.Append(e)
	if err != nil {
		o.session.attempt.gate.cfg.Log.Error("event not recorded", "event", e.Event, "conn", e.Conn, "err", err)
	}
	return err
}

func (o *Op) event(outcome string) Event {
	a, s := o.action, o.session
	e := Event{
		Event: EventFile, Conn: s.attempt.peer.Conn, Session: s.id, Listener: s.attempt.peer.Listener,
		Protocol: s.attempt.peer.Protocol, Remote: s.attempt.peer.Remote, Channel: &s.channel, User: s.identity.User,
		Outcome: outcome, Verb: a.Verb, Rule: o.rule, Reason: o.reason, WouldRefuse: o.wouldRefuse,
		DurationMS: time.Since(o.began).Milliseconds(),
	}
	if a.Verb.mail() {
		e.Event = EventMail
		e.From, e.To = &a.Object, a.To
		e.MessageID, e.QueueID, e.Size = printable(o.MessageID, 998), o.QueueID, o.Bytes
		return e
	}
	e.Path, e.Target, e.Bytes = a.Object, a.Target, o.Bytes
	if o.Carrier != nil {
		e.Channel = o.Carrier
	}
	return e
}
