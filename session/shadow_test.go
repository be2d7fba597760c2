package session_test

import (
	"slices"
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
)

// The shadow is asked for what is let in, and changes nothing.
func TestShadow(t *testing.T) {
	t.Parallel()
	c := sessiontest.New(t, func(q session.Request) session.Verdict {
		return session.Verdict{Allowed: q.User != "bob", WouldRefuse: []string{"observed"}, Rule: "in force"}
	})
	c.Accounts.Add("bob", "right", "", "users")
	login := func(user string) error {
		a := c.Connect(t, session.FTP, session.TLS)
		defer a.Close(nil)
		_, err := a.Offer(t.Context(), session.Password(user, "right"))
		return err
	}
	strict := sessiontest.Rules(func(session.Request) session.Verdict { return session.Verdict{Rule: "shadow"} })
	for _, tc := range []struct {
		shadow session.Policy
		user   string
		want   []string
	}{
		{nil, "alice", []string{"observed"}},
		{strict, "alice", []string{"observed", "shadow"}},
		{strict, "bob", []string{"observed"}},
		{sessiontest.Rules(func(session.Request) session.Verdict { return session.Verdict{Allowed: true} }), "alice", []string{"observed"}},
		{nil, "alice", []string{"observed"}},
	} {
		c.Gate.SetShadow(tc.shadow)
		if err := login(tc.user); (err == nil) != (tc.user == "alice") {
			t.Errorf("%s: %v", tc.user, err)
		}
		logins := c.Record.Events(session.EventLogin)
		if e := logins[len(logins)-1]; !slices.Equal(e.WouldRefuse, tc.want) || e.User != tc.user {
			t.Errorf("%s: would refuse %q, want %q", e.User, e.WouldRefuse, tc.want)
		}
	}
}
