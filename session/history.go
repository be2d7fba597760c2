package session

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// Level is how well a login was protected and proven. A login may reach several.
type Level uint8

const (
	LevelEncrypted Level = iota // over an encrypted channel
	LevelCode                   // with a password and a code, or with a key
	LevelKey                    // with a key

	Levels // how many there are
)

func (l Level) String() string { return [Levels]string{"encryption", "a code", "a key"}[l] }

// Past says what somebody was who reached the level.
func (l Level) Past() string {
	return [Levels]string{"encrypted", "logged in with a code or a key", "logged in with a key"}[l]
}

// reaches reports whether a login over such a channel, with that proven, reaches l.
func (l Level) reaches(kind ChannelKind, proven Factors) bool {
	switch l {
	case LevelEncrypted:
		return kind.Encrypted()
	case LevelCode:
		return proven&FactorKey != 0 || proven&(FactorPassword|FactorCode) == FactorPassword|FactorCode
	default:
		return proven&FactorKey != 0
	}
}

// Days counts days for each Level.
type Days [Levels]uint16

// Floors are what an account was seen to be able to do. None of the numbers ever
// falls, whatever is changed or the clock does.
type Floors struct {
	// Client and Account are on how many days this client, and the account with any
	// of its clients, logged in at the level.
	Client  Days `json:"client"`
	Account Days `json:"account"`
	// Quiet is for how many days, at the longest, the account did not log in below the
	// level, since it first reached it.
	Quiet Days `json:"quiet"`
}

// ClientID says which of an account's clients it is.
type ClientID struct {
	Class   Client
	Network netip.Prefix
}

// Bits of an address by which the network of a client is told: a client stays the
// same where it gets another address near by.
const (
	clientBits4 = 24
	clientBits6 = 48
)

// ClientNetwork is the network by which a client at addr is told.
func ClientNetwork(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := clientBits4
	if addr.Is6() {
		bits = clientBits6
	}
	prefix, err := addr.Prefix(bits)
	if err != nil { // the zero Addr, in tests without a network
		return netip.Prefix{}
	}
	return prefix
}

// Past is what is remembered of an account, as far as it is about a client.
type Past struct {
	Floors Floors
	// Place says that the account has logged in from that network before.
	Place bool
	// Exposed is when the account's password first crossed in clear; zero if it did
	// not since it was set.
	Exposed time.Time
	// LastLogin is the day of the account's last login, in UTC; zero if there was none.
	LastLogin time.Time
}

// A Historian remembers what logins showed, for the rules of later ones. Its methods
// may be called at the same time, and none of them may take time.
type Historian interface {
	// Recall returns what is remembered of user; of a name without an account, nothing.
	Recall(user string, c ClientID) Past
	// Entered notes a login that was granted, with the levels that it reached.
	Entered(user string, c ClientID, reached [Levels]bool)
	// Exposed notes that the password of user was right and crossed in clear.
	Exposed(user string, source netip.Addr)
	// Suspect takes a password that crossed in clear although it was refused, to find
	// out later whether it is one.
	Suspect(c Credential, source netip.Addr)
}

// Cohorts is how many parts all names are divided into; Request.Cohort is below.
const Cohorts = 100

// levelsOf are those that a login reached.
func levelsOf(kind ChannelKind, proven Factors) [Levels]bool {
	var out [Levels]bool
	for l := range Levels {
		out[l] = l.reaches(kind, proven)
	}
	return out
}

// untilText says when something refused for a while may be tried again.
func untilText(t time.Time, hint string) string {
	text := fmt.Sprintf("Closed until %s.", t.UTC().Format("15:04 UTC"))
	if hint != "" {
		text += " " + hint
	}
	return text
}

// exposed notes a right password that crossed in clear.
func (a *Attempt) exposed(c Credential, crossed string) {
	if h := a.gate.cfg.History; h != nil && crossed == CredentialPlaintext && c.Method.SendsPassword() {
		h.Exposed(c.User, a.peer.Remote.Addr())
	}
}

// suspect gives a password that crossed in clear, unasked for, to be looked at after
// the reply.
func (a *Attempt) suspect(c Credential) {
	if h := a.gate.cfg.History; h != nil && !a.gate.cfg.IgnoreRefused && c.Method.SendsPassword() {
		h.Suspect(c, a.peer.Remote.Addr())
	}
}

// proven refuses somebody whose proof was right. The peer is not told, save of a
// refusal for a while, if nobody could read the proof on its way.
func (a *Attempt) proven(ctx context.Context, began time.Time, d decision, c Credential, crossed string, again bool) error {
	a.exposed(c, crossed)
	if d.verdict.Retry.IsZero() || crossed == CredentialPlaintext || d.account.Disabled || !d.account.Known {
		d.exposed = crossed == CredentialPlaintext
		return a.deny(ctx, began, d, crossed, again, nil)
	}
	a.recordLogin(d, OutcomeRefused, crossed)
	a.failures++
	a.onGrid(ctx, began)
	return d.verdict.refusal(ErrDenied)
}
