package session

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"
)

// Authenticator knows accounts and their credentials. Its methods may be called
// at the same time; an error other than those named is a failure of ours.
type Authenticator interface {
	// Lookup returns what is known of user; the zero Account if there is none. source is
	// where the name comes from, the zero Addr if nobody connected. Errors:
	// ErrUnavailable if it cannot be said now, ErrTooMany if source names too many.
	Lookup(ctx context.Context, source netip.Addr, user string) (Account, error)
	// Verify checks one proof. It returns nil if it is right, ErrDenied if it is
	// wrong, and ErrUnavailable if it could not be checked now. Whether it is enough
	// is for the rules to say. A code that was right once is never right again. An unknown user takes as long
	// as a known one. source is where the guess comes from, for fair queueing. The
	// Proof says more, also of a wrong one. An Exchange is spoken meanwhile; its error
	// ErrAborted is returned as it is.
	Verify(ctx context.Context, source netip.Addr, c Credential) (Proof, error)
	// Knows tells whether key would be accepted for user from source, before any
	// proof.
	Knows(ctx context.Context, source netip.Addr, user string, key Key) (KeyAnswer, error)
}

// Limiter counts what peers do and says when it is too much. Its refusals are
// ErrTooMany or ErrBanned.
type Limiter interface {
	// Admit counts a new connection. The Admission is released when it ends.
	Admit(p Peer) (Admission, error)
	// Guess is asked before each proof is checked: may this source still guess, and
	// may this account still be guessed at from there by m? A key or a token cannot be
	// guessed, so guesses at a password never keep its owner's key out.
	Guess(p Peer, user string, m Method) error
	// Throttle counts a login that a source is about to try, and says whether it may: at
	// most so many within the time. The error is an ErrTooMany.
	Throttle(p Peer, r Rate) error
	// Offend charges the peer for what it did.
	Offend(p Peer, user string, o Offence)
	// Succeeded tells that user proved who they are from this source.
	Succeeded(p Peer, user string)
	// Enter counts a session of user; leave is called when it ends.
	Enter(user string) (leave func(), err error)
}

// Admission is one connection's place among all.
type Admission interface {
	// LoggedIn moves the connection out of those that nobody logged in on. It may
	// be called more than once.
	LoggedIn()
	// Release gives the place back. It is called once.
	Release()
}

// Offence is something that a peer is charged for.
type Offence string

const (
	WrongProof      Offence = "wrong proof"      // a login that failed on a known name
	RepeatedProof   Offence = "repeated proof"   // the same refused login again: no further guess
	UnknownUser     Offence = "unknown user"     // a login on a name that does not exist
	InsecureAttempt Offence = "insecure attempt" // a credential sent in clear although it was refused
	UnknownKey      Offence = "unknown key"      // a connection whose keys were none of the account's
	NoLogin         Offence = "no login"         // a connection that ended without an attempt
	Refused         Offence = "refused"          // a connection that the rules refuse before a word
	GraceExceeded   Offence = "grace exceeded"   // a connection that did not log in in time
	BadProtocol     Offence = "bad protocol"     // a failed handshake, garbage, a foreign protocol
	Crash           Offence = "crash"            // our code panicked while serving the peer
)

// Config is what a Gate is made of. Auth, Policy, Recorder and Limiter must be
// set.
type Config struct {
	Auth     Authenticator
	Policy   Policy
	Recorder Recorder
	Limiter  Limiter
	// KeyUsed is told of every key that took part in a login that was granted. It must
	// not take time. Nil means that nobody wants to know.
	KeyUsed func(user string, key Key)
	// History remembers what logins showed. Without one, nothing is remembered: no floor
	// ever rises and no password counts as exposed.
	History Historian
	// HandsOn reports whether the files of accounts in those groups are on a server that they
	// log in to by themselves, so that a session keeps the password that opened it
	// (Session.Password). Nil is that of nobody.
	HandsOn func(groups []string) bool
	// IgnoreRefused leaves it open whether a password that crossed in clear although it
	// was refused is one of an account. Otherwise History finds it out after the reply.
	IgnoreRefused bool
	// CohortKey keys the hash that divides names into cohorts.
	CohortKey []byte
	// TokenUsed is the same for tokens, by their id.
	TokenUsed func(user, token string, from netip.Addr)
	// Mail counts what accounts and devices send. Nil means that those with limits on
	// how much cannot send any.
	Mail MailCounter
	// NameKey keys the hash under which names that do not exist are recorded.
	NameKey []byte
	// MaxAttempts is how many proofs one connection may get wrong. Zero means 6.
	MaxAttempts int
	// FailureTime is the grid on which failed logins are answered, so that the
	// time of the answer says nothing about its cause. Zero means 250ms.
	FailureTime time.Duration
	// Log gets what the operator should see and the record has no place for. Nil
	// means slog.Default.
	Log *slog.Logger
}

const (
	defaultMaxAttempts = 6
	defaultFailureTime = 250 * time.Millisecond
)

// A Gate is the one way in. It is safe for use by any number of connections.
type Gate struct {
	cfg    Config
	policy atomic.Pointer[Policy]
	shadow atomic.Pointer[Policy]
	live   live
	banned bannedTally
}

// NewGate returns a Gate that is open.
func NewGate(cfg Config) *Gate {
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = defaultMaxAttempts
	}
	if cfg.FailureTime == 0 {
		cfg.FailureTime = defaultFailureTime
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	g := &Gate{cfg: cfg}
	g.policy.Store(&cfg.Policy)
	g.banned.record = g.append
	return g
}

// SetPolicy puts p in force for the connections that come from now on. A
// connection keeps the policy that it began with; Redecide ends the sessions that p
// would not let in.
func (g *Gate) SetPolicy(p Policy) { g.policy.Store(&p) }

// Policy returns the policy in force.
func (g *Gate) Policy() Policy { return *g.policy.Load() }

// Close writes what is still held back for the record. No connection may be
// served any more.
func (g *Gate) Close() { g.banned.close() }

// Connect asks whether a peer may be spoken to at all, before the greeting. If
// not, its connection record is already written and the caller only closes the
// connection, after the reply that its protocol has for the error. Otherwise
// the caller must call Attempt.Close once.
func (g *Gate) Connect(ctx context.Context, p Peer) (*Attempt, error) {
	a := &Attempt{gate: g, peer: p, policy: g.Policy(), started: time.Now()}
	admission, err := g.cfg.Limiter.Admit(p)
	if errors.Is(err, ErrBanned) {
		g.banned.add(a.connectionEvent(OutcomeBanned, err))
		return nil, err
	}
	if err != nil {
		g.append(a.connectionEvent(OutcomeRefused, err))
		return nil, err
	}
	verdict := a.policy.Decide(a.connectRequest())
	if !verdict.Allowed {
		if verdict.Retry.IsZero() {
			g.cfg.Limiter.Offend(p, "", Refused)
		}
		admission.Release()
		e := a.connectionEvent(OutcomeRefused, errors.New(verdict.Reason))
		e.Rule, e.Stage, e.Policy = verdict.Rule, PhaseConnect, a.policy.Hash()
		g.append(e)
		return nil, verdict.refusal(ErrDenied)
	}
	a.admission, a.ssh, a.oldTLS = admission, verdict.SSH, verdict.OldTLS
	return a, nil
}

// Drop records a connection that was closed before Connect could be asked, since it
// did not come to be known whose it is. p is whoever was seen to connect; it is not
// charged. ErrHandshake as a cause is the peer's fault, ErrPanic ours, and any other
// refuses the connection.
func (g *Gate) Drop(p Peer, began time.Time, cause error) {
	a := &Attempt{gate: g, peer: p, started: began}
	outcome := OutcomeRefused
	switch {
	case errors.Is(cause, ErrHandshake):
		outcome = OutcomeHandshakeFailed
	case errors.Is(cause, ErrPanic):
		outcome = OutcomeFailed
	}
	g.append(a.connectionEvent(outcome, cause))
}

// handsOn reports whether sessions of an account keep its password.
func (g *Gate) handsOn(a Account) bool {
	return g.cfg.HandsOn != nil && a.Known && g.cfg.HandsOn(a.Identity.Groups)
}

// append records e where nobody can be told if that fails; the log is told.
func (g *Gate) append(e Event) {
	if err := g.cfg.Recorder.Append(e); err != nil {
		g.cfg.Log.Error("event not recorded", "event", e.Event, "conn", e.Conn, "err", err)
	}
}

// recordedName is the form in which a claimed name is written.
func (g *Gate) recordedName(user string, known bool) string {
	if known || user == "" {
		return user
	}
	return UnknownName(g.cfg.NameKey, user)
}

// CohortOf is the part of all names that user is in. Nobody without the key can tell
// which, whether or not the name exists.
func CohortOf(key []byte, user string) uint8 {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(user))
	return uint8(binary.BigEndian.Uint64(mac.Sum(nil)) % Cohorts)
}

// UnknownName is the form in which a name that does not exist is recorded. It is
// often a mistyped password, so only a keyed hash of it is written.
func UnknownName(key []byte, user string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(user))
	return "unknown:" + hex.EncodeToString(mac.Sum(nil)[:8])
}
