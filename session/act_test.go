package session_test

import (
	"errors"
	"slices"
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
)

// What a session does is decided by the rules of its login until others come into force that
// let it go on; the record says by which rule, and what is only observed.
func TestActsAreJudged(t *testing.T) {
	t.Parallel()
	rules := func(acts bool, forbidden session.Verb) func(session.Request) session.Verdict {
		return func(q session.Request) session.Verdict {
			if q.Phase != session.PhaseSession {
				return session.Verdict{Allowed: true, Data: session.DataRules{Acts: acts}}
			}
			if q.Act.Verb == forbidden {
				return session.Verdict{Rule: "no " + string(forbidden), Reason: "forbidden", Hint: "ask the owner"}
			}
			return session.Verdict{Allowed: true, WouldRefuse: []string{"observed"}}
		}
	}
	c := sessiontest.New(t, rules(true, session.Read))
	a := c.Connect(t, session.FTP, session.TLS)
	defer a.Close(nil)
	s, err := a.Offer(t.Context(), session.Password("alice", "right"))
	if err != nil {
		t.Fatal(err)
	}
	do := func(v session.Verb) error {
		op, err := s.Begin(t.Context(), session.Action{Verb: v, Object: "/a"})
		if err == nil {
			err = op.End(t.Context(), nil)
		}
		return err
	}
	last := func() session.Event {
		files := c.Record.Events(session.EventFile)
		return files[len(files)-1]
	}
	if err := do(session.Read); !errors.Is(err, session.ErrDenied) || session.Hint(err) != "ask the owner" {
		t.Errorf("got %v, want denied with the hint", err)
	}
	if e := last(); e.Outcome != session.OutcomeRefused || e.Rule != "no read" || e.Reason != "forbidden" {
		t.Errorf("recorded is %+v", e)
	}
	if err := do(session.Write); err != nil {
		t.Errorf("got %v", err)
	}
	if e := last(); !slices.Equal(e.WouldRefuse, []string{"observed"}) {
		t.Errorf("recorded is %+v, want what is observed", e)
	}
	c.Gate.SetShadow(sessiontest.Rules(rules(true, session.List)))
	if err := do(session.List); err != nil || !slices.Contains(last().WouldRefuse, "no list") {
		t.Errorf("shadow: got %v, %+v", err, last())
	}
	c.Gate.SetShadow(nil)
	c.Gate.SetPolicy(sessiontest.Rules(rules(true, session.Write)))
	if ended := c.Gate.Redecide(t.Context()); ended != 0 {
		t.Fatalf("%d sessions ended", ended)
	}
	if err := do(session.Write); !errors.Is(err, session.ErrDenied) {
		t.Errorf("by other rules: got %v", err)
	}
	c.Gate.SetPolicy(sessiontest.Rules(rules(false, session.Write)))
	c.Gate.Redecide(t.Context())
	if err := do(session.Write); err != nil {
		t.Errorf("by rules that are not about what it does: got %v", err)
	}
}

// Rules about paths that come into force end sessions that were not held to straight ones.
func TestRulesAboutPathsEndOlderSessions(t *testing.T) {
	t.Parallel()
	c := sessiontest.New(t, nil)
	a := c.Connect(t, session.FTP, session.TLS)
	defer a.Close(nil)
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); err != nil {
		t.Fatal(err)
	}
	c.Gate.SetPolicy(sessiontest.Rules(func(session.Request) session.Verdict {
		return session.Verdict{Allowed: true, Data: session.DataRules{Acts: true, Paths: true}}
	}))
	if ended := c.Gate.Redecide(t.Context()); ended != 1 {
		t.Errorf("%d sessions ended, want the one", ended)
	}
}

// A rule that drops is obeyed before the name is answered, and at the proof.
func TestDrop(t *testing.T) {
	t.Parallel()
	c := sessiontest.New(t, nil)
	c.Gate.SetPolicy(sessiontest.Rules(func(q session.Request) session.Verdict {
		return session.Verdict{Allowed: q.Phase == session.PhaseConnect, Drop: q.Phase != session.PhaseConnect, Rule: "drop"}
	}))
	for name, try := range map[string]func(*session.Attempt) error{
		"named": func(a *session.Attempt) error { return a.Claim(t.Context(), "alice", session.MethodPassword) },
		"proven": func(a *session.Attempt) error {
			_, err := a.Offer(t.Context(), session.Password("alice", "right"))
			return err
		},
	} {
		a := c.Connect(t, session.FTP, session.Plain)
		hungUp := false
		a.OnDrop(func() { hungUp = true })
		if err := try(a); !errors.Is(err, session.ErrDropped) || !hungUp {
			t.Errorf("%s: got %v, hung up: %v", name, err, hungUp)
		}
		if _, err := a.Offer(t.Context(), session.Password("alice", "right")); err == nil {
			t.Errorf("%s: a login after it is granted", name)
		}
		a.Close(nil)
		ends := c.Record.Events(session.EventConnection)
		if e := ends[len(ends)-1]; e.Reason != session.ErrDropped.Error() {
			t.Errorf("%s: recorded is %+v", name, e)
		}
	}
}
