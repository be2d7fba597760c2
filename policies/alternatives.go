package policies

import (
	"fmt"
	"slices"
	"time"

	"gateway/session"
)

// maxChanges is how many single changes are tried, and in pairs.
const maxChanges = 200

// A change is one fact of a request that could have been otherwise.
type change struct {
	attribute, text string
	apply           func(*session.Request)
}

// alternatives finds the smallest changes of r that would be allowed.
func (p *Policy) alternatives(r session.Request) []Alternative {
	changes := p.changes(r)
	var out []Alternative
	for _, c := range changes {
		if rule, ok := p.allowedWith(r, c); ok {
			out = append(out, Alternative{[]string{c.text}, rule})
		}
	}
	if len(out) == 0 {
		out = p.pairs(r, changes)
	}
	return out[:min(len(out), alternativeLimit)]
}

func (p *Policy) pairs(r session.Request, changes []change) []Alternative {
	var out []Alternative
	for i, a := range changes {
		for _, b := range changes[i+1:] {
			if a.attribute == b.attribute {
				continue
			}
			if rule, ok := p.allowedWith(r, a, b); ok {
				out = append(out, Alternative{[]string{a.text, b.text}, rule})
			}
			if len(out) == alternativeLimit {
				return out
			}
		}
	}
	return out
}

// allowedWith reports whether r would be allowed with the changes, over a channel
// and with a method that its protocol has.
func (p *Policy) allowedWith(r session.Request, changes ...change) (rule string, ok bool) {
	for _, c := range changes {
		c.apply(&r)
	}
	if !exists(r.Protocol, r.Channel, r.Method) {
		return "", false
	}
	verdict, _ := p.run(r)
	return verdict.Rule, verdict.Allowed
}

// changes lists what could be otherwise, as far as the policy knows of it.
func (p *Policy) changes(r session.Request) []change {
	var out []change
	add := func(attribute, text string, apply func(*session.Request)) {
		out = append(out, change{attribute, text, apply})
	}
	for i, name := range channels() {
		if k := session.ChannelKind(i); k != r.Channel {
			add("channel", "channel "+name, func(r *session.Request) { r.Channel = k })
		}
	}
	for _, name := range protocols() {
		if q := session.Protocol(name); q != r.Protocol && p.names(func(c *condition) bool { return c.sets[dimProtocol].has(protocolNumber(q)) }) {
			add("protocol", "protocol "+name, func(r *session.Request) { r.Protocol = q })
		}
	}
	for _, name := range methods() {
		if m := session.Method(name); m != r.Method && p.names(func(c *condition) bool { return c.sets[dimMethod] != 0 }) {
			add("method", "method "+name, func(r *session.Request) { r.Method = m })
		}
	}
	for _, q := range p.factorRules {
		for _, w := range q.ways {
			if w != r.Proven {
				add("proven", w.String()+" proven", func(r *session.Request) { r.Proven = w })
			}
		}
	}
	for _, g := range p.groups() {
		if !slices.Contains(r.Groups, g) {
			add("group", fmt.Sprintf("group %q", g), func(r *session.Request) { r.Groups = append(slices.Clone(r.Groups), g) })
		}
	}
	for _, n := range p.networks {
		if len(n.cidrs) > 0 {
			addr := n.cidrs[0].Addr()
			add("from", fmt.Sprintf("an address in %q", n.name), func(r *session.Request) { r.Remote = addr })
		}
	}
	for _, l := range p.listeners {
		if l != r.Listener && p.names(func(c *condition) bool { return c.listener != nil }) {
			add("listener", fmt.Sprintf("listener %q", l), func(r *session.Request) { r.Listener = l })
		}
	}
	for _, e := range p.exempts {
		if e.expired(r.Time) {
			before := e.until.Add(-time.Nanosecond)
			add("time", "a time before "+e.until.UTC().Format(time.RFC3339), func(r *session.Request) { r.Time = before })
		}
	}
	for _, q := range p.requires {
		for _, w := range q.rollouts {
			if first := w.dates()[0].from; q.part == 0 && !first.After(r.Time) && len(w.cond.unmet(r)) == 0 {
				before := first.Add(-time.Nanosecond)
				add("time", "a time before "+first.UTC().Format(time.RFC3339), func(r *session.Request) { r.Time = before })
			}
		}
	}
	for _, d := range p.devices {
		if r.Protocol == session.Relay {
			addr := d.place.from[0].Addr()
			add("from", fmt.Sprintf("the address of device %q", d.name), func(r *session.Request) { r.Remote = addr })
		}
		if d.fixed != session.StageEnforce && !r.Time.Before(d.until) && len(d.place.unmet(r)) == 0 {
			before := d.until.Add(-time.Nanosecond)
			add("time", "a time before "+d.until.UTC().Format(time.RFC3339), func(r *session.Request) { r.Time = before })
		}
	}
	if !r.Known && r.User != "" {
		add("account", fmt.Sprintf("an account %q", r.User), func(r *session.Request) { r.Known = true })
	}
	return out[:min(len(out), maxChanges)]
}

// names reports whether some condition of the policy passes the test.
func (p *Policy) names(test func(*condition) bool) bool {
	return slices.ContainsFunc(slices.Concat(p.allows, p.everyRequire(), p.exempts), func(s *statement) bool {
		return test(&s.cond) || s.when != nil && test(s.when)
	})
}

// groups lists the groups that let somebody in.
func (p *Policy) groups() []string {
	var out []string
	for _, s := range slices.Concat(p.allows, p.requires, p.exempts) {
		out = append(out, s.cond.group...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
