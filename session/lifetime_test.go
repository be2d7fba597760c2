package session_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
	"gateway/session/sessiontest"
)

// What the rules hold a session to is so from its first action on, and its time ends it.
func TestSessionIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core := sessiontest.New(t, sessiontest.Rules(func(session.Request) session.Verdict {
			return session.Verdict{Allowed: true, Data: session.DataRules{Held: session.Held{ReadOnly: true, Within: "/out", Lifetime: time.Hour}}}
		}))
		s, err := core.Connect(t, session.SFTP, session.SSH).Offer(t.Context(), session.Password("alice", "right"))
		if err != nil {
			t.Fatal(err)
		}
		for _, do := range []struct {
			verb    session.Verb
			object  string
			allowed bool
		}{{session.Read, "/out/f", true}, {session.Read, "/f", false}, {session.Write, "/out/f", false}} {
			op, err := s.Begin(t.Context(), session.Action{Verb: do.verb, Object: do.object})
			if (err == nil) != do.allowed {
				t.Errorf("%s %s: %v", do.verb, do.object, err)
			}
			if err == nil {
				_ = op.End(t.Context(), nil)
			}
		}
		time.Sleep(time.Hour - time.Second)
		if s.Cause() != nil {
			t.Errorf("ended too early: %v", s.Cause())
		}
		time.Sleep(2 * time.Second)
		if got := s.Cause(); !errors.Is(got, session.ErrNoLonger) || !strings.Contains(got.Error(), "1h0m0s") {
			t.Errorf("ended because of %v", got)
		}
	})
}
