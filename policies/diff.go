package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gateway/policies/box"
	"gateway/session"
)

// Fates of logins, from the best.
const (
	fateAllowed = "allowed"
	fateWarned  = "warned"           // allowed, and told that it will not be for long
	fatePaused  = "refused at times" // in the windows of a brownout, and warned between them
	fateRefused = "refused"
)

// A Difference is some logins of which two policies decide otherwise.
type Difference struct {
	Before string `json:"before"` // a fate
	After  string `json:"after"`
	// Logins says which, in words.
	Logins string `json:"logins"`
	// Rule is what decides of one of them by the policy that is harder on it.
	Rule string `json:"rule"`
}

// A Comparison is what two policies make of all logins that there can be.
type Comparison struct {
	Logins []Difference `json:"logins"`
	// Others are statements of which only one policy has the text, and that change what
	// holds for a session and not who is let in: data connections, algorithms, proofs, mail.
	Others []string `json:"others,omitempty"`
}

const (
	// maxDiffBoxes is the most boxes that a comparison may take.
	maxDiffBoxes = 20_000
	// maxDifferences is how many differences are listed.
	maxDifferences = 200
)

// Compare finds how p and then another decide otherwise of logins from a time on: the
// smallest descriptions of them that it knows. The error is about policies that are too
// large to be compared.
func (p *Policy) Compare(then *Policy, from time.Time) (Comparison, error) {
	s := newSpace(from.UTC(), nil, nil, p, then)
	s.Budget = maxDiffBoxes
	only, err := s.touched(p, then)
	if err == nil {
		only, err = s.Intersect(only, s.real())
	}
	if err != nil {
		return Comparison{}, tooLarge(err)
	}
	only = s.Merge(s.disjoint(only))
	before, err := (&ruling{space: s, policy: p, phase: session.PhaseVerified, only: only}).fates(only)
	if err != nil {
		return Comparison{}, tooLarge(err)
	}
	after, err := (&ruling{space: s, policy: then, phase: session.PhaseVerified, only: only}).fates(only)
	if err != nil {
		return Comparison{}, tooLarge(err)
	}
	out := Comparison{Logins: []Difference{}, Others: otherStatements(p, then)}
	for _, a := range fates() {
		for _, b := range fates() {
			if a == b {
				continue
			}
			both, err := s.Intersect(before[a], after[b])
			if err != nil {
				return Comparison{}, tooLarge(err)
			}
			out.Logins = append(out.Logins, s.differences(a, b, both, p, then)...)
		}
	}
	return out, nil
}

// touched is the points about which a statement says something that only one of the
// policies has: elsewhere they decide alike.
func (s *space) touched(p, then *Policy) (box.Region, error) {
	out := box.Region{}
	was, is := p.keyed(), then.keyed()
	for _, pair := range [][2]map[string]*condition{{was, is}, {is, was}} {
		for key, cond := range pair[0] {
			if _, both := pair[1][key]; both {
				continue
			}
			some, err := s.matching(cond, true, session.PhaseVerified)
			if err != nil {
				return nil, err
			}
			out = append(out, some...)
		}
	}
	return out, nil
}

// keyed are the conditions under which statements say something, nil for everywhere, by all
// that they say.
func (p *Policy) keyed() map[string]*condition {
	out := make(map[string]*condition)
	for _, a := range p.allows {
		out["allow"+a.cond.key()] = &a.cond
	}
	for _, q := range p.requires {
		key := "require" + q.cond.key() + q.when.key() + fmt.Sprint(q.late, q.ways)
		for _, w := range q.rollouts {
			key += w.cond.key() + fmt.Sprint(w.observe, w.warn, w.enforce, w.brownouts)
		}
		out[key] = q.when
		for _, e := range q.exempts {
			out["exempt"+q.cond.key()+q.when.key()+e.cond.key()+fmt.Sprint(e.until)] = &e.cond
		}
	}
	return out
}

// key is all that a condition says.
func (c *condition) key() string {
	if c == nil {
		return "-"
	}
	return fmt.Sprintf("{%v %v %q %q %q %v %v %v %q}", c.sets, c.spans, c.listener, c.user, c.group, c.from, c.inside, c.zone, c.act)
}

func tooLarge(err error) error {
	return fmt.Errorf("the policies are too large to be compared (%w): compare parts of them, or see gateway policy replay", err)
}

func fates() []string { return []string{fateAllowed, fateWarned, fatePaused, fateRefused} }

// fates divides a region by what becomes of the logins in it.
func (r *ruling) fates(of box.Region) (map[string]box.Region, error) {
	out := make(map[string]box.Region)
	take := func(fate string, some box.Region, err error) error {
		if err != nil {
			return err
		}
		if out[fate], err = r.Intersect(of, some); err != nil {
			return err
		}
		out[fate] = r.disjoint(out[fate])
		of, err = r.Subtract(of, some)
		return err
	}
	allowed, err := r.allowed()
	if err != nil {
		return nil, err
	}
	unmatched, err := r.Subtract(of, allowed)
	if err == nil {
		of, err = r.Intersect(of, allowed)
	}
	if err != nil {
		return nil, err
	}
	for fate, stage := range stagedFates() {
		some, err := r.refusedFrom(stage)
		if err := take(fate, some, err); err != nil {
			return nil, err
		}
	}
	out[fateRefused] = append(out[fateRefused], unmatched...)
	out[fateAllowed] = of
	return out, nil
}

// stagedFates are the fates that come of a requirement, and from which stage on, the worst
// first.
func stagedFates() func(func(string, session.Stage) bool) {
	return func(yield func(string, session.Stage) bool) {
		_ = yield(fateRefused, session.StageEnforce) && yield(fatePaused, session.StageBrownout) && yield(fateWarned, session.StageWarn)
	}
}

// disjoint drops what is said twice; where that takes too much it stays.
func (s *space) disjoint(r box.Region) box.Region {
	var out box.Region
	for _, b := range r {
		rest, err := s.Subtract(box.Region{b}, out)
		if err != nil {
			return r
		}
		out = append(out, rest...)
	}
	return out
}

// differences describes a region, as few times as can be.
func (s *space) differences(before, after string, r box.Region, p, then *Policy) []Difference {
	var out []Difference
	r = s.Merge(s.disjoint(r))
	if wide, err := s.Widen(r); err == nil {
		r = wide
	}
	for _, d := range s.byGroups(r) {
		q := s.requests(d.box)
		if len(q) == 0 {
			continue // no moment has that hour and weekday
		}
		harder := then
		if slices.Index(fates(), before) > slices.Index(fates(), after) {
			harder = p
		}
		q[0].Phase, q[0].Proven = session.PhaseVerified, session.FactorPassword|session.FactorCode|session.FactorKey
		v, _ := harder.run(q[0])
		rule := v.Rule
		if v.Allowed && len(v.WouldRefuse) > 0 {
			rule = v.WouldRefuse[0]
		}
		out = append(out, Difference{Before: before, After: after, Logins: d.text, Rule: rule})
		if len(out) == maxDifferences {
			break
		}
	}
	slices.SortFunc(out, func(x, y Difference) int {
		return cmp.Or(len(x.Logins)-len(y.Logins), strings.Compare(x.Logins, y.Logins))
	})
	return out
}

// A described box is one with its words, which may stand for others too.
type described struct {
	box  box.Box
	text string
}

// byGroups describes boxes. Those that differ in one group only, which somebody is in, are
// said together.
func (s *space) byGroups(r box.Region) []described {
	var out []described
	groups := make(map[string][]string) // by what else is said
	at := make(map[string]int)
	for _, b := range r {
		in := ""
		for _, g := range sortedKeys(s.groups) {
			switch set := b[s.groups[g]]; {
			case set == nil:
			case set.Has(0) || in != "":
				in = "?" // not just in one
			default:
				in = g
			}
		}
		if in == "" || in == "?" {
			out = append(out, described{b, s.describe(b)})
			continue
		}
		rest := s.describe(b, s.groups[in])
		if _, seen := at[rest]; !seen {
			at[rest] = len(out)
			out = append(out, described{box: b})
		}
		groups[rest] = append(groups[rest], in)
		d := &out[at[rest]]
		if d.text = s.describe(b); len(groups[rest]) > 1 {
			d.text = rest + ", in group " + either(groups[rest])
		}
	}
	return out
}

// otherStatements names statements that one policy has and the other has not, or has
// otherwise, and that are about more than who is let in.
func otherStatements(p, then *Policy) []string {
	was, is := p.settings(), then.settings()
	var out []string
	for name, text := range was {
		switch now, there := is[name]; {
		case !there:
			out = append(out, name+" is gone")
		case now != text:
			out = append(out, name+" is another")
		}
	}
	for name := range is {
		if _, there := was[name]; !there {
			out = append(out, name+" is new")
		}
	}
	slices.Sort(out)
	return out
}

// settings are the statements that decide about more than who is let in, with what they
// say.
func (p *Policy) settings() map[string]string {
	out := make(map[string]string)
	for _, s := range slices.Concat(p.allows, p.everyRequire(), p.exempts) {
		if s.data == (session.DataRules{}) && s.ssh == (session.SSHRules{}) && len(s.ways) == 0 && s.rate == (session.Rate{}) && !s.drop &&
			s.phase() != session.PhaseSession && (s.requirement == nil || s.requirement.phase() != session.PhaseSession) {
			continue
		}
		name := fmt.Sprintf("%s %q", s.kind, s.name)
		if s.own != "" {
			name += fmt.Sprintf(" %q", s.own)
		}
		out[name] = fmt.Sprint(s.data, s.ssh, s.ways, s.rate, s.drop, s.cond.String(), s.when.key(), s.untilText)
	}
	for _, d := range p.devices {
		out[fmt.Sprintf("device %q", d.name)] = fmt.Sprint(d.place.String(), d.untilText, d.owner)
	}
	return out
}
