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
	real := s.real()
	before, err := (&ruling{space: s, policy: p, phase: session.PhaseVerified}).fates(real)
	if err != nil {
		return Comparison{}, tooLarge(err)
	}
	after, err := (&ruling{space: s, policy: then, phase: session.PhaseVerified}).fates(real)
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
	for _, b := range r {
		q := s.requests(b)
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
		out = append(out, Difference{Before: before, After: after, Logins: s.describe(b), Rule: rule})
		if len(out) == maxDifferences {
			break
		}
	}
	slices.SortFunc(out, func(x, y Difference) int {
		return cmp.Or(len(x.Logins)-len(y.Logins), strings.Compare(x.Logins, y.Logins))
	})
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
	for _, s := range slices.Concat(p.allows, p.requires, p.exempts) {
		if s.data == (session.DataRules{}) && s.ssh == (session.SSHRules{}) && len(s.ways) == 0 {
			continue
		}
		name := fmt.Sprintf("%s %q", s.kind, s.name)
		if s.own != "" {
			name += fmt.Sprintf(" %q", s.own)
		}
		out[name] = fmt.Sprint(s.data, s.ssh, s.ways, s.cond.String(), s.when, s.untilText)
	}
	for _, d := range p.devices {
		out[fmt.Sprintf("device %q", d.name)] = fmt.Sprint(d.place.String(), d.untilText, d.owner)
	}
	return out
}
