package session

import (
	"context"
	"sync"
	"time"
)

// A Session is somebody who logged in, until they leave. Its methods may be
// called from any goroutine.
type Session struct {
	id       string
	attempt  *Attempt
	identity Identity  // set before the session is granted, then constant
	data     DataRules // likewise
	method   Method    // of the first proof, likewise
	notice   string    // likewise
	password Secret    // that opened it, while it lasts, if it is handed on; guarded by mu
	login    Request   // what the login was decided by, likewise
	device   *Device   // nil if it is none; likewise
	stage    Stage     // likewise
	channel  Channel   // its kind only: the rest is in the login's record
	began    time.Time
	leave    func()
	rules    rules

	over  context.Context // done when the session is over
	close context.CancelFunc
	mu    sync.Mutex
	cause error // why it is over
	info  *Info // set when granted
}

func newSession(a *Attempt, leave func()) *Session {
	over, cancel := context.WithCancel(context.Background())
	return &Session{
		id: NewID(), attempt: a, channel: Channel{Kind: a.channel.Kind}, began: time.Now(), leave: leave, over: over, close: cancel,
	}
}

// ID identifies the session in the record and to gateway sessions.
func (s *Session) ID() string { return s.id }

// Identity returns who it is.
func (s *Session) Identity() Identity { return s.identity }

// Data returns what the rules say of the session's data connections.
func (s *Session) Data() DataRules { return s.data }

// Notice returns what the client is to be told of a rule that will refuse it; empty
// if there is nothing.
func (s *Session) Notice() string { return s.notice }

// Method returns how they first proved who they are.
func (s *Session) Method() Method { return s.method }

// Password returns the password that opened the session, where Config.HandsOn wants it kept: else,
// for a login without one, and after the end of the session, the empty Secret. It is for whoever
// logs in with it at the server that has the account's files, and for nobody else; it must not
// be kept longer than the session.
func (s *Session) Password() Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.password
}

// MayEnrol reports whether the session may bring keys for its own account: a rule
// grants it, and a password opened the session. Whoever holds a key or a token only
// must not be able to make a second one that outlives it.
func (s *Session) MayEnrol() bool {
	return s.data.EnrolKeys && s.method.SendsPassword()
}

// MayEnrolOffered reports whether the keys that the client offered before its
// password may become the account's: a rule grants it, and as in MayEnrol.
func (s *Session) MayEnrolOffered() bool {
	return s.data.EnrolOffered && s.method.SendsPassword()
}

// Peer returns where they are.
func (s *Session) Peer() Peer { return s.attempt.peer }

// Done is closed when the session is over: logged out, killed, or its account
// disabled. The front-end then says goodbye and closes the connection unless it
// logged the user out itself.
func (s *Session) Done() <-chan struct{} { return s.over.Done() }

// AfterDone calls f in a goroutine of its own once Done is closed, unless stop is
// called before. It is for whoever cannot wait on a channel.
func (s *Session) AfterDone(f func()) (stop func() bool) { return context.AfterFunc(s.over, f) }

// Cause says why Done is closed; nil before, and after a plain logout.
func (s *Session) Cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// Vendor notes more of the software that the peer says it is, said after the login,
// for the connection's record. The front-end calls it before the end of the
// connection's last goroutine.
func (s *Session) Vendor(software string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt.client = printable(s.attempt.client+"; "+software, 255)
	if s.info != nil {
		s.info.Client = s.attempt.client
	}
}

// Count adds to the bytes of the connection, for data that did not pass through
// the connection itself (FTP data connections).
func (s *Session) Count(in, out int64) { s.attempt.Count(in, out) }

// Begin asks whether the session may do a, and records that it begins if it
// changes something. It returns ErrDenied, with a Hint if a rule has one, ErrPaused, ErrUnavailable when it cannot be recorded,
// ErrQuota for too many recipients, a *LimitError for mail that must wait, or ErrClosed
// after the end of the session. Whoever gets an Op must End it.
func (s *Session) Begin(_ context.Context, a Action) (*Op, error) {
	if s.ended() {
		return nil, ErrClosed
	}
	op := &Op{session: s, action: a, began: time.Now()}
	if !s.may(a) {
		op.record(OutcomeRefused, ErrDenied)
		return nil, ErrDenied
	}
	if err := s.judge(op, a); err != nil {
		_ = op.record(OutcomeRefused, nil)
		return nil, err
	}
	if a.Verb == Accept {
		var err error
		if op.giveBack, err = s.takeMail(a.To); err != nil {
			_ = op.record(OutcomeRefused, err)
			return nil, err
		}
	}
	if a.Verb.changes() {
		e := op.event(OutcomeBegun)
		if err := s.attempt.gate.cfg.Recorder.Append(e); err != nil {
			if op.giveBack != nil {
				op.giveBack()
			}
			return nil, unavailable(err)
		}
	}
	return op, nil
}

// Sends reports whether the session may send as the mail address, and records a
// refusal if not.
func (s *Session) Sends(_ context.Context, address string) error {
	if s.identity.Sends(address) {
		return nil
	}
	op := &Op{session: s, action: Action{Verb: Reject, Object: address}, began: time.Now()}
	op.reason = "not an address of the account"
	op.record(OutcomeRefused, nil)
	return ErrDenied
}

// may decides an action by what the session's identity allows.
func (s *Session) may(a Action) bool {
	if a.Verb == Accept {
		return s.identity.Sends(a.Object)
	}
	return s.identity.Access.allows(a)
}

// grant makes the session visible and reports whether it was not ended before.
func (s *Session) grant() bool {
	a := s.attempt
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended() {
		return false
	}
	s.info = &Info{
		ID: s.id, Conn: a.peer.Conn, User: s.identity.User, Protocol: a.peer.Protocol, Listener: a.peer.Listener,
		Remote: a.peer.Remote.String(), Channel: a.channel.Kind.String(), Method: s.method, Client: a.client, Since: s.began,
	}
	return true
}

// describe returns what an administrator sees of the session, once granted.
func (s *Session) describe() (Info, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.info == nil {
		return Info{}, false
	}
	info := *s.info
	info.BytesIn, info.BytesOut = s.attempt.in.Load(), s.attempt.out.Load()
	return info, true
}

func (s *Session) ended() bool { return s.over.Err() != nil }

// keep keeps the password that opened the session, unless it ended meanwhile.
func (s *Session) keep(password Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended() {
		s.password = password
	}
}

// end is idempotent: the first cause stays.
func (s *Session) end(cause error) {
	s.mu.Lock()
	if s.ended() {
		s.mu.Unlock()
		return
	}
	s.cause, s.password = cause, Secret{}
	s.close()
	s.mu.Unlock()
	s.attempt.gate.live.remove(s)
	s.leave()
}

// discard ends a session that was never granted.
func (s *Session) discard() { s.end(ErrDenied) }
