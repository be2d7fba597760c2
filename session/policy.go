package session

import (
	"fmt"
	"net/netip"
	"time"
)

// Phase is how much is known when the rules are asked.
type Phase string

const (
	// PhaseConnect: the peer's address and listener only. Rules that need more do
	// not apply yet.
	PhaseConnect Phase = "connect"
	// PhaseNamed: a name was claimed, nothing is proven. A refusal here must not
	// tell whether the name exists.
	PhaseNamed Phase = "named"
	// PhaseVerified: the proof was right.
	PhaseVerified Phase = "verified"
	// PhaseSession: somebody who is let in is about to do something.
	PhaseSession Phase = "session"
)

// Request is every fact that a rule may look at. A login's record holds it
// whole, so that the decision can be made again later.
type Request struct {
	Phase    Phase       `json:"phase"`
	Time     time.Time   `json:"time"`
	Listener string      `json:"listener"`
	Protocol Protocol    `json:"protocol"`
	Remote   netip.Addr  `json:"remote"`
	Channel  ChannelKind `json:"channel"`
	// User is the claimed name. Empty in PhaseNamed asks for whoever it may be:
	// is there a user whom the rules would let in with Method here? (Which methods
	// to offer before a name is known.)
	User string `json:"user,omitempty"`
	// Known says that User names an account; Groups are that account's.
	Known  bool     `json:"known,omitempty"`
	Groups []string `json:"groups,omitempty"`
	// Method is the one to be offered or that was offered; empty when not known. In
	// a login of several proofs it is that of the first: what follows is what the
	// rules ask for.
	Method Method `json:"method,omitempty"`
	// Proven is what was proven on this connection so far, in PhaseVerified with the
	// last proof.
	Proven Factors `json:"proven,omitempty"`
	// Local is our address on the connection, of Relay only: what is let in without a
	// login must not be reached from outside.
	Local netip.Addr `json:"local,omitzero"`
	// OldTLS says that the channel is TLS before version 1.2.
	OldTLS bool `json:"old_tls,omitempty"`
	// As is the account whose facts stand for those of User where that names none: in
	// the rules an unknown name is like some account, and always the same, so that what
	// it hears tells nothing.
	As string `json:"as,omitempty"`
	// Cohort is the part of all names that User is in, by a keyed hash: below Cohorts.
	Cohort uint8 `json:"cohort,omitempty"`
	// Client is the class of the peer's software.
	Client Client `json:"client,omitempty"`
	// TLS is what is known of the channel, if it is of that kind.
	TLS TLSFacts `json:"tls,omitzero"`
	// Key is the kind of the last key that was proven, of KeyKinds; in PhaseVerified.
	Key string `json:"key,omitempty"`
	// Floors are what the account was seen to be able to do.
	Floors Floors `json:"floors,omitzero"`
	// Place says that the account has logged in from the peer's network before.
	Place bool `json:"place,omitempty"`
	// Exposed is when the account's password first crossed in clear, PasswordSet when
	// it was set; zero if it never did, or there is none.
	Exposed     time.Time `json:"exposed,omitzero"`
	PasswordSet time.Time `json:"password_set,omitzero"`
	// LastLogin is when the account last logged in; zero if it never did.
	LastLogin time.Time `json:"last_login,omitzero"`
	// Act is what is about to be done, in PhaseSession.
	Act Act `json:"act,omitzero"`
}

// An Act is what a session is about to do, as the rules see it.
type Act struct {
	Verb Verb `json:"verb,omitempty"`
	// Asked is the request of the protocol: Action.Request.
	Asked string `json:"asked,omitempty"`
	// Over is how the connection that carries it is protected.
	Over ChannelKind `json:"over,omitempty"`
	// Path is that of the file, as the peer sees it, and Target the second one of Rename and
	// Link; both are absolute and clean. Empty for mail.
	Path   string `json:"path,omitempty"`
	Target string `json:"target,omitempty"`
	// Sender and Recipient are addresses of Accept, of which one or both may be empty: the
	// null reverse-path, or not known yet.
	Sender    string `json:"sender,omitempty"`
	Recipient string `json:"recipient,omitempty"`
}

// String says it in words, for people to read.
func (a Act) String() string {
	out := string(a.Verb)
	if a.Asked != "" {
		out += " (" + a.Asked + ")"
	}
	for _, part := range []struct{ before, text string }{{" ", a.Path}, {" to ", a.Target}, {" from ", a.Sender}, {" to ", a.Recipient}} {
		if part.text != "" {
			out += part.before + part.text
		}
	}
	return out
}

// TLSFacts are those of a TLS channel, in the words of Channel.
type TLSFacts struct {
	Version string `json:"version,omitempty"`
	Cipher  string `json:"cipher,omitempty"`
	Group   string `json:"group,omitempty"`
	Resumed bool   `json:"resumed,omitempty"`
	// Certificate says that the client showed one.
	Certificate bool `json:"certificate,omitempty"`
}

// Recall sets the facts that are remembered.
func (r *Request) Recall(p Past) {
	r.Floors, r.Place, r.Exposed, r.LastLogin = p.Floors, p.Place, p.Exposed, p.LastLogin
}

// Subject is the account that the rules look at: User, or the one that stands for it.
func (r *Request) Subject() string {
	if r.As != "" {
		return r.As
	}
	return r.User
}

// Verdict is what the rules say of a Request. The zero Verdict denies.
type Verdict struct {
	Allowed bool
	// Insecure says that the refusal is due to the channel alone and does not
	// depend on who is named: the client is told so and may upgrade.
	Insecure bool
	// Rule names the statement that decided: `require "encrypted-login"
	// (policy.hcl:12)`. Reason says why, for the record.
	Rule   string
	Reason string
	// WouldRefuse lists rules that are only observed as yet and would have refused.
	WouldRefuse []string
	// Hint is the text for the peer, the same for every user.
	Hint string
	// Retry is when a refusal ends that is for a while only. Zero is a refusal for
	// good.
	Retry time.Time
	// Notice is what the client is told that is allowed and will be refused from a day
	// on; empty if there is nothing to tell.
	Notice string
	// Drop says that the peer is to be hung up on, without a word.
	Drop bool
	// Rate is how often such a login may be tried from one source, of a verdict in
	// PhaseNamed. The zero Rate is no limit.
	Rate Rate
	// Lacking says which proofs are not enough for whoever is allowed. In
	// PhaseVerified a Request whose Proven is not enough is refused.
	Lacking Lacking
	// Data is what holds for the session, of a verdict in PhaseVerified that allows.
	Data DataRules
	// SSH is what holds for the key exchange, of a verdict in PhaseConnect that allows.
	SSH SSHRules
	// OldTLS says that the peer may use TLS before version 1.2, of a verdict in
	// PhaseConnect that allows.
	OldTLS bool
	// Device is what holds for the session if it is that of a device. Stage is set
	// where it needs something that is let pass for a while only.
	Device *Device
	Stage  Stage
}

// mayAsk reports whether such a credential may be asked for: the answer before it comes.
func (v Verdict) mayAsk() bool { return !v.Insecure && !v.Drop }

// refusal is what the peer is told of a verdict that refuses: the kind, or ErrPaused.
func (v Verdict) refusal(kind error) *Refusal {
	if v.Drop {
		return &Refusal{Kind: ErrDropped}
	}
	if v.Retry.IsZero() {
		return &Refusal{Kind: kind, Hint: v.Hint}
	}
	return &Refusal{Kind: ErrPaused, Hint: untilText(v.Retry, v.Hint)}
}

// A Rate is how many there may be within a time.
type Rate struct {
	N   int
	Per time.Duration
}

func (r Rate) String() string { return fmt.Sprintf("%d per %v", r.N, r.Per) }

// Policy decides. Decide is a pure function of its Request. Hash identifies the
// rules in the record.
type Policy interface {
	Decide(Request) Verdict
	Hash() string
}

// looksAtClient reports whether what p decides may depend on Request.Client. A Policy
// may have a method to say so; of one that has not, it does.
func looksAtClient(p Policy) bool {
	says, ok := p.(interface{ LooksAtClient() bool })
	return !ok || says.LooksAtClient()
}
