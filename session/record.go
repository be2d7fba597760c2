package session

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxReason bounds a reason that somebody else's words may be part of.
const maxReason = 500

// event is the part that all events of a connection share.
func (a *Attempt) event(kind string) Event {
	e := Event{
		Event: kind, Conn: a.peer.Conn, Listener: a.peer.Listener, Protocol: a.peer.Protocol,
		Remote: a.peer.Remote, Local: a.peer.Local, Client: a.client,
	}
	channel := a.channel
	e.Channel = &channel
	return e
}

func (a *Attempt) connectionEvent(outcome string, cause error) Event {
	e := a.event(EventConnection)
	e.Outcome = outcome
	if cause != nil {
		// It may quote the peer: a failed handshake lists what was asked for.
		e.Reason = printable(cause.Error(), maxReason)
	}
	e.Count = 1
	e.DurationMS = time.Since(a.started).Milliseconds()
	e.BytesIn, e.BytesOut = a.in.Load(), a.out.Load()
	e.Logins = a.logins
	return e
}

func (a *Attempt) loginEvent(d decision, outcome, crossed string) Event {
	e := a.event(EventLogin)
	facts := d.request
	facts.User = a.gate.recordedName(facts.User, facts.Known)
	e.User, e.Groups, e.Method = facts.User, d.account.groups(), d.offered
	e.Outcome, e.Rule, e.Reason = outcome, d.verdict.Rule, d.verdict.Reason
	e.Stage, e.Credential, e.WouldRefuse = facts.Phase, crossed, a.gate.wouldRefuse(d)
	e.Facts, e.Policy, e.Exposed = &facts, a.policy.Hash(), d.exposed
	return e
}

// recordLogin records a login that was not granted. It is not waited for, so
// that guesses cannot force a disk sync each.
func (a *Attempt) recordLogin(d decision, outcome, crossed string) {
	a.tried = true
	a.gate.append(a.loginEvent(d, outcome, crossed))
}

// recordRefused records a login that a limit refused before the rules were asked.
func (a *Attempt) recordRefused(ctx context.Context, c Credential, crossed string, cause error) {
	d, _ := a.decide(ctx, c.User, c.Method) // on error without the name, which may not be one
	d.verdict = Verdict{Reason: cause.Error(), WouldRefuse: d.verdict.WouldRefuse}
	a.recordLogin(d, OutcomeRefused, crossed)
}

// printable makes a text of the peer safe to record: at most limit bytes, no
// control characters, valid UTF-8.
func printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
