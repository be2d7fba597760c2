package policies

import (
	"slices"
	"strconv"
	"strings"

	"gateway/session"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// ownFloor is what a require says that asks of an account what it was seen to be able
// to do, as its channel or its factors.
const ownFloor = "at least the account's own floor"

// The settings of a require that asks for floors.
const (
	attrDays  = "days"
	attrQuiet = "quiet"
	attrScope = "scope"
)

const (
	defaultDays  = 3
	defaultQuiet = 30
	maxDays      = 3650
)

// The words of scope.
const (
	scopeClient  = "client"
	scopeAccount = "account"
)

// A ratchet is what a require says of floors. It is made into ordinary requirements,
// each for those whose floor has risen so far.
type ratchet struct {
	channel, factors bool
	days, quiet      int64
	scope            string
	at               hcl.Range // of the first setting, for faults
}

// floor reports whether an attribute asks for the account's own floor.
func floor(a *hclsyntax.Attribute) bool {
	t, ok := a.Expr.(*hclsyntax.TemplateExpr)
	if !ok || !t.IsStringLiteral() {
		return false
	}
	v, diags := t.Value(nil)
	return !diags.HasErrors() && v.AsString() == ownFloor
}

// ratchetSetting reads days, quiet or scope.
func (d *decoder) ratchetSetting(r *ratchet, a *hclsyntax.Attribute) {
	if r.at.Empty() {
		r.at = a.NameRange
	}
	switch a.Name {
	case attrDays:
		r.days = d.number(a, maxDays)
	case attrQuiet:
		r.quiet = d.days(a)
	case attrScope:
		t, ok := d.one(a)
		if words := []string{scopeClient, scopeAccount}; ok && !slices.Contains(words, t.value) {
			d.fault(t.at, "Unknown scope", "There is no scope %q.%s", t.value, suggest(t.value, words))
		}
		r.scope = t.value
	}
}

// number reads a number from 1 on.
func (d *decoder) number(a *hclsyntax.Attribute, most int64) int64 {
	if v, ok := a.Expr.(*hclsyntax.LiteralValueExpr); ok && v.Val.Type() == cty.Number {
		if n, exact := v.Val.AsBigFloat().Int64(); exact == 0 && n >= 1 && n <= most {
			return n
		}
	}
	d.fault(a.Expr.Range(), "Not a number", "%q takes a whole number from 1 to %d, without quotes.", a.Name, most)
	return 0
}

// days reads a time in days, "30d".
func (d *decoder) days(a *hclsyntax.Attribute) int64 {
	t, ok := d.one(a)
	if !ok {
		return 0
	}
	seconds, ok := parseDays(t.value)
	if !ok {
		d.fault(t.at, "Not a number of days", "%q is not a number of days such as \"30d\", from 1d to %dd.", t.value, maxDays)
	}
	return seconds / secondsOfDay
}

const secondsOfDay = 24 * 60 * 60

// parseDays reads a number of days, "30d", as seconds.
func parseDays(s string) (seconds int64, ok bool) {
	n, err := strconv.ParseInt(strings.TrimSuffix(s, "d"), 10, 32)
	if err != nil || n < 1 || n > maxDays || !strings.HasSuffix(s, "d") {
		return 0, false
	}
	return n * secondsOfDay, true
}

// FloorDays is on how many days an account must have reached a level for a ratchet to hold
// it to that: of several, what the most patient asks; of none, the usual 3.
func (p *Policy) FloorDays() int {
	most := int64(0)
	if p != nil {
		for _, q := range p.requires {
			if q.when == nil {
				continue
			}
			for l := range session.Levels {
				for _, span := range q.when.spans[scaleAccountDays+scale(l)] {
					most = max(most, span.low)
				}
			}
		}
	}
	if most == 0 {
		most = defaultDays
	}
	return int(most)
}

// parts makes the requirements of which a require consists: itself, unless it asks
// for floors.
func (d *decoder) parts(s *statement, r ratchet) []*statement {
	if !r.channel && !r.factors {
		if !r.at.Empty() {
			d.fault(r.at, "Setting of a ratchet", "days, quiet and scope are for a require with channel or factors = %q.", ownFloor)
		}
		return []*statement{s}
	}
	if !s.cond.empty() || s.ways != nil || s.settles() {
		d.fault(s.at, "Two requirements in one", "Require %q asks for the account's own floor and for something else, which would hold for those only whose floor has risen. Make it two.", s.name)
	}
	if r.days == 0 {
		r.days = defaultDays
	}
	if r.quiet == 0 {
		r.quiet = defaultQuiet
	}
	var out []*statement
	add := func(l session.Level, demand func(*statement)) {
		for _, when := range r.risen(l, s.when) {
			part := *s
			part.when, part.part = when, len(out)
			demand(&part)
			out = append(out, &part)
		}
	}
	if r.channel {
		add(session.LevelEncrypted, func(p *statement) { p.cond.sets[dimChannel] = encrypted })
	}
	if r.factors {
		add(session.LevelCode, func(p *statement) {
			p.demandProof(session.FactorPassword|session.FactorCode, session.FactorKey)
		})
		add(session.LevelKey, func(p *statement) { p.demandProof(session.FactorKey) })
	}
	return out
}

// demandProof makes the ways the only ones.
func (s *statement) demandProof(ways ...session.Factors) {
	s.ways, s.lacking = ways, session.LackingAllBut(ways...)
}

// risen are the conditions under which the floor has risen to a level, each within
// when.
func (r *ratchet) risen(l session.Level, when *condition) []*condition {
	in := func(spans map[scale]int64) *condition {
		c := condition{}
		if when != nil {
			c = *when
		}
		for s, least := range spans {
			c.spans[s] = atLeast(least)
		}
		return &c
	}
	account := scaleAccountDays + scale(l)
	if r.scope == scopeAccount {
		return []*condition{in(map[scale]int64{account: r.days})}
	}
	return []*condition{
		in(map[scale]int64{scaleClientDays + scale(l): r.days}),
		in(map[scale]int64{account: r.days, scaleQuietDays + scale(l): r.quiet}),
	}
}
