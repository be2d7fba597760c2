package session

import "context"

// Forged records a login whose proof was found to be worthless before it could
// be offered: an SSH signature that was not made with the key that it names. The
// peer is charged for it as for a wrong password. The caller ends the connection.
func (a *Attempt) Forged(ctx context.Context, user string, m Method) {
	d, _ := a.decide(ctx, user, m) // on error without the name, which may not be one
	d.verdict = Verdict{Reason: "wrong signature", WouldRefuse: d.verdict.WouldRefuse}
	a.recordLogin(d, OutcomeRefused, CredentialProtected)
	a.failures++
	offence := WrongProof
	if !d.account.Known {
		offence = UnknownUser
	}
	a.gate.cfg.Limiter.Offend(a.peer, user, offence)
}
