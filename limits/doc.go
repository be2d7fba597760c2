// Package limits says how much is too much: connections, guesses, sessions of
// one account, and password hashes at the same time.
//
// Limits implements session.Limiter, so that every protocol is counted and
// refused alike. A source is charged for what it does wrong (Offend) with a
// time that it owes; the debt runs off as time passes, and a source that owes
// too much is banned until it owes nothing. Guesses at one account are counted
// apart from that, and only those from places where its owner never logged in,
// so that strangers cannot lock the owner out.
//
// Hashing is the budget for password hashes, which package auth asks before
// each one: hashing is meant to be expensive, and guessing must not be able to
// spend the whole machine on it.
//
// All tables are bounded, each step costs the same however full they are, and
// a name that a peer claimed is kept only as a keyed hash: it may be a mistyped
// password.
package limits
