package session

import (
	"context"
	"time"
)

// more answers a right proof that is not enough: with what may follow, or where
// the protocol cannot ask for it, like a wrong one.
func (a *Attempt) more(ctx context.Context, began time.Time, c Credential, named decision, crossed string, again bool) error {
	next := named.verdict.Lacking.Next(a.chain.proven, a.peer.Protocol.canFollow())
	if next == 0 {
		verified, err := a.decidePhase(ctx, PhaseVerified, c.User, c.Method)
		a.chain = chain{}
		if err != nil {
			a.recordLogin(verified, OutcomeError, crossed)
			return err
		}
		return a.proven(ctx, began, verified, c, crossed, again)
	}
	more := &MoreError{Methods: next.methods()}
	named.verdict.Reason = more.Error()
	a.recordLogin(named, OutcomeRefused, crossed)
	return more
}

// enter turns a right proof into a session: the part of Offer after Verify.
func (a *Attempt) enter(ctx context.Context, began time.Time, c Credential, crossed string, again bool) (*Session, error) {
	proofs := a.chain
	defer func() { a.chain = chain{} }() // granted or not, it was used
	leave, err := a.gate.cfg.Limiter.Enter(c.User)
	if err != nil {
		a.recordRefused(ctx, c, crossed, err)
		return nil, err
	}
	s := newSession(a, leave)
	a.gate.live.add(s, c.User)
	// Looked up again now that the session can be found: whoever disables the
	// account or changes its password either is seen here or finds the session.
	verified, err := a.decidePhase(ctx, PhaseVerified, c.User, c.Method)
	if err != nil {
		s.discard()
		a.recordLogin(verified, OutcomeError, crossed)
		return nil, err
	}
	if verified.account.Generation != proofs.generation && verified.account.Known && !verified.account.Disabled {
		s.discard()
		return nil, errChanged
	}
	if !verified.verdict.Allowed || verified.account.Disabled || s.ended() {
		s.discard()
		return nil, a.proven(ctx, began, verified, c, crossed, again)
	}
	s.identity, s.data, s.method = verified.account.Identity, verified.verdict.Data, proofs.method
	s.notice = verified.verdict.Notice
	s.keep(proofs.password)
	s.login = verified.request
	s.rules.Store(&ruled{a.policy, s.data.Acts, s.login})
	s.become(verified.verdict)
	s.identity.Senders = proofs.proof.Senders
	s.hold(s.data.Held)
	e := a.loginEvent(verified, OutcomeGranted, crossed)
	e.Token = proofs.proof.Token
	e.Exposed = crossed == CredentialPlaintext
	if err := a.grant(ctx, s, e); err != nil {
		return nil, err
	}
	a.failures = 0
	a.gate.cfg.Limiter.Succeeded(a.peer, c.User)
	if used := a.gate.cfg.KeyUsed; used != nil && proofs.proven&FactorKey != 0 {
		used(c.User, proofs.key)
	}
	if used := a.gate.cfg.TokenUsed; used != nil && proofs.proof.Token != "" {
		used(c.User, proofs.proof.Token, a.peer.Remote.Addr())
	}
	if h := a.gate.cfg.History; h != nil {
		h.Entered(c.User, a.clientID(), levelsOf(a.channel.Kind, proofs.proven))
	}
	a.exposed(c, crossed)
	return s, nil
}

// grant makes s the session of the connection, once e is on stable storage.
func (a *Attempt) grant(ctx context.Context, s *Session, e Event) error {
	e.Session = s.id
	if err := a.gate.cfg.Recorder.Commit(ctx, e); err != nil {
		s.discard()
		a.gate.cfg.Log.Error("login not recorded, so not granted", "conn", a.peer.Conn, "err", err)
		return unavailable(err)
	}
	if !s.grant() {
		return ErrDenied // revoked while the record was written
	}
	a.tried = true
	a.logins++
	a.session = s
	a.admission.LoggedIn()
	return nil
}

// deny records a refused login and answers it on the grid of Config.FailureTime,
// counted from began, so that all refusals look alike.
func (a *Attempt) deny(ctx context.Context, began time.Time, d decision, crossed string, again bool, cause error) error {
	offence := WrongProof
	switch {
	case !d.account.Known:
		offence = UnknownUser
		d.verdict.Reason = "unknown user"
	case cause != nil:
		d.verdict.Reason = "wrong proof"
	case d.account.Disabled:
		d.verdict.Reason = "account disabled"
	}
	if again { // whether or not the proof was right: what it costs must not tell
		offence = RepeatedProof
	}
	if cause != nil {
		d.verdict.Rule = ""
	}
	a.recordLogin(d, OutcomeRefused, crossed)
	a.failures++
	user := d.request.User
	if !d.offered.guessable() {
		user = "" // the source is charged, the account's guesses are not
	}
	a.gate.cfg.Limiter.Offend(a.peer, user, offence)
	a.onGrid(ctx, began)
	return ErrDenied
}

// onGrid waits for the next point of the grid of Config.FailureTime.
func (a *Attempt) onGrid(ctx context.Context, began time.Time) {
	grid := a.gate.cfg.FailureTime
	select {
	case <-time.After(grid - time.Since(began)%grid):
	case <-ctx.Done():
	}
}
