package admin

import (
	"errors"
	"iter"
	"net/netip"
	"testing"
	"time"

	"gateway/audit"
	"gateway/policies"
	"gateway/session"
)

const replayedOld = `
allow "files" { protocol = ["ftp", "sftp"] }
`

const replayedNew = `
allow "files" { protocol = ["ftp", "sftp"] }
require "encrypted" {
  channel = "encrypted"
  rollout "users" {
    warn    = "2027-03-10"
    enforce = "2027-05-01"
  }
}
`

func replayed(t *testing.T, src string) *policies.Policy {
	t.Helper()
	p, err := policies.Parse([]byte(src), "policy.hcl", policies.Options{Now: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The logins are decided by the rules of then, and by the new ones as of then or of
// another day; what cannot be decided again is counted.
func TestReplay(t *testing.T) {
	t.Parallel()
	old, changed := replayed(t, replayedOld), replayed(t, replayedNew)
	s := &story{first: 100}
	login := func(user string, channel session.ChannelKind, day int, change func(*session.Event)) {
		facts := session.Request{
			Phase: session.PhaseVerified, Time: time.Date(2027, 3, day, 12, 0, 0, 0, time.UTC), Protocol: session.FTP, Channel: channel,
			Remote: netip.MustParseAddr("192.0.2.7"), User: user, Known: true, Groups: []string{"users"}, Method: session.MethodPassword,
			Client: session.ClientWinSCP,
		}
		v := old.Decide(facts)
		e := session.Event{
			Event: session.EventLogin, Outcome: session.OutcomeGranted, Time: facts.Time, User: user, Groups: facts.Groups, Rule: v.Rule,
			Facts: &facts, Policy: old.Hash(),
		}
		if change != nil {
			change(&e)
		}
		s.add(e)
	}
	login("joe", session.Plain, 1, nil)
	login("joe", session.Plain, 11, nil)
	login("joe", session.Plain, 12, nil)
	login("ann", session.TLS, 12, nil)
	login("ann", session.TLS, 12, func(e *session.Event) { e.Outcome, e.Rule = session.OutcomeRefused, "" })    // a wrong password
	login("ann", session.TLS, 12, func(e *session.Event) { e.Outcome = session.OutcomeRefused })                // too many sessions
	login("ann", session.TLS, 12, func(e *session.Event) { e.Facts = nil })                                     // of an older gateway
	login("ann", session.TLS, 12, func(e *session.Event) { e.Policy = "gone" })                                 // rules that are not kept
	login("forged", session.TLS, 12, func(e *session.Event) { e.Facts.Protocol = session.Submission })          // granted, and no rule allows it
	login("forged", session.TLS, 12, func(e *session.Event) { e.Rule = `allow "other" (policy.hcl:9)` })        // by a rule that is not
	login("forged", session.TLS, 12, func(e *session.Event) { e.Outcome, e.Rule = "refused", "require \"x\"" }) // refused by a rule that is not
	s.add(session.Event{Event: session.EventAudit, Verb: session.Gap})

	lost := errors.New("not kept")
	inForce := func(hash string) (*policies.Policy, error) {
		if hash == old.Hash() {
			return old, nil
		}
		return nil, lost
	}
	r, err := replay(s.only(session.EventLogin), s.only(session.EventAudit), changed, ReplayQuery{InForce: inForce})
	if err != nil {
		t.Fatal(err)
	}
	if r.Logins != 7 || r.Apart != 2 || r.NoFacts != 1 || r.NoRules != 1 || len(r.Missing) != 1 || r.Gaps != 1 || r.Differing != 3 || len(r.Examples) != 3 {
		t.Errorf("got %+v", r)
	}
	want := ReplayRow{
		Before: FateAllowed, After: FateWarned, User: "joe", Groups: []string{"users"}, Protocol: session.FTP, Channel: "plain", Client: "winscp",
		Network: "192.0.2.0/24", Logins: 2, LastSeen: s.events[2].Time,
	}
	if len(r.Rows) != 1 || !sameRow(r.Rows[0], want) {
		t.Errorf("got %+v, want %+v", r.Rows, want)
	}

	if r, err = replay(s.only(session.EventLogin), s.only(session.EventAudit), changed, ReplayQuery{InForce: inForce, At: time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC)}); err != nil {
		t.Fatal(err)
	}
	want.After, want.Logins = FateRefused, 3
	if len(r.Rows) != 1 || !sameRow(r.Rows[0], want) || r.Rows[0].Rule != `require "encrypted" (policy.hcl:3)` {
		t.Errorf("in June: got %+v, want %+v", r.Rows, want)
	}

	if r, err = replay(s.only(session.EventLogin), s.only(session.EventAudit), old, ReplayQuery{InForce: inForce}); err != nil || len(r.Rows) != 0 {
		t.Errorf("the rules that were in force: got %+v, %v", r.Rows, err)
	}
}

func sameRow(got, want ReplayRow) bool {
	return got.Before == want.Before && got.After == want.After && got.User == want.User && len(got.Groups) == 1 && got.Groups[0] == want.Groups[0] &&
		got.Protocol == want.Protocol && got.Channel == want.Channel && got.Client == want.Client && got.Network == want.Network &&
		got.Logins == want.Logins && got.LastSeen.Equal(want.LastSeen)
}

// only reads the events of a kind.
func (s *story) only(event string) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		for rec, err := range s.read() {
			if (err != nil || rec.Event.Event == event) && !yield(rec, err) {
				return
			}
		}
	}
}
