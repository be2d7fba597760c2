// Package auth knows who somebody is: the accounts, their passwords, SSH keys,
// keys of client certificates and mail addresses, kept in the store, and whether
// a proof is right. With them it keeps what was said of accounts and groups about
// files, and works out what each account may do; to hold to it is for others.
//
// Accounts implements session.Authenticator for the gate, and the changes that
// an administrator makes. All accounts are held in memory beside the store, so
// that looking one up takes the same time whether it exists or not and does not
// depend on the disk.
//
// What a password costs is bounded three ways: it is hashed only within the
// Budget, the same proof offered many times at once is hashed once, and what a
// recent proof came to is remembered under a keyed hash, never the password.
// A name that does not exist takes the same path at the same price.
//
// It does not know channels, rules or how many guesses are too many: those are
// asked before Verify, by the gate.
package auth
