package policies

import (
	"slices"
	"strings"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// attrProfile names the profile that a require demands of TLS.
const attrProfile = "profile"

// oldProfile is how old a profile is when it is warned about: what is good practice
// changes.
const oldProfile = 3 * 365 * 24 * time.Hour

// A profile is a named and dated choice among what TLS can be made of: a box over its
// facts.
type profile struct {
	name  string
	line  int
	dated time.Time
	sets  [dimensions]set
}

// settings reads what holds for the whole policy.
func (d *decoder) settings(b *hclsyntax.Block) {
	d.noBlocks("Settings", b.Body)
	if len(b.Labels) > 0 {
		d.fault(b.LabelRanges[0], "Wrong number of names", "Write: settings { ... }")
	}
	if line, taken := d.seen[kindSettings]; taken {
		d.fault(b.DefRange(), "Second settings", "There are settings already, in line %d.", line)
	}
	d.seen[kindSettings] = b.TypeRange.Start.Line
	d.attributes("Settings", b.Body, []string{"time_zone", attrAdministrators}, func(a *hclsyntax.Attribute) {
		if a.Name == attrAdministrators {
			d.administrators(a)
			return
		}
		t, ok := d.one(a)
		if !ok {
			return
		}
		zone, err := time.LoadLocation(t.value)
		if err != nil || t.value == "Local" {
			d.fault(t.at, "Unknown time zone", "%q is not a time zone such as \"UTC\" or \"Europe/Berlin\".", t.value)
			return
		}
		d.zone = zone
	})
}

// profile reads one profile.
func (d *decoder) profile(b *hclsyntax.Block) {
	d.noBlocks("A profile", b.Body)
	p := profile{line: b.TypeRange.Start.Line}
	if d.labels(b, "name") {
		p.name = b.Labels[0]
	}
	d.attributes("A profile", b.Body, []string{"dated", "tls", "ciphers", "groups"}, func(a *hclsyntax.Attribute) {
		switch a.Name {
		case "dated":
			if t, ok := d.one(a); ok {
				p.dated, _ = d.moment(t)
			}
		case "tls":
			t, ok := d.one(a)
			least := d.words(dimVersion, []text{t})
			if ok && least != 0 {
				p.sets[dimVersion] = (1<<len(versionWords) - 1) &^ (least - 1)
			}
		case "ciphers":
			p.sets[dimCipher] = d.words(dimCipher, d.texts(a))
		case "groups":
			list := d.texts(a)
			for i := range list {
				list[i].value = strings.ToLower(list[i].value)
			}
			p.sets[dimGroup] = d.words(dimGroup, list)
		}
	})
	d.required(b, "A profile", map[string]string{"dated": "the day on which it was chosen", "tls": "the least version, \"1.2\""})
	d.profiles[p.name] = p
}

// useProfile makes a require demand a profile.
func (d *decoder) useProfile(s *statement, a *hclsyntax.Attribute) bool {
	t, ok := d.one(a)
	if !ok {
		return false
	}
	p, known := d.profiles[t.value]
	if !known {
		var names []string
		for name := range d.profiles {
			names = append(names, name)
		}
		slices.Sort(names)
		d.fault(t.at, "Unknown profile", "There is no profile %q.%s", t.value, suggest(t.value, names))
		return false
	}
	for dim, set := range p.sets {
		if set != 0 {
			s.cond.sets[dim] = set
		}
	}
	s.profile = p.name
	return true
}

// overTLS makes a require that demands a profile one for channels that have one.
func (d *decoder) overTLS(s *statement) {
	if s.when == nil {
		s.when = &condition{zone: d.zone}
	}
	tls := set(1 << session.TLS)
	if !s.when.sets[dimChannel].admits(int(session.TLS)) {
		d.fault(s.at, "Profile without TLS", "Require %q demands a profile of TLS, and its when excludes TLS.", s.name)
	}
	s.when.sets[dimChannel] = tls
}

// spans reads values of a scale.
func (d *decoder) spans(s scale, values []text) []span {
	var out []span
	for _, t := range values {
		switch s {
		case scaleTime:
			out = append(out, d.hours(t)...)
		default:
			if p, ok := d.spanOf(s, t); ok {
				out = append(out, p)
			}
		}
	}
	return out
}

// hours reads "08:00-18:00", also over midnight.
func (d *decoder) hours(t text) []span {
	from, to, ok := strings.Cut(t.value, "-")
	begin, err1 := time.Parse("15:04", from)
	end, err2 := time.Parse("15:04", to)
	low, high := int64(begin.Hour()*60+begin.Minute()), int64(end.Hour()*60+end.Minute())
	if to == "24:00" {
		high, err2 = 24*60, nil
	}
	switch {
	case !ok || err1 != nil || err2 != nil || low == high:
		d.fault(t.at, "Not a time of day", "%q is not a time of day such as \"08:00-18:00\" or \"22:00-06:00\".", t.value)
		return nil
	case low < high:
		return []span{{low, high}}
	case high == 0:
		return []span{{low, 24 * 60}}
	default:
		return []span{{0, high}, {low, 24 * 60}}
	}
}

// spanOf reads for how long something may be so: "no", "yes", "no, or for less than
// 14d", "less than 365d", "more than 90d".
func (d *decoder) spanOf(s scale, t text) (span, bool) {
	switch {
	case s == scaleExposed && t.value == "no":
		return span{notExposed, 0}, true
	case s == scaleExposed && t.value == "yes":
		return span{0, forever}, true
	}
	if s == scaleLast {
		return d.ago(t)
	}
	phrase, number := cutLast(t.value)
	seconds, ok := parseDays(number)
	switch {
	case !ok:
	case s == scaleExposed && phrase == "no, or for less than", s == scaleAge && phrase == "less than":
		return span{notExposed, seconds}, true
	case s == scaleExposed && phrase == "for less than":
		return span{0, seconds}, true
	case s == scaleExposed && phrase == "for more than", s == scaleAge && phrase == "more than":
		return span{seconds, forever}, true
	}
	forms := "\"less than 365d\" or \"more than 90d\""
	if s == scaleExposed {
		forms = "\"no\", \"no, or for less than 14d\", \"yes\", \"for less than 14d\" or \"for more than 14d\""
	}
	d.fault(t.at, "Not understood", "%q: %s takes such as %s.", t.value, s.word(), forms)
	return span{}, false
}

// ago reads a span of last_login.
func (d *decoder) ago(t text) (span, bool) {
	if t.value == never {
		return span{notExposed, 0}, true
	}
	days, past := strings.CutSuffix(t.value, " ago")
	phrase, number := cutLast(days)
	switch seconds, ok := parseDays(number); {
	case !past || !ok:
	case phrase == "less than":
		return span{0, seconds}, true
	case phrase == "more than":
		return span{seconds, forever}, true
	}
	d.fault(t.at, "Not understood", "%q: %s takes such as \"less than 90d ago\", \"more than 90d ago\" or \"never\".", t.value, scaleLast.word())
	return span{}, false
}

// cutLast divides a text before its last word.
func cutLast(s string) (before, last string) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+1:]
}

// resolvePhases refuses what would be known too late for a refusal before the
// credential.
func (d *decoder) resolvePhases() {
	for _, q := range d.requires {
		if q.aboutChannel() && q.phase() == session.PhaseVerified {
			d.fault(q.at, "Known too late", "Require %q is about the channel, so that a credential is refused before it is sent; "+
				"key is known after the proof only. Leave it out of require and when.", q.name)
		}
	}
	for _, e := range d.exempts {
		if e.requirement != nil && e.requirement.aboutChannel() && e.cond.phase() == session.PhaseVerified {
			d.fault(e.at, "Known too late", "Require %q is decided before the credential is sent; key is known after the proof only, "+
				"so that an exempt cannot look at it.", e.name)
		}
	}
}

// lintFacts warns of profiles that are old and of rules that rest on what a client
// says of itself.
func (p *Policy) lintFacts(now time.Time, warn func(line int, format string, args ...any)) {
	for _, pr := range p.profiles {
		if now.Sub(pr.dated) > oldProfile {
			warn(pr.line, "profile %q is of %s: see whether it is still what is good practice", pr.name, pr.dated.Format(time.DateOnly))
		}
		if !slices.ContainsFunc(p.requires, func(q *statement) bool { return q.profile == pr.name }) {
			warn(pr.line, "profile %q is not used", pr.name)
		}
	}
	for _, s := range slices.Concat(p.allows, p.exempts) {
		if s.cond.sets[dimClient] != 0 {
			warn(s.line, "%s %q lets in by client, which is what the software says of itself: whoever wants to can say the same", s.kind, s.name)
		}
	}
}
