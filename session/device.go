package session

import (
	"context"
	"strings"
)

// deviceUser begins the name under which a device without a login is recorded. No
// account can have such a name.
const deviceUser = "device:"

// LineEnds says what is done with line ends that are not CRLF (RFC 5321, section
// 2.3.8) in mail. The zero value gives a bare LF its CR and refuses a bare CR.
type LineEnds uint8

const (
	LinesAsUsual LineEnds = iota
	LinesRepair           // a bare CR is made a line end, too
	LinesRefuse           // a bare LF is refused, too
)

// Stage is how near its end something is that the rules let pass for a while.
type Stage string

const (
	StageObserve  Stage = "observe"  // it passes, and is recorded
	StageWarn     Stage = "warn"     // it passes, and whoever answers for it is told
	StageBrownout Stage = "brownout" // it does not pass for a while
	StageEnforce  Stage = "enforce"  // it does not pass any more
)

// A Device is a peer that the rules let in otherwise than anybody else: without a
// login, with a password in clear, or with TLS of old. In exchange it is held to
// what stands here. It does not change.
type Device struct {
	Name string
	// Sender is the one address that its mail is from, whatever it says. Empty leaves
	// it the addresses of its account.
	Sender string
	// Mail is how much it may send, and to which domains; Anywhere is all of them, and
	// without it no domain is none. Limits of an account of its own hold beside it.
	Mail     MailLimits
	Anywhere bool
	Lines    LineEnds
	// Notice is what the recipients are told in StageWarn.
	Notice string
}

// Device lets in a peer that proves nothing, if the rules know a device by where it
// is. It is for the relay listener, once mail is about to be sent there without a
// login. ErrDenied is everybody whom they do not know, of whom no login is recorded;
// with a Hint it is a device that is let in no more. Other errors are ErrTooMany and
// ErrUnavailable.
func (a *Attempt) Device(ctx context.Context) (*Session, error) {
	r := a.request(PhaseVerified)
	r.Method = MethodDevice
	verdict := a.policy.Decide(r)
	if verdict.Device == nil {
		return nil, ErrDenied
	}
	user := deviceUser + verdict.Device.Name
	d := decision{request: r, offered: MethodDevice, verdict: verdict}
	if !verdict.Allowed {
		a.recordDevice(d, user)
		return nil, &Refusal{Kind: ErrDenied, Hint: verdict.Hint}
	}
	leave, err := a.gate.cfg.Limiter.Enter(user)
	if err != nil {
		d.verdict.Reason = err.Error()
		a.recordDevice(d, user)
		return nil, err
	}
	a.endSession(nil)
	s := newSession(a, leave)
	a.gate.live.add(s, user)
	s.identity, s.method, s.login = Identity{User: user}, MethodDevice, r
	s.data = verdict.Data
	s.rules.Store(&ruled{a.policy, s.data.Acts, r})
	s.become(verdict)
	if err := a.grant(ctx, s, a.deviceEvent(d, OutcomeGranted, user)); err != nil {
		return nil, err
	}
	a.gate.cfg.Limiter.Succeeded(a.peer, user)
	return s, nil
}

// deviceEvent is a login event under the name of the device, which no fact says.
func (a *Attempt) deviceEvent(d decision, outcome, user string) Event {
	e := a.loginEvent(d, outcome, CredentialNone)
	e.User = user
	return e
}

func (a *Attempt) recordDevice(d decision, user string) {
	a.tried = true
	a.gate.append(a.deviceEvent(d, OutcomeRefused, user))
}

// become holds a session that is not granted yet to what the verdict says of a
// device.
func (s *Session) become(v Verdict) {
	s.device, s.stage = v.Device, v.Stage
	if s.device != nil && s.device.Sender != "" {
		s.identity.Addresses = []string{strings.ToLower(s.device.Sender)}
	}
}

// Device returns what the session is held to as a device; nil if it is none.
func (s *Session) Device() *Device { return s.device }

// Stage returns how near the end of what the rules let pass for the session is.
// Empty means that it needs nothing of the kind.
func (s *Session) Stage() Stage { return s.stage }
