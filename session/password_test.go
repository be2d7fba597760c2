package session_test

import (
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
)

// The password that opened a session is kept where it is handed on, and no longer than the
// session lasts.
func TestPasswordIsKeptWhereItIsHandedOn(t *testing.T) {
	t.Parallel()
	for _, hands := range []bool{false, true} {
		c := sessiontest.NewWith(t, nil, func(cfg *session.Config) {
			cfg.HandsOn = func(groups []string) bool { return hands && len(groups) == 1 && groups[0] == "users" }
		})
		a := c.Connect(t, session.FTP, session.TLS)
		defer a.Close(nil)
		if _, err := a.Offer(t.Context(), session.Password("alice", "wrong")); err == nil {
			t.Fatal("a wrong password is good")
		}
		s, err := a.Offer(t.Context(), session.Password("alice", "right"))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Password(); got.Empty() == hands || hands && got.Reveal() != "right" {
			t.Errorf("handed on %v: kept is %v", hands, !got.Empty())
		}
		a.Logout(nil)
		if !s.Password().Empty() {
			t.Error("it is kept after the end")
		}
	}
}
