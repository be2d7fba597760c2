package session

import (
	"context"
	"slices"
)

// Claim is a name before any proof (USER, the first answer of AUTH LOGIN), of which a
// proof by m or one of the others would be asked for. It returns ErrInsecure if none of
// them may be asked for over this channel, ErrPaused if not now, ErrUnavailable if that
// cannot be said now, ErrTooMany after maxRefusedClaims of the first two, and nil
// otherwise: also for names that do not exist or will be refused, which are told apart
// only by the record. ErrDropped is a peer that a rule hangs up on.
func (a *Attempt) Claim(ctx context.Context, user string, m Method, others ...Method) error {
	d, err := a.decide(ctx, user, m)
	if err != nil {
		return err
	}
	if d.verdict.mayAsk() || a.anyInsteadOf(d.request, proofs(m, others...)) {
		return nil
	}
	d.offered = "" // nothing was
	if d.verdict.Drop {
		return a.drop(d, CredentialNone)
	}
	if a.claims++; a.claims > maxRefusedClaims {
		a.gate.cfg.Limiter.Offend(a.peer, "", BadProtocol)
		return ErrTooMany
	}
	a.recordLogin(d, OutcomeRefused, CredentialNone)
	return d.verdict.refusal(ErrInsecure)
}

// anyInsteadOf reports whether the channel would do for another of the methods than the
// one of r. Where something was proven already, there is no other: the rules look at the
// first.
func (a *Attempt) anyInsteadOf(r Request, methods []Method) bool {
	return r.Proven == 0 && slices.ContainsFunc(methods, func(m Method) bool {
		r.Method = m
		return a.policy.Decide(r).mayAsk()
	})
}

// proofs are what may come where some methods are asked for: a token where a password
// is.
func proofs(m Method, others ...Method) []Method {
	list := append([]Method{m}, others...)
	if slices.Contains(list, MethodPassword) {
		list = append(list, MethodToken)
	}
	return list
}

// Methods returns the ways to prove oneself that may be offered on this channel
// to whoever it may be, in the order of preference. It does not take a name: an
// offer that depended on it would tell which names exist. What is refused for a while
// only is offered: a client that finds no method takes that for final. An SSH server
// must know the methods before the client says what software it is, so that there they
// are those for any.
func (a *Attempt) Methods() []Method {
	var offer []Method
	for _, m := range Methods() {
		if slices.ContainsFunc(proofs(m), a.mayOffer) {
			offer = append(offer, m)
		}
	}
	return offer
}

func (a *Attempt) mayOffer(m Method) bool {
	r := a.request(PhaseNamed)
	r.Method = m
	last := r.Client
	if a.peer.Protocol == SFTP && a.client == "" && looksAtClient(a.policy) {
		last = Clients - 1
	}
	for ; r.Client <= last; r.Client++ {
		if v := a.policy.Decide(r); v.Allowed || !v.Retry.IsZero() {
			return true
		}
	}
	return false
}

// Knows answers an SSH key query: would this key be accepted if it were proven?
// Nothing is recorded, since nothing was proven; package auth may remember a key that
// the account does not have, for its administrator. When it cannot be said now the
// answer is no.
func (a *Attempt) Knows(ctx context.Context, user string, key Key) KeyAnswer {
	if a.gate.cfg.Limiter.Guess(a.peer, user, MethodPublicKey) != nil {
		return KeyAnswer{}
	}
	answer, err := a.gate.cfg.Auth.Knows(ctx, a.peer.Remote.Addr(), user, key)
	if err != nil {
		a.gate.cfg.Log.Error("key query", "conn", a.peer.Conn, "err", err)
		return KeyAnswer{}
	}
	return answer
}

// drop hangs up on the peer, and records that login.
func (a *Attempt) drop(d decision, crossed string) error {
	a.recordLogin(d, OutcomeRefused, crossed)
	a.dropped = true
	a.failures = a.gate.cfg.MaxAttempts // if there is nobody who hangs up
	if a.hangUp != nil {
		a.hangUp()
	}
	return d.verdict.refusal(ErrDenied)
}

// throttle asks whether the source may try such a login now, by the rules.
func (a *Attempt) throttle(d decision) error {
	if d.verdict.Rate == (Rate{}) {
		return nil
	}
	return a.gate.cfg.Limiter.Throttle(a.peer, d.verdict.Rate)
}
