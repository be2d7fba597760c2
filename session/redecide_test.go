package session_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gateway/session"
	"gateway/session/sessiontest"
)

// A session ends when the rules that come into force would not let it in, or when
// its account lost something, and only then.
func TestRedecide(t *testing.T) {
	t.Parallel()
	never := sessiontest.Rules(func(q session.Request) session.Verdict {
		if q.Phase != session.PhaseVerified || q.User != "alice" || q.Method != session.MethodPassword || time.Since(q.Time) > time.Hour {
			return session.Verdict{Allowed: true}
		}
		return session.Verdict{Rule: `require "new" (test)`, Reason: "not any more"}
	})
	access := func(text string) session.Access {
		may, err := session.ParsePermissions(text)
		if err != nil {
			t.Fatal(err)
		}
		return session.Access{Rules: []session.PathRule{{Path: "/", May: may}}}
	}
	for _, tc := range []struct {
		name   string
		change func(c *sessiontest.Core)
		cause  error
		text   string
	}{
		{"nothing", func(*sessiontest.Core) {}, nil, ""},
		{"the same rules", func(c *sessiontest.Core) { c.Gate.SetPolicy(sessiontest.Rules(nil)) }, nil, ""},
		{"other rules", func(c *sessiontest.Core) { c.Gate.SetPolicy(never) }, session.ErrNoLonger, `require "new" (test)`},
		{"disabled", func(c *sessiontest.Core) { c.Accounts.Disable("alice") }, session.ErrDisabled, ""},
		{"not to be looked up", func(c *sessiontest.Core) { c.Accounts.Fail(errors.New("away")) }, nil, ""},
		{"may no longer write", func(c *sessiontest.Core) { c.Accounts.Allow("alice", access("list,read")) }, session.ErrNoLonger, "permission"},
		{"may do less in one folder", func(c *sessiontest.Core) {
			a := session.FullAccess()
			a.Rules = append(a.Rules, session.PathRule{Path: "/in", May: session.MayDrop})
			c.Accounts.Allow("alice", a)
		}, session.ErrNoLonger, "permission"},
		{"the same in two rules, and a quota", func(c *sessiontest.Core) {
			a := session.FullAccess()
			a.Rules, a.Quota.Bytes = append(a.Rules, session.PathRule{Path: "/in", May: session.MayAll}), 1
			c.Accounts.Allow("alice", a)
		}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			core := sessiontest.New(t, nil)
			core.Accounts.Add("bob", "right", "", "users")
			login := func(user string) *session.Session {
				s, err := core.Connect(t, session.SFTP, session.SSH).Offer(t.Context(), session.Password(user, "right"))
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			alice, bob := login("alice"), login("bob")
			tc.change(core)
			want := 0
			if tc.cause != nil {
				want = 1
			}
			if got := core.Gate.Redecide(t.Context()); got != want {
				t.Errorf("ended %d sessions, want %d", got, want)
			}
			if got := alice.Cause(); !errors.Is(got, tc.cause) || tc.cause != nil && !strings.Contains(got.Error(), tc.text) {
				t.Errorf("ended because of %v, want %v with %q", got, tc.cause, tc.text)
			}
			if bob.Cause() != nil {
				t.Errorf("bob's ended, too: %v", bob.Cause())
			}
			if _, err := alice.Begin(t.Context(), session.Action{Verb: session.Read, Object: "/f"}); (err != nil) != (tc.cause != nil) {
				t.Errorf("Begin afterwards: %v", err)
			}
		})
	}
}

// A device has no account, and stays as long as it is one.
func TestRedecideDevices(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, mfp)
	s, err := core.Connect(t, session.Relay, session.Plain).Device(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := core.Gate.Redecide(t.Context()); n != 0 || s.Cause() != nil {
		t.Errorf("by the same rules: %d ended, %v", n, s.Cause())
	}
	core.Gate.SetPolicy(sessiontest.Rules(nil)) // lets everybody in, and knows no device
	if n := core.Gate.Redecide(t.Context()); n != 1 || !errors.Is(s.Cause(), session.ErrNoLonger) {
		t.Errorf("without the device: %d ended, %v", n, s.Cause())
	}
}
