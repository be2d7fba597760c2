package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// An Attempt is one connection on its way to a session, and stays its account
// until the connection ends. Its methods may be called from the goroutine that
// serves the connection only, except Count, Peer and Close.
type Attempt struct {
	gate      *Gate
	peer      Peer
	policy    Policy
	admission Admission
	ssh       SSHRules
	oldTLS    bool
	started   time.Time

	channel  Channel
	client   string
	class    Client
	failures int
	claims   int  // names refused because of the channel
	tried    bool // a login was decided, one way or the other
	logins   int64
	session  *Session
	chain    chain

	hangUp    func()
	dropped   bool
	in, out   atomic.Int64
	closeOnce sync.Once
}

// maxRefusedClaims is how many names one connection may have refused because of
// its channel. Each is a line of the record, which a peer could otherwise fill
// without ever proving anything.
const maxRefusedClaims = 16

// Peer returns who is connected.
func (a *Attempt) Peer() Peer { return a.peer }

// SSH returns what the rules say of the connection's SSH algorithms.
func (a *Attempt) SSH() SSHRules { return a.ssh }

// OldTLS reports whether the connection may use TLS before version 1.2.
func (a *Attempt) OldTLS() bool { return a.oldTLS }

// Channel returns the protection that the connection has.
func (a *Attempt) Channel() Channel { return a.channel }

// Upgraded tells that the connection is now protected by c: after AUTH TLS,
// STARTTLS, an implicit TLS handshake, or the SSH key exchange. What was learnt
// before is forgotten, a session included (RFC 3207, section 4.2; RFC 2228,
// section 3).
func (a *Attempt) Upgraded(c Channel) {
	a.Logout(nil)
	a.channel = c
	a.client, a.class = "", ClientUnknown
}

// Cleared tells that the connection goes on in clear, and its session with it (CCC:
// RFC 2228, section 3). Credentials that come now cross in clear.
func (a *Attempt) Cleared() { a.channel = Channel{} }

// OnDrop says how the peer is hung up on, if a rule wants it to hear nothing more. Whoever
// serves the connection then finds it closed.
func (a *Attempt) OnDrop(hangUp func()) { a.hangUp = hangUp }

// Client notes the software that the peer says it is, for the record and the rules.
func (a *Attempt) Client(software string) {
	a.client = printable(software, 255)
	a.class = ClassifyClient(a.peer.Protocol, a.client)
}

// clientID says which client of an account the peer is.
func (a *Attempt) clientID() ClientID {
	return ClientID{Class: a.class, Network: ClientNetwork(a.peer.Remote.Addr())}
}

// Count adds to the bytes of the connection's record.
func (a *Attempt) Count(in, out int64) {
	a.in.Add(in)
	a.out.Add(out)
}

// Offer is one proof. It returns a Session when it was enough, *MoreError when
// it was right and another is needed, and otherwise ErrInsecure, ErrDenied,
// ErrTooMany or ErrUnavailable. A session that the connection had before ends.
//
// The order is fixed: budgets, the rules by name, the proof itself, in the same
// time for every name, whether the account may be used, the rules once more, a
// place among the sessions, and the durable record. Only then is the login
// granted.
//
// Where the rules ask for more than one proof, what was right is kept for as long
// as the connection stays at the same name; the account must not change meanwhile.
//
// A proof whose account was changed, or made, while it was checked is checked again; if that
// goes on, or there were others before it, the answer is ErrUnavailable, and nobody is
// charged for it.
func (a *Attempt) Offer(ctx context.Context, c Credential) (*Session, error) {
	for tries := 1; ; tries++ {
		s, err := a.offer(ctx, c)
		switch {
		case !errors.Is(err, errChanged):
			return s, err
		case tries < maxOffers && c.repeatable():
			continue
		}
		d, _ := a.decide(ctx, c.User, c.Method)
		d.verdict = Verdict{Reason: err.Error()}
		a.recordLogin(d, OutcomeError, a.crossed(c))
		return nil, ErrUnavailable
	}
}

// maxOffers is how often one proof is checked while its account is being changed.
const maxOffers = 3

// errChanged is an account that was changed while a proof of it was checked.
var errChanged = errors.New("the account was changed during the login")

// offer is Offer once.
func (a *Attempt) offer(ctx context.Context, c Credential) (*Session, error) {
	a.endSession(nil)
	if !a.chain.begun(c.User) {
		a.chain = chain{}
	}
	c.Protocol, c.Listener = a.peer.Protocol, a.peer.Listener
	crossed := a.crossed(c)
	if err := a.budget(c); err != nil {
		a.recordRefused(ctx, c, crossed, err)
		return nil, err
	}
	began := time.Now()
	named, err := a.decide(ctx, c.User, c.Method)
	if err != nil {
		a.recordLogin(named, OutcomeError, crossed)
		return nil, err
	}
	if named.verdict.Drop {
		return nil, a.drop(named, crossed)
	}
	if named.verdict.Insecure {
		a.recordLogin(named, OutcomeRefused, crossed)
		if crossed == CredentialPlaintext {
			if named.verdict.Retry.IsZero() {
				a.gate.cfg.Limiter.Offend(a.peer, c.User, InsecureAttempt)
			}
			a.suspect(c)
		}
		a.failures++
		return nil, named.verdict.refusal(ErrInsecure)
	}
	if err := a.throttle(named); err != nil {
		named.verdict = Verdict{Reason: err.Error(), WouldRefuse: named.verdict.WouldRefuse}
		a.recordLogin(named, OutcomeRefused, crossed)
		return nil, err
	}
	if c.Method == MethodCode && a.chain.proven == 0 {
		return nil, a.deny(ctx, began, named, crossed, false, ErrDenied)
	}
	proof, err := a.gate.cfg.Auth.Verify(ctx, a.peer.Remote.Addr(), c)
	again := proof.Again
	switch {
	case err == nil && proof.Changed:
		return nil, errChanged
	case err == nil && named.verdict.Allowed && !named.account.Disabled:
		if a.chain.proven == 0 {
			a.chain = chain{user: c.User, method: c.Method, generation: named.account.Generation}
		}
		a.chain.proven |= c.Method.Factor()
		switch c.Method {
		case MethodPublicKey:
			a.chain.key = c.Key
		case MethodToken:
			a.chain.proof = proof
		}
		if c.Method.SendsPassword() && a.gate.handsOn(named.account) {
			a.chain.password = c.Secret
		}
		if named.verdict.Lacking.More(a.chain.proven) && a.chain.generation == named.account.Generation {
			return nil, a.more(ctx, began, c, named, crossed, again)
		}
		return a.enter(ctx, began, c, crossed, again)
	case err == nil:
		return nil, a.proven(ctx, began, named, c, crossed, again)
	case errors.Is(err, ErrDenied):
		return nil, a.deny(ctx, began, named, crossed, again, err)
	case errors.Is(err, ErrAborted):
		named.verdict = Verdict{Reason: err.Error()}
		a.recordLogin(named, OutcomeRefused, crossed)
		a.failures++
		return nil, ErrAborted
	default:
		named.verdict = Verdict{Reason: err.Error()}
		a.recordLogin(named, OutcomeError, crossed)
		return nil, unavailable(err)
	}
}

// budget asks the limits before anything is spent on a guess.
func (a *Attempt) budget(c Credential) error {
	if a.failures >= a.gate.cfg.MaxAttempts {
		return ErrTooMany
	}
	return a.gate.cfg.Limiter.Guess(a.peer, c.User, c.Method)
}

// Logout ends the session that the connection has, if any. The connection may
// log in again (REIN, a second USER). What it had proven is forgotten. The
// connection record stays open.
func (a *Attempt) Logout(cause error) {
	a.chain = chain{}
	a.endSession(cause)
}

func (a *Attempt) endSession(cause error) {
	if a.session != nil {
		a.session.end(cause)
		a.session = nil
	}
}

// Close writes the connection's record, once; cause is why it ended, nil if the
// peer said goodbye. It ends the session too. Later calls do nothing.
func (a *Attempt) Close(cause error) {
	a.closeOnce.Do(func() {
		a.Logout(cause)
		if a.dropped {
			cause = ErrDropped
		}
		outcome := OutcomeSession
		switch {
		case errors.Is(cause, ErrPanic):
			outcome = OutcomeFailed
		case a.logins > 0:
		case errors.Is(cause, ErrHandshake):
			outcome = OutcomeHandshakeFailed
		default:
			outcome = OutcomeNoLogin
		}
		a.gate.append(a.connectionEvent(outcome, cause))
		if o, guilty := a.offence(cause); guilty {
			a.gate.cfg.Limiter.Offend(a.peer, "", o)
		}
		a.admission.Release()
	})
}

// offence is what the peer is charged for the way in which the connection ended.
func (a *Attempt) offence(cause error) (Offence, bool) {
	switch {
	case errors.Is(cause, ErrPanic):
		return Crash, true
	case errors.Is(cause, ErrGrace):
		return GraceExceeded, true
	case errors.Is(cause, ErrHandshake), errors.Is(cause, ErrProtocol):
		return BadProtocol, true
	case errors.Is(cause, ErrShutdown):
		return "", false
	case !a.tried:
		return NoLogin, true
	default:
		return "", false
	}
}

// crossed says what an offered credential shows to the network.
func (a *Attempt) crossed(c Credential) string {
	if c.carriesSecret() && !a.channel.Kind.Encrypted() {
		return CredentialPlaintext
	}
	return CredentialProtected
}

func (a *Attempt) request(phase Phase) Request {
	r := a.connectRequest()
	r.Phase, r.Time = phase, time.Now().UTC()
	r.Channel, r.OldTLS, r.TLS, r.Client = a.channel.Kind, a.channel.oldTLS(), a.channel.facts(), a.class
	return r
}

// connectRequest is what is known of the peer alone.
func (a *Attempt) connectRequest() Request {
	r := Request{
		Phase: PhaseConnect, Time: a.started, Listener: a.peer.Listener, Protocol: a.peer.Protocol, Remote: a.peer.Remote.Addr().Unmap(),
	}
	if r.Protocol == Relay {
		r.Local = a.peer.Local.Addr().Unmap()
	}
	return r
}

// A decision is a verdict with what it was based on.
type decision struct {
	request Request
	offered Method
	account Account
	verdict Verdict
	exposed bool // the proof was right and crossed in clear
}

// decide asks the rules about a name before its proof.
func (a *Attempt) decide(ctx context.Context, user string, m Method) (decision, error) {
	return a.decidePhase(ctx, PhaseNamed, user, m)
}

func (a *Attempt) decidePhase(ctx context.Context, phase Phase, user string, m Method) (decision, error) {
	account, err := a.gate.cfg.Auth.Lookup(ctx, a.peer.Remote.Addr(), user)
	if err != nil {
		if !errors.Is(err, ErrTooMany) { // which is the peer's doing
			a.gate.cfg.Log.Error("account look-up", "conn", a.peer.Conn, "err", err)
		}
		return decision{request: a.request(phase), verdict: Verdict{Reason: "account look-up failed"}}, unavailable(err)
	}
	r := a.request(phase)
	r.User, r.Known, r.As, r.Groups, r.Method = user, account.Known, account.As, account.Identity.Groups, m
	r.Cohort, r.PasswordSet = CohortOf(a.gate.cfg.CohortKey, user), account.PasswordSet
	if h := a.gate.cfg.History; h != nil {
		r.Recall(h.Recall(r.Subject(), a.clientID()))
	}
	if a.chain.begun(user) {
		r.Method, r.Proven = a.chain.method, a.chain.proven
		if r.Proven&FactorKey != 0 {
			r.Key = a.chain.key.Kind()
		}
	}
	return decision{request: r, offered: m, account: account, verdict: a.policy.Decide(r)}, nil
}

// unavailable keeps the temporary kinds and turns any other fault into one.
func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTooMany) {
		return err
	}
	return ErrUnavailable
}
