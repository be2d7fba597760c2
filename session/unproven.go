package session

import "context"

// Unproven records a login that ended before a proof could be offered: an SSH
// client that had no key of the account (UnknownKey), or a signature that was not
// made with the key that it names (WrongProof). reason tells more. The peer is
// charged, but the account's guesses are not: a key cannot be guessed, and a device
// with an old one must not keep its owner's password out. The caller ends the
// connection.
func (a *Attempt) Unproven(ctx context.Context, user string, m Method, o Offence, reason string) {
	d, _ := a.decide(ctx, user, m) // on error without the name, which may not be one
	d.verdict = Verdict{Reason: printable(reason, 300), WouldRefuse: d.verdict.WouldRefuse}
	a.recordLogin(d, OutcomeRefused, CredentialProtected)
	a.failures++
	a.tried = true
	a.gate.cfg.Limiter.Offend(a.peer, "", o)
}
