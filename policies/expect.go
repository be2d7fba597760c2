package policies

import (
	"math"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The verdicts that an expect may name, besides verdictInsecure and verdictPaused.
const (
	verdictAllow   = "allow"
	verdictObserve = "observe" // allowed, and recorded that it will be refused
	verdictWarn    = "warn"    // allowed, and the client is told so
	verdictRefuse  = "refuse"
	verdictDrop    = otherwiseDrop // refused without a word
)

func verdicts() []string {
	return []string{verdictAllow, verdictObserve, verdictWarn, verdictRefuse, verdictInsecure, verdictPaused, verdictDrop}
}

// is reports whether a verdict is what the word says.
func is(v session.Verdict, word string) bool {
	switch word {
	case verdictAllow:
		return v.Allowed
	case verdictObserve:
		return v.Allowed && v.Notice == "" && v.WouldRefuse != nil
	case verdictWarn:
		return v.Allowed && v.Notice != ""
	case verdictInsecure:
		return v.Insecure && v.Retry.IsZero()
	case verdictPaused:
		return !v.Retry.IsZero()
	case verdictDrop:
		return v.Drop
	default:
		return !v.Allowed
	}
}

// word says a verdict in the words of is, the most particular.
func word(v session.Verdict) string {
	for _, w := range []string{verdictWarn, verdictObserve, verdictAllow, verdictPaused, verdictInsecure, verdictDrop} {
		if is(v, w) {
			return w
		}
	}
	return verdictRefuse
}

// An expectation is an expect: a request with the verdict that it must get.
type expectation struct {
	at      hcl.Range
	request session.Request
	timed   bool // the request has a time of its own
	verdict string
	// exposed and age are for how long the password was exposed and how old it is, in
	// seconds; 0 is not at all.
	exposed, age, last int64
}

// attrFloor says to which level the floor of an account has risen, in an expect.
const attrFloor = "floor"

// before is the moment that long before the request; zero for 0.
func (e *expectation) before(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return e.request.Time.Add(-time.Duration(seconds) * time.Second)
}

// expectation reads one expect. What it does not say is not known, save that
// the method is a password, that nothing else was proven, and that SFTP is over SSH.
func (d *decoder) expectation(b *hclsyntax.Block) {
	d.noBlocks("An expect", b.Body)
	d.labels(b, "what is expected")
	if len(d.expects) == maxExpects {
		d.fault(b.DefRange(), "Too many expectations", "A policy may have %d.", maxExpects)
		return
	}
	e := expectation{at: b.DefRange(), request: session.Request{
		Phase: session.PhaseVerified, Time: d.opts.Now.UTC(), Known: true, Method: session.MethodPassword,
	}}
	known := append(conditionNames(), attrProven, attrFloor, attrTarget, "at", "verdict")
	known = slices.DeleteFunc(known, func(name string) bool { return name == dimWeekday.word() || name == scaleTime.word() })
	d.attributes("An expect", b.Body, known, func(a *hclsyntax.Attribute) { d.expected(&e, a) })
	e.request.Exposed, e.request.PasswordSet = e.before(e.exposed), e.before(e.age)
	e.request.LastLogin = e.before(e.last)
	if e.request.Act != (session.Act{}) {
		e.request.Phase = session.PhaseSession
	}
	needed := map[string]string{
		"user": "whom it is about", "protocol": "such as \"ftp\"", "verdict": "such as \"allow\" or \"refuse\"",
	}
	if e.request.Protocol == session.SFTP && b.Body.Attributes["channel"] == nil {
		e.request.Channel = session.SSH
	} else {
		needed["channel"] = "\"plain\", \"tls\" or \"ssh\""
	}
	if e.request.Method == session.MethodDevice {
		delete(needed, "user")
	}
	if e.request.Phase == session.PhaseSession {
		needed[dimOperation.word()] = "what is done, such as \"read\" or \"accept\""
		if b.Body.Attributes[dimDataChannel.word()] == nil {
			e.request.Act.Over = e.request.Channel
		}
	}
	e.request.Local = assumedLocal(e.request)
	d.required(b, "An expect", needed)
	if e.request.Proven == 0 {
		e.request.Proven = e.request.Method.Factor()
	}
	d.expects = append(d.expects, e)
}

// expected reads one attribute of an expect.
func (d *decoder) expected(e *expectation, a *hclsyntax.Attribute) {
	r := &e.request
	if a.Name == "group" {
		r.Groups = d.names(d.texts(a))
		return
	}
	t, ok := d.one(a)
	if !ok {
		return
	}
	oneOf := func(known []string) bool {
		if slices.Contains(known, t.value) {
			return true
		}
		d.fault(t.at, "Unknown "+a.Name, "There is no %s %q.%s", a.Name, t.value, suggest(t.value, known))
		return false
	}
	switch a.Name {
	case "user":
		r.User = t.value
	case "protocol":
		if oneOf(protocols()) {
			r.Protocol = session.Protocol(t.value)
		}
	case "channel":
		if oneOf(channels()) {
			r.Channel = session.ChannelKind(slices.Index(channels(), t.value))
		}
	case "method":
		if oneOf(append(methods(), string(session.MethodDevice))) {
			r.Method = session.Method(t.value)
		}
	case attrProven:
		r.Proven = d.proven(t)
	case attrPath, attrTarget, attrSender, attrRecipient, attrRequest:
		d.expectedAct(r, a.Name, t)
	case scaleExposed.word(), scaleAge.word(), scaleLast.word():
		d.expectedAge(e, a.Name, t)
	case attrFloor:
		d.expectedFloor(r, t)
	case "listener":
		if d.opts.Listeners == nil || oneOf(d.opts.Listeners) {
			r.Listener = t.value
		}
	case "from":
		r.Remote = d.expectedFrom(t)
	case "at":
		r.Time, e.timed = d.expectedTime(t), true
	case "verdict":
		if oneOf(verdicts()) {
			e.verdict = t.value
		}
	default:
		if dim, known := dimensionNamed(a.Name); known && oneOf(dim.values()) {
			dim.assign(r, slices.Index(dim.values(), t.value))
		}
	}
}

// attrTarget is the second path of an expected rename or link.
const attrTarget = "target"

// expectedAct reads what a session is expected to do, or not.
func (d *decoder) expectedAct(r *session.Request, name string, t text) {
	switch name {
	case attrPath, attrTarget:
		if path.Clean(t.value) != t.value || !strings.HasPrefix(t.value, "/") {
			d.fault(t.at, "Not a path", "%q is not a path as the account sees it, in its shortest form, such as \"/hr/pay.csv\".", t.value)
		}
		if name == attrPath {
			r.Act.Path = t.value
		} else {
			r.Act.Target = t.value
		}
	case attrSender:
		r.Act.Sender = "somebody@" + t.value
		if t.value == nullSender {
			r.Act.Sender = ""
		}
	case attrRecipient:
		r.Act.Recipient = "somebody@" + t.value
	default:
		r.Act.Asked = t.value
	}
}

// expectedAge reads for how long a password was exposed, or how old it is.
func (d *decoder) expectedAge(e *expectation, name string, t text) {
	seconds, ok := parseDays(t.value)
	switch {
	case name == scaleExposed.word() && t.value == "no", name == scaleLast.word() && t.value == never:
	case !ok:
		d.fault(t.at, "Not a number of days", "In an expect, %s takes a number of days such as \"14d\".", name)
	case name == scaleExposed.word():
		e.exposed = seconds
	case name == scaleLast.word():
		e.last = seconds
	default:
		e.age = seconds
	}
}

// expectedFloor lets the floor of the account be as high as it can, for one level and
// those below.
func (d *decoder) expectedFloor(r *session.Request, t text) {
	words := []string{"encrypted", "code", "key"}
	level := slices.Index(words, t.value)
	if level < 0 {
		d.fault(t.at, "Unknown floor", "There is no floor %q.%s", t.value, suggest(t.value, words))
	}
	for l := range level + 1 {
		r.Floors.Client[l], r.Floors.Account[l], r.Floors.Quiet[l] = math.MaxUint16, math.MaxUint16, math.MaxUint16
	}
}

// assumedLocal is our address in a question that does not say it: one of those at
// which devices are served.
func assumedLocal(r session.Request) netip.Addr {
	if r.Protocol == session.Relay && !r.Local.IsValid() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return r.Local
}

// expectedFrom reads an address, or takes the first of a named network.
func (d *decoder) expectedFrom(t text) netip.Addr {
	if n, ok := d.networks[t.value]; ok && len(n.cidrs) > 0 {
		return n.cidrs[0].Addr()
	}
	addr, err := netip.ParseAddr(t.value)
	if err != nil || addr.Zone() != "" {
		d.fault(t.at, "Not an address", "%q is neither an address nor the name of a network.%s",
			t.value, suggest(t.value, d.networkNames()))
		return netip.Addr{}
	}
	return addr.Unmap()
}

func (d *decoder) expectedTime(t text) time.Time {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, t.value); err == nil {
			return at.UTC()
		}
	}
	d.fault(t.at, "Not a date", "\"at\" takes a day, \"2027-06-30\", or a moment, \"2027-06-30T18:00:00Z\".")
	return d.opts.Now
}

// expect checks what the policy expects of itself.
func (d *decoder) expect(p *Policy) {
	for _, e := range d.expects {
		verdict, phase := p.run(e.request)
		if !is(verdict, e.verdict) {
			d.fault(e.at, "Expectation not met", "Expected is %q, decided is %q at phase %q by %s: %s.",
				e.verdict, word(verdict), phase, verdict.Rule, verdict.Reason)
			continue
		}
		if until, ends := p.turns(e.request, e.verdict); ends && !e.timed {
			d.fault(e.at, "Expectation without a time",
				"An exempt, rollout or device that this rests on holds, or stays as it is, until %s only; then the policy could not be loaded any more. Add at = \"%s\".",
				until, d.opts.Now.UTC().Format(time.DateOnly))
		}
	}
}

// run decides r at each phase up to r.Phase and returns the verdict that stands:
// the first refusal, with its phase.
func (p *Policy) run(r session.Request) (session.Verdict, session.Phase) {
	peer := session.Request{
		Phase: session.PhaseConnect, Time: r.Time, Listener: r.Listener, Protocol: r.Protocol, Remote: r.Remote,
	}
	verdict := p.Decide(peer)
	if !verdict.Allowed || r.Phase == session.PhaseConnect {
		return verdict, session.PhaseConnect
	}
	if r.Method == session.MethodDevice { // is never asked for a name
		act := r
		r.Phase = session.PhaseVerified
		if verdict = p.Decide(r); !verdict.Allowed || act.Phase != session.PhaseSession {
			return verdict, session.PhaseVerified
		}
		return p.Decide(act), session.PhaseSession
	}
	named := r
	named.Phase = session.PhaseNamed
	if verdict = p.Decide(named); !verdict.Allowed || r.Phase == session.PhaseNamed {
		return verdict, session.PhaseNamed
	}
	act := r
	r.Phase = session.PhaseVerified
	if verdict = p.Decide(r); !verdict.Allowed || act.Phase != session.PhaseSession {
		return verdict, session.PhaseVerified
	}
	return p.Decide(act), session.PhaseSession
}

// turns reports whether the verdict on r is another when an exemption or a device that
// holds now ends, or a rollout goes on, and which day that is written as.
func (p *Policy) turns(r session.Request, verdict string) (until string, ends bool) {
	turnsAt := func(end time.Time) bool {
		later := r
		later.Time = end
		then, _ := p.run(later)
		return !is(then, verdict)
	}
	for _, e := range p.exempts {
		if !e.expired(r.Time) && turnsAt(e.until) {
			return e.untilText, true
		}
	}
	for _, q := range p.everyRequire() {
		for _, w := range q.rollouts {
			for _, s := range w.dates() {
				if s.from.After(r.Time) && turnsAt(s.from) {
					return s.written, true
				}
			}
		}
	}
	for _, d := range p.devices {
		if d.stage(r.Time) != session.StageEnforce && turnsAt(d.until) {
			return d.untilText, true
		}
	}
	return "", false
}
