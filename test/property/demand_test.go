package property

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"gateway/policies"
	"gateway/session"
)

// The keys of the gate's hashes.
const (
	cohortKey = "cohorts"
	nameKey   = "names"
)

// A login is what a policy demands of one connection. It is found from the situation
// and the world alone, step by step as the client goes on: what the front-end and the
// gate do is not looked at.
type login struct {
	*situation
	world  *world
	policy *policies.Policy

	// What is known by now of the connection.
	channel session.ChannelKind
	tls     session.TLSFacts
	said    bool // what software it is

	// What was proven, for user.
	user   string
	first  session.Method
	proven session.Factors
	key    string

	// What must have happened at the end.
	events   []session.Event
	verified []verified
	exposed  []string
	suspects []string
	granted  *session.Request
	told     []answer // but for those to go on
	changed  bool     // the rules said something else of the password than of the name
}

// answer is what a client must be told.
type answer struct {
	kind answerKind
	// hint is the text of the rule's owner, or until when it is closed; notice what
	// will be refused.
	hint, notice string
	more         []session.Method
}

type answerKind string

const (
	goOn     answerKind = "go on"               // the credential may be sent
	insecure answerKind = "refused before"      // not over this channel
	paused   answerKind = "refused for a while" // a brownout
	denied   answerKind = "not granted"
	more     answerKind = "more proof"
	granted  answerKind = "granted"
)

// secured notes that the connection is now over TLS, as the client sees it. What was
// said before is forgotten.
func (l *login) secured(state tls.ConnectionState) {
	l.channel, l.said = session.TLS, false
	l.tls = session.TLSFacts{
		Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite), Group: state.CurveID.String(),
		Resumed: state.DidResume, Certificate: l.TLS.Certificate != "",
	}
}

// peer are the facts of the connection before anybody is named.
func (l *login) peer(at time.Time) session.Request {
	return session.Request{
		Phase: session.PhaseConnect, Time: at.UTC().Round(0), Listener: l.Listener, Protocol: l.protocol(), Remote: l.addr(),
	}
}

// nameless are the facts of whoever may come.
func (l *login) nameless(at time.Time, m session.Method) session.Request {
	r := l.peer(at)
	r.Phase, r.Method, r.Channel, r.TLS = session.PhaseNamed, m, l.channel, l.tls
	if l.said {
		r.Client = l.class()
	}
	return r
}

// facts are those of a name.
func (l *login) facts(at time.Time, user string, m session.Method) session.Request {
	r := l.nameless(at, m)
	r.User, r.Cohort = user, session.CohortOf([]byte(cohortKey), user)
	who, as := l.world.subject(user)
	if who != nil {
		r.Known, r.As, r.Groups = as == "", as, who.groups
		r.PasswordSet, r.Exposed, r.Floors = who.passwordSet, who.exposed, who.floors
		if r.Client != who.favourite {
			r.Floors.Client = session.Days{}
		}
		r.Place = slices.ContainsFunc(who.places, func(p netip.Prefix) bool { return p.Contains(l.addr()) })
	}
	if l.proven != 0 && user == l.user {
		r.Method, r.Proven, r.Key = l.first, l.proven, l.key
	}
	return r
}

// methods are those that may be offered. A server of SSH has to know them before it
// hears of the client's software: there they are those for any.
func (l *login) methods(at time.Time) []session.Method {
	may := func(m session.Method) bool {
		r := l.nameless(at, m)
		classes := []session.Client{r.Client}
		if l.protocol() == session.SFTP {
			classes = classes[:0]
			for c := range session.Clients {
				classes = append(classes, c)
			}
		}
		return slices.ContainsFunc(classes, func(c session.Client) bool {
			r.Client = c
			v := l.policy.Decide(r)
			return v.Allowed || !v.Retry.IsZero()
		})
	}
	var out []session.Method
	for _, m := range []session.Method{session.MethodPublicKey, session.MethodSCRAM, session.MethodPassword, session.MethodKeyboardInteractive} {
		if may(m) || m == session.MethodPassword && may(session.MethodToken) {
			out = append(out, m)
		}
	}
	return out
}

// refusal is how a verdict that refuses is told: the kind, or until when.
func refusal(k answerKind, v session.Verdict) answer {
	if v.Retry.IsZero() {
		return answer{kind: k, hint: v.Hint}
	}
	hint := fmt.Sprintf("Closed until %s.", v.Retry.UTC().Format("15:04 UTC"))
	if v.Hint != "" {
		hint += " " + v.Hint
	}
	return answer{kind: paused, hint: hint}
}

// claim is a name, or nobody's, of which a proof by m will be asked for: it is refused
// if and only if the channel is, for that and for what may come in its place.
func (l *login) claim(at time.Time, user string, m session.Method, others ...session.Method) (a answer) {
	defer func() { l.tell(a) }()
	asked := append([]session.Method{m}, others...)
	if m == session.MethodPassword {
		asked = append(asked, session.MethodToken)
	}
	if slices.ContainsFunc(asked, func(by session.Method) bool { return !l.policy.Decide(l.facts(at, user, by)).Insecure }) {
		return answer{kind: goOn}
	}
	r := l.facts(at, user, m)
	v := l.policy.Decide(r)
	l.expect(r, v, "", session.OutcomeRefused, session.CredentialNone)
	return refusal(insecure, v)
}

// offer is a proof. It is granted if and only if it is right, the account can be used,
// and the policy allows it before and after the proof; what the policy refuses for its
// channel is not even looked at.
func (l *login) offer(at time.Time, user string, p proof) (a answer) {
	defer func() { l.tell(a) }()
	crossed := session.CredentialProtected
	plain := l.channel == session.Plain && p.Method != session.MethodPublicKey && p.Method != session.MethodSCRAM
	if plain {
		crossed = session.CredentialPlaintext
	}
	if l.user != user {
		l.forget()
	}
	r := l.facts(at, user, p.Method)
	v := l.policy.Decide(r)
	if v.Insecure {
		l.expect(r, v, p.Method, session.OutcomeRefused, crossed)
		if plain && p.Method == session.MethodPassword {
			l.suspects = append(l.suspects, user)
		}
		return refusal(insecure, v)
	}
	who := l.world.people[user]
	usable := who != nil && !who.disabled
	l.verified = append(l.verified, verified{user, p.Method})
	if !l.world.right(user, p) {
		v.Rule, v.Reason = "", "wrong proof"
		if who == nil {
			v.Reason = "unknown user"
		}
		l.expect(r, v, p.Method, session.OutcomeRefused, crossed)
		return answer{kind: denied}
	}
	if v.Allowed && usable {
		l.prove(user, p)
		if next := v.Lacking.Next(l.proven, l.canFollow()); v.Lacking.More(l.proven) && next != 0 {
			v.Reason = (&session.MoreError{Methods: methodsOf(next)}).Error()
			l.expect(r, v, p.Method, session.OutcomeRefused, crossed)
			return answer{kind: more, more: methodsOf(next)}
		}
		r = l.facts(at, user, p.Method)
		r.Phase = session.PhaseVerified
		v = l.policy.Decide(r)
		l.forget()
	}
	if plain && p.Method == session.MethodPassword {
		l.exposed = append(l.exposed, user)
	}
	e := l.expect(r, v, p.Method, session.OutcomeRefused, crossed)
	switch {
	case v.Allowed && usable:
		e.Outcome, e.Exposed = session.OutcomeGranted, plain
		l.granted = &r
		return answer{kind: granted, notice: v.Notice}
	case !usable:
		e.Reason = "account disabled"
	case !v.Retry.IsZero() && !plain:
		return refusal(denied, v)
	}
	e.Exposed = plain
	return answer{kind: denied}
}

func (l *login) tell(a answer) {
	if a.kind != goOn {
		l.told = append(l.told, a)
	}
}

// forget is another name, which begins anew.
func (l *login) forget() { l.user, l.first, l.proven, l.key = "", "", 0, "" }

// prove notes a proof that was right.
func (l *login) prove(user string, p proof) {
	if l.proven == 0 {
		l.user, l.first = user, p.Method
	}
	switch p.Method {
	case session.MethodPublicKey:
		l.proven |= session.FactorKey
		l.key = kindOfKey(p.Secret)
	case session.MethodCode:
		l.proven |= session.FactorCode
	default:
		l.proven |= session.FactorPassword
	}
}

// canFollow is what a client of the protocol can prove after something else.
func (l *login) canFollow() session.Factors {
	if l.protocol() == session.SFTP {
		return session.FactorKey | session.FactorPassword | session.FactorCode
	}
	return session.FactorPassword
}

func methodsOf(f session.Factors) []session.Method {
	var out []session.Method
	if f&session.FactorKey != 0 {
		out = append(out, session.MethodPublicKey)
	}
	if f&session.FactorPassword != 0 {
		out = append(out, session.MethodPassword, session.MethodKeyboardInteractive)
	}
	if f&session.FactorCode != 0 {
		out = append(out, session.MethodCode)
	}
	return out
}

// expect notes the record of a login.
func (l *login) expect(r session.Request, v session.Verdict, m session.Method, outcome, crossed string) *session.Event {
	user := r.User
	if !r.Known && user != "" {
		user = session.UnknownName([]byte(nameKey), user)
	}
	r.User = user
	l.events = append(l.events, session.Event{
		User: user, Method: m, Outcome: outcome, Rule: v.Rule, Reason: v.Reason, Stage: r.Phase, Credential: crossed,
		WouldRefuse: v.WouldRefuse, Facts: &r, Policy: l.policy.Hash(),
	})
	return &l.events[len(l.events)-1]
}
