// Package session holds the words that every part of the gateway shares and the
// one path by which anyone comes in.
//
// A front-end turns wire bytes into calls on Gate, Attempt, Session and Op, and
// turns what they return into replies. It never looks at users, passwords,
// rules or limits itself:
//
//	attempt, err := gate.Connect(ctx, peer)    before the greeting
//	attempt.Upgraded(channel)                  after AUTH TLS, STARTTLS, the SSH key exchange
//	err = attempt.Claim(ctx, user, method)     a name, before any proof
//	methods := attempt.Methods(user)           what may be offered now
//	known := attempt.Knows(ctx, user, key)     an SSH key query: proves nothing
//	sess, err := attempt.Offer(ctx, cred)      one proof
//	op, err := sess.Begin(ctx, action)         before each thing done
//	err = op.End(ctx, err)                     after it
//	attempt.Close(cause)                       once: the connection record
//
// Who someone is, what they may do, what happened and how much is too much are
// answered behind the interfaces Authenticator, Policy, Recorder and Limiter.
// The package imports the standard library only.
package session
