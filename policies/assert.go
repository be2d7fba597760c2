package policies

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gateway/policies/box"
	"gateway/session"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	kindAssert = "assert"

	attrNo     = "no"
	attrSame   = "same"
	attrOnly   = "only"
	attrAfter  = "after"
	attrExcept = "except_from"
)

// What an assert may claim, as it is written.
const (
	claimNoPlain  = "credential over plain"
	claimSame     = "answer before the credential"
	claimExempted = "exempted logins over plain"
)

const (
	// maxAsserts is how many a policy may have.
	maxAsserts = 64
	// maxProofBoxes is the most boxes that a proof may take before it is given up.
	maxProofBoxes = 50_000
)

// An assertion is an assert: something that the policy must be provably true to, for all
// logins that there can be.
type assertion struct {
	at     hcl.Range
	claim  string
	after  time.Time
	except []netip.Prefix
}

// assertion reads one assert.
func (d *decoder) assertion(b *hclsyntax.Block) {
	d.noBlocks("An assert", b.Body)
	d.labels(b, "what is asserted")
	if len(d.asserts) == maxAsserts {
		d.fault(b.DefRange(), "Too many assertions", "A policy may have %d.", maxAsserts)
		return
	}
	a := assertion{at: b.DefRange(), after: d.opts.Now.UTC()}
	claims := map[string]string{attrNo: claimNoPlain, attrSame: claimSame, attrOnly: claimExempted}
	d.attributes("An assert", b.Body, []string{attrNo, attrSame, attrOnly, attrAfter, attrExcept}, func(at *hclsyntax.Attribute) {
		if at.Name == attrExcept {
			var c condition
			d.from(&c, d.texts(at))
			a.except = c.from
			return
		}
		t, ok := d.one(at)
		if !ok {
			return
		}
		if at.Name == attrAfter {
			if after := d.expectedTime(t); after.After(a.after) {
				a.after = after
			}
			return
		}
		if a.claim != "" {
			d.fault(at.NameRange, "Two claims", "An assert makes one claim: make it two asserts.")
		}
		if a.claim = claims[at.Name]; t.value != a.claim {
			d.fault(t.at, "Unknown claim", "%q takes %q.", at.Name, a.claim)
		}
	})
	if a.claim == "" {
		d.fault(b.DefRange(), "Missing claim", "An assert needs one of: %s = %q, %s = %q, %s = %q.",
			attrNo, claimNoPlain, attrSame, claimSame, attrOnly, claimExempted)
		return
	}
	d.asserts = append(d.asserts, a)
}

// assert proves what the policy asserts, or says where it is not so.
func (d *decoder) assert(p *Policy) {
	for _, a := range d.asserts {
		found, err := a.disprove(p, maxProofBoxes)
		switch {
		case errors.Is(err, box.ErrBudget):
			d.fault(a.at, "Assertion not decided", "To prove %q takes more than %d steps, so that it is not known whether it holds. Make fewer statements that overlap, or assert it from a later day on.", a.claim, maxProofBoxes)
		case err != nil:
			d.fault(a.at, "Assertion not decided", "%v.", err)
		case found != "":
			d.fault(a.at, "Assertion not true", "%s", found)
		}
	}
}

// disprove finds a login for which the assertion is not true, and says it in words; "" if
// there is none. The error is box.ErrBudget if it takes more boxes than that.
func (a *assertion) disprove(p *Policy, budget int) (string, error) {
	s := newSpace(a.after, nil, a.except, p)
	s.Budget = budget
	r := &ruling{space: s, policy: p, phase: session.PhaseNamed, without: a.claim == claimExempted}
	real := s.real()
	if len(a.except) > 0 {
		var err error
		if real, err = s.Subtract(real, s.within(a.except)); err != nil {
			return "", err
		}
	}
	switch a.claim {
	case claimSame:
		return r.leak(real)
	case claimExempted:
		return r.plainWithout(real)
	default:
		return r.plain(real)
	}
}

// plain finds who is asked for a credential over a clear channel.
func (r *ruling) plain(of box.Region) (string, error) {
	rest, err := r.Intersect(of, r.overPlain())
	if err != nil {
		return "", err
	}
	if rest, err = r.asked(rest); err != nil || len(rest) == 0 {
		return "", err
	}
	for _, b := range r.Merge(rest[:min(len(rest), maxTries)]) {
		for _, q := range r.requests(b) {
			if v, _ := r.policy.run(q); !v.Insecure && v.Retry.IsZero() {
				return r.sayAsked(q), nil
			}
		}
	}
	return "", errors.New("somebody may be asked for a credential in clear, but no such login was found: " + r.describe(rest[0]))
}

func (r *ruling) sayAsked(q session.Request) string {
	why := "no require for the channel applies to it"
	if waived := r.policy.Waived(q); len(waived) > 0 {
		why = strings.Join(waived, ", ") + " lets it"
	} else if staged := r.policy.staged(q); staged != "" {
		why = staged + " is not enforced yet then"
	}
	return fmt.Sprintf("%s would be asked for the password in clear: %s.", sayRequest(q), why)
}

// staged names a requirement that r does not meet and that a rollout does not enforce yet.
func (p *Policy) staged(r session.Request) string {
	for _, f := range p.Explain(r).Statements {
		if f.Result == resultStaged {
			return f.Statement
		}
	}
	return ""
}

// sayRequest names a login by its facts.
func sayRequest(q session.Request) string {
	who := q.User
	if len(q.Groups) > 0 {
		who += ", in group " + strings.Join(q.Groups, " and ") + ","
	}
	out := fmt.Sprintf("%s from %s over %s", who, q.Remote, q.Protocol)
	if q.Listener != "" && q.Listener != "another" {
		out += fmt.Sprintf(" on listener %q", q.Listener)
	}
	return out + " at " + dayWords(q.Time)
}

// plainWithout finds who is let in over a clear channel although no exemption lets them:
// the ruling leaves the exempts out.
func (r *ruling) plainWithout(of box.Region) (string, error) {
	rest, err := r.Intersect(of, r.overPlain())
	if err != nil {
		return "", err
	}
	allowed, err := r.allowed()
	if err != nil {
		return "", err
	}
	if rest, err = r.Intersect(rest, allowed); err != nil {
		return "", err
	}
	refused, err := r.refusedFrom(session.StageEnforce)
	if err != nil {
		return "", err
	}
	if rest, err = r.Subtract(rest, refused); err != nil || len(rest) == 0 {
		return "", err
	}
	for _, b := range rest[:min(len(rest), maxTries)] {
		for _, q := range r.requests(b) {
			if v, _ := r.policy.run(q); v.Allowed && len(r.policy.Waived(q)) == 0 {
				return sayRequest(q) + " would be let in clear without an exemption, by " + v.Rule + ".", nil
			}
		}
	}
	return "", errors.New("somebody may be let in clear without an exemption, but no such login was found: " + r.describe(rest[0]))
}

// leak finds where what is answered before the credential tells names apart. Answers are
// told apart by the words of the requirement that decides, and by whether it is for a
// while; and so is being asked for the credential.
func (r *ruling) leak(of box.Region) (string, error) {
	for _, stage := range []session.Stage{session.StageEnforce, session.StageBrownout} {
		var before box.Region
		answers := make(map[string]box.Region)
		for _, q := range r.policy.requires {
			said, err := r.silenced(q, stage)
			if err != nil {
				return "", err
			}
			mine, err := r.Subtract(said, before)
			if err != nil {
				return "", err
			}
			before = append(before, said...)
			answers[q.reply] = append(answers[q.reply], mine...)
		}
		for _, reply := range sortedReplies(answers) {
			if text, err := r.tellsApart(of, r.Merge(answers[reply])); text != "" || err != nil {
				return text, err
			}
		}
	}
	return "", nil
}

func sortedReplies(m map[string]box.Region) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// tellsApart finds a point of a region at which some names are in the answer and others
// are not.
func (r *ruling) tellsApart(of, answer box.Region) (string, error) {
	of, err := r.withoutUnopened(of)
	if err != nil {
		return "", err
	}
	if answer, err = r.Intersect(answer, of); err != nil {
		return "", err
	}
	for _, b := range answer {
		others, err := r.Subtract(r.Project(box.Region{b}, r.userAxes()...), answer)
		if err != nil {
			return "", err
		}
		if others, err = r.Intersect(others, of); err != nil {
			return "", err
		}
		if text := r.sayLeak(b, others); text != "" {
			return text, nil
		}
		if len(others) > 0 {
			return "", errors.New("names may be told apart, but no two such logins were found: " + r.describe(b))
		}
	}
	return "", nil
}

func (r *ruling) withoutUnopened(of box.Region) (box.Region, error) {
	none, err := r.unopened()
	if err != nil {
		return nil, err
	}
	return r.Subtract(of, none)
}

// sayLeak looks for two logins, one in a box and one in others, that differ in who it is
// only and that the policy answers otherwise.
func (r *ruling) sayLeak(b box.Box, others box.Region) string {
	for _, o := range others[:min(len(others), maxTries)] {
		both, some := r.sameButUser(b, o)
		if !some {
			continue
		}
		one, two := r.requests(both), r.requests(o)
		if len(one) == 0 || len(two) == 0 {
			continue
		}
		for _, q := range one {
			other := two[0]
			other.Time, other.Remote, other.Listener, other.Protocol, other.Channel, other.TLS, other.Client, other.Method =
				q.Time, q.Remote, q.Listener, q.Protocol, q.Channel, q.TLS, q.Client, q.Method
			if u, v := r.policy.Decide(q), r.policy.Decide(other); answerOf(u) != answerOf(v) {
				return fmt.Sprintf("%s is answered %q, and %s, from there and then too, %q: so names can be told apart.", sayRequest(q), answerOf(u), whoIs(other), answerOf(v))
			}
		}
	}
	return ""
}

// sameButUser is the box b narrowed to what o says of everything but the user.
func (r *ruling) sameButUser(b, o box.Box) (box.Box, bool) {
	o = slices.Clone(o)
	for _, axis := range r.userAxes() {
		o[axis] = nil
	}
	both, err := r.Intersect(box.Region{b}, box.Region{o})
	if err != nil || len(both) == 0 {
		return nil, false
	}
	return both[0], true
}

func whoIs(q session.Request) string {
	if len(q.Groups) == 0 {
		return q.User
	}
	return q.User + " (in group " + strings.Join(q.Groups, " and ") + ")"
}

// answerOf is what a peer hears before the credential.
func answerOf(v session.Verdict) string {
	switch {
	case !v.Insecure:
		return "the credential, please"
	case !v.Retry.IsZero():
		return strings.TrimSuffix("not for a while: "+v.Hint, ": ")
	default:
		return strings.TrimSuffix("not over this channel: "+v.Hint, ": ")
	}
}
