package policies

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The attributes of a require about how its refusal is carried out, and about how often
// somebody may try.
const (
	attrOtherwise = "otherwise"
	attrLogins    = "logins"
)

// The words of otherwise.
const (
	otherwiseRefuse = "refuse"
	otherwiseDrop   = "drop"
)

// maxRate bounds the number in logins.
const maxRate = 100_000

// otherwise reads what becomes of whoever does not meet a requirement.
func (d *decoder) otherwise(s *statement, a *hclsyntax.Attribute) {
	t, ok := d.one(a)
	switch {
	case !ok:
	case t.value == otherwiseDrop:
		s.drop = true
	case t.value != otherwiseRefuse:
		words := []string{otherwiseRefuse, otherwiseDrop}
		d.fault(t.at, "Unknown "+attrOtherwise, "There is no %s %q.%s", attrOtherwise, t.value, suggest(t.value, words))
	}
}

// rate reads "6 per minute".
func (d *decoder) rate(a *hclsyntax.Attribute) session.Rate {
	t, ok := d.one(a)
	if !ok {
		return session.Rate{}
	}
	number, unit, _ := strings.Cut(t.value, " per ")
	n, err := strconv.Atoi(number)
	per := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}[unit]
	if err != nil || n < 1 || n > maxRate || per == 0 {
		d.fault(t.at, "Not a rate", "%q takes a number per minute, hour or day, such as \"6 per minute\".", a.Name)
		return session.Rate{}
	}
	return session.Rate{N: n, Per: per}
}

// resolveDrops refuses what would hang up on some names only.
func (d *decoder) resolveDrops() {
	for _, q := range d.requires {
		if !q.drop {
			continue
		}
		if q.cond.aboutUser() || q.when != nil && q.when.aboutUser() || slices.ContainsFunc(q.rollouts, (*rollout).aboutUser) {
			d.fault(q.at, "Drop that tells names apart", "Require %q hangs up without a word and looks at who is named: whoever asks would learn "+
				"which names there are. Leave user, group and what is known of accounts out, or leave %s out.", q.name, attrOtherwise)
		}
		if q.phase() == session.PhaseVerified || q.ways != nil {
			d.fault(q.at, "Known too late", "Require %q looks at what was proven; a peer is hung up on before that.", q.name)
		}
		if q.reply != "" {
			d.fault(q.at, "Reply to nobody", "Require %q hangs up without a word, so that its reply is never said.", q.name)
		}
	}
}

// limitingLogins lists the statements that say how often one may try.
func limitingLogins(list []*statement) []*statement {
	return slices.DeleteFunc(slices.Clone(list), func(s *statement) bool { return s.rate == session.Rate{} })
}

// rate is the least that a requirement allows whom the conditions matched; zero is no limit.
func (p *Policy) rate(matched *bits, now time.Time) session.Rate {
	var out session.Rate
	for _, q := range p.rates {
		if q.applies(matched) && exemption(q, matched, now) == nil && (out.N == 0 || slower(q.rate, out)) {
			out = q.rate
		}
	}
	return out
}

// graceOf is for how long a condition lets in somebody whose password crossed in clear; zero
// if it never does, or always.
func (c *condition) graceOf() time.Duration {
	var most int64
	for _, s := range c.spans[scaleExposed] {
		if s.high == forever {
			return 0
		}
		most = max(most, s.high)
	}
	return time.Duration(most) * time.Second
}

// rotateNotice is what somebody is told whose password crossed in clear, while it still does.
const rotateNotice = "This password crossed the network in clear. Change it: from {date} on it is refused here."

// rotate tells somebody, whom a requirement lets in with a password that crossed in clear, until
// when.
func (s *statement) rotate(v *session.Verdict, matched *bits, r *session.Request) {
	if s.grace == 0 || r.Phase != session.PhaseVerified || v.Notice != "" || since(r, r.Exposed) == notExposed || !s.applies(matched) {
		return
	}
	text := cmp.Or(s.notice, rotateNotice)
	v.Notice = strings.NewReplacer("{date}", r.Exposed.Add(s.grace).UTC().Format(time.DateOnly), "{instead}", "").Replace(text)
}

// named is what is decided of r before its proof.
func (p *Policy) named(r session.Request) session.Verdict {
	r.Phase = session.PhaseNamed
	return p.Decide(r)
}

// rateWords says a rate as a require does.
func rateWords(r session.Rate) string {
	unit := map[time.Duration]string{time.Minute: "minute", time.Hour: "hour", 24 * time.Hour: "day"}[r.Per]
	return strconv.Itoa(r.N) + " per " + unit
}

// slower reports whether a allows less than b in the long run.
func slower(a, b session.Rate) bool {
	return int64(a.N)*int64(b.Per) < int64(b.N)*int64(a.Per)
}
