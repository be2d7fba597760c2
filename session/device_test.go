package session_test

import (
	"errors"
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
)

// mfp lets every peer in as one device.
func mfp(q session.Request) session.Verdict {
	d := &session.Device{Name: "mfp", Sender: "Scan@Example.com", Mail: session.MailLimits{Domains: []string{"example.com"}}}
	return session.Verdict{Allowed: q.Method != session.MethodPassword || q.User == "alice", Device: d, Stage: session.StageWarn, Rule: `device "mfp" (test)`}
}

func TestDeviceSession(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, mfp)
	a := core.Connect(t, session.Relay, session.Plain)
	s, err := a.Device(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if id := s.Identity(); id.User != "device:mfp" || len(id.Groups) > 0 || s.Stage() != session.StageWarn || s.Method() != session.MethodDevice {
		t.Errorf("got %+v, stage %q, method %q", id, s.Stage(), s.Method())
	}
	for _, tc := range []struct {
		from, to string
		want     error
	}{
		{"scan@example.com", "bob@example.com", nil},
		{"SCAN@example.COM", "bob@EXAMPLE.com", nil},
		{"eve@example.com", "bob@example.com", session.ErrDenied},
		{"", "bob@example.com", session.ErrDenied},
		{"scan@example.com", "bob@sub.example.com", session.ErrDenied},
		{"scan@example.com", "bob%remote.test@example.com", session.ErrDenied},
		{"scan@example.com", `"bob@remote.test"@example.com`, session.ErrDenied},
		{"scan@example.com", "example.com", session.ErrDenied},
	} {
		op, err := s.Begin(t.Context(), session.Action{Verb: session.Accept, Object: tc.from, To: []string{"a@example.com", tc.to}})
		if !errors.Is(err, tc.want) {
			t.Errorf("%s to %s: got %v, want %v", tc.from, tc.to, err, tc.want)
		}
		if err == nil {
			_ = op.End(t.Context(), nil)
		}
	}
	if list := core.Gate.Sessions(); len(list) != 1 || list[0].User != "device:mfp" {
		t.Errorf("sessions: got %+v", list)
	}
	if !core.Gate.Kill(s.ID()) {
		t.Error("it cannot be killed")
	}
	<-s.Done()
}

// An account whose login a device statement lets pass is held to it.
func TestDeviceLoginIsHeld(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, mfp)
	a := core.Connect(t, session.Relay, session.Plain)
	s, err := a.Offer(t.Context(), session.Password("alice", "right"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Sends(t.Context(), "alice@example.com") == nil || s.Sends(t.Context(), "scan@example.com") != nil {
		t.Error("it sends as the account, want as the sender of the device only")
	}
	if s.MayMail(t.Context(), "scan@example.com", []string{"bob@remote.test"}) == nil {
		t.Error("it reaches all the world")
	}
	// What holds for the account holds for it, too.
	core.Accounts.Mail("alice", session.MailLimits{Domains: []string{"example.org"}})
	if s, err = core.Connect(t, session.Relay, session.Plain).Offer(t.Context(), session.Password("alice", "right")); err != nil {
		t.Fatal(err)
	}
	if err := s.MayMail(t.Context(), "scan@example.com", []string{"bob@example.com"}); !errors.Is(err, session.ErrDenied) {
		t.Errorf("against the account's limits: got %v, want ErrDenied", err)
	}
	if s.Identity().User != "alice" || s.Method() != session.MethodPassword {
		t.Errorf("got %+v by %s", s.Identity(), s.Method())
	}
}

// A peer that the rules do not know as a device leaves no login in the record.
func TestNoDevice(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, func(q session.Request) session.Verdict {
		return session.Verdict{Allowed: q.Method != session.MethodDevice}
	})
	a := core.Connect(t, session.Relay, session.Plain)
	if _, err := a.Device(t.Context()); !errors.Is(err, session.ErrDenied) || session.Hint(err) != "" {
		t.Errorf("got %v, want ErrDenied", err)
	}
	if e := core.Record.Events(session.EventLogin); len(e) != 0 {
		t.Errorf("recorded: %+v", e)
	}
	// Rules that allow everything name no device either: nobody is let in unnamed.
	open := sessiontest.New(t, nil)
	b := open.Connect(t, session.Relay, session.Plain)
	if _, err := b.Device(t.Context()); !errors.Is(err, session.ErrDenied) {
		t.Errorf("by open rules: got %v, want ErrDenied", err)
	}
}
