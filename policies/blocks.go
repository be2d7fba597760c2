package policies

import (
	"net/netip"
	"slices"
	"strings"

	"gateway/session"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// conditionNames are the attributes of require, when and exempt.
func conditionNames() []string { return append(loginNames(), actNames()...) }

// loginNames are those that look at logins: the attributes of allow and rollout.
func loginNames() []string {
	out := []string{"protocol", "channel", "listener", "group", "user", "from", "method"}
	for d := dimMethod + 1; d < dimensions; d++ {
		if d.own() && d.phase() != session.PhaseSession {
			out = append(out, d.word())
		}
	}
	for s := range scaleClientDays {
		out = append(out, s.word())
	}
	return out
}

func (d *decoder) network(b *hclsyntax.Block) {
	d.noBlocks("A network", b.Body)
	n := network{line: b.TypeRange.Start.Line}
	ok := d.labels(b, "name")
	if ok {
		n.name = b.Labels[0]
		if _, err := netip.ParseAddr(n.name); err == nil || strings.Contains(n.name, "/") {
			d.fault(b.LabelRanges[0], "Bad name", "A network must not be named like an address.")
		}
	}
	d.attributes("A network", b.Body, []string{"cidrs"}, func(a *hclsyntax.Attribute) {
		for _, t := range d.texts(a) {
			if p, ok := d.prefix(t); ok {
				n.cidrs = append(n.cidrs, p)
			}
		}
	})
	d.required(b, "A network", map[string]string{"cidrs": `a list such as ["192.0.2.0/24", "2001:db8::/32"]`})
	if ok {
		d.networks[n.name] = n
	}
}

// prefix reads a network or a single address.
func (d *decoder) prefix(t text) (netip.Prefix, bool) {
	var p netip.Prefix
	if a, err := netip.ParseAddr(t.value); err == nil {
		if a.Zone() != "" {
			d.fault(t.at, "Not a network", "%q has a zone; a rule holds for all interfaces.", t.value)
			return p, false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	} else if p, err = netip.ParsePrefix(t.value); err != nil {
		d.fault(t.at, "Not a network", "%q is neither a network such as 192.0.2.0/24 or 2001:db8::/32 nor an address.", t.value)
		return p, false
	}
	if p.Addr().Is4In6() {
		d.fault(t.at, "Not a network", "%q is IPv4 in the form of IPv6. Write it as IPv4.", t.value)
		return p, false
	}
	if p != p.Masked() {
		d.fault(t.at, "Network with host bits", "%q has bits set after the first %d. Did you mean %q?", t.value, p.Bits(), p.Masked())
		return p, false
	}
	return p, true
}

// condition reads one attribute into c. name is one of conditionNames.
func (d *decoder) condition(c *condition, a *hclsyntax.Attribute) {
	values := d.texts(a)
	switch a.Name {
	case "listener":
		c.listener = d.names(values)
		for _, t := range values {
			if d.opts.Listeners != nil && !slices.Contains(d.opts.Listeners, t.value) {
				d.fault(t.at, "Unknown listener", "There is no listener %q.%s", t.value, suggest(t.value, d.opts.Listeners))
			}
		}
	case "group":
		c.group = d.names(values)
	case "user":
		c.user = d.names(values)
	case "from":
		d.from(c, values)
	case attrPath, attrSender, attrRecipient, attrRequest:
		d.actAttribute(&c.act, a)
	default:
		if dim, ok := dimensionNamed(a.Name); ok {
			c.sets[dim] = d.words(dim, values)
		}
		if s, ok := scaleNamed(a.Name); ok {
			c.spans[s] = d.spans(s, values)
		}
		c.zone = d.zone
	}
}

// words reads values of a dimension.
func (d *decoder) words(dim dimension, values []text) set {
	var out set
	all := slices.Clone(dim.values())
	for _, short := range dim.short() {
		all = append(all, short.word)
	}
	for _, t := range values {
		i := slices.Index(all, t.value)
		switch {
		case i < 0:
			d.fault(t.at, "Unknown "+dim.word(), "There is no %s %q.%s", dim.word(), t.value, suggest(t.value, all))
		case i < len(dim.values()):
			out |= 1 << i
		default:
			out |= dim.short()[i-len(dim.values())].set
		}
	}
	return out
}

func (d *decoder) names(values []text) []string {
	var out []string
	for _, t := range values {
		if why := badText(t.value, maxValue); why != "" {
			d.fault(t.at, "Bad name", "This must be a text%s.", why)
			continue
		}
		out = append(out, t.value)
	}
	return out
}

func (d *decoder) from(c *condition, values []text) {
	for _, t := range values {
		if n, ok := d.networks[t.value]; ok {
			c.from = append(c.from, n.cidrs...)
			c.fromText = append(c.fromText, t.value)
			continue
		}
		if !strings.ContainsAny(t.value, ".:/") {
			d.fault(t.at, "Unknown network", "There is no network %q.%s", t.value, suggest(t.value, d.networkNames()))
			continue
		}
		if p, ok := d.prefix(t); ok {
			c.from = append(c.from, p)
			c.fromText = append(c.fromText, t.value)
		}
	}
	if d.prefixes += len(c.from); d.prefixes > maxPrefixes && len(values) > 0 {
		d.fault(values[0].at, "Too many networks", "The conditions of a policy may have %d networks together.", maxPrefixes)
		c.from = c.from[:0]
	}
}

func (d *decoder) networkNames() []string {
	var names []string
	for n := range d.networks {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// room counts the conditions of a statement.
func (d *decoder) room(b *hclsyntax.Block, n int) {
	before := d.conditions
	if d.conditions += n; before <= maxConditions && d.conditions > maxConditions {
		d.fault(b.DefRange(), "Too many statements", "A policy may have %d conditions: one for each allow, exempt and rollout, two for each require and device.", maxConditions)
	}
}

func (d *decoder) allow(b *hclsyntax.Block) {
	d.noBlocks("An allow", b.Body)
	s := &statement{kind: kindAllow, line: b.TypeRange.Start.Line, at: b.DefRange()}
	if d.labels(b, "name") {
		s.name = b.Labels[0]
	}
	before := len(d.diags)
	d.attributes("An allow", b.Body, append(loginNames(), attrResumption, attrGrants), func(a *hclsyntax.Attribute) {
		switch a.Name {
		case attrResumption:
			s.data.Granted = d.resumption(a)
		case attrGrants:
			d.grants(s, a)
		default:
			d.condition(&s.cond, a)
		}
	})
	if s.cond.empty() && len(d.diags) == before {
		d.fault(b.DefRange(), "Allow without a condition", "This would let everybody in everywhere. Say at least which protocol.")
	}
	d.room(b, 1)
	d.allows = append(d.allows, s)
}

func (d *decoder) require(b *hclsyntax.Block) {
	s := &statement{kind: kindRequire, line: b.TypeRange.Start.Line, at: b.DefRange()}
	if d.labels(b, "name") {
		s.name = b.Labels[0]
	}
	var r ratchet
	profiled := false
	before := len(d.diags)
	known := append(conditionNames(), attrResumption, attrSSHProfile, attrFactors, attrJournal, attrReadOnly, attrWithin, attrBandwidth, attrLifetime, attrProfile, attrAbsolute, attrOtherwise, attrLogins, "reply", "notice", attrDays, attrQuiet, attrScope)
	d.attributes("A require", b.Body, known, func(a *hclsyntax.Attribute) {
		switch a.Name {
		case attrDays, attrQuiet, attrScope:
			d.ratchetSetting(&r, a)
		case attrSSHProfile:
			s.ssh.Demanded = d.sshProfile(a, session.SSHModern, session.SSHCompatible)
		case attrResumption:
			s.data.Demanded = d.resumption(a)
		case attrFactors:
			if r.factors = floor(a); !r.factors {
				d.factors(s, a)
			}
		case attrJournal:
			d.journal(s, a)
		case attrReadOnly, attrWithin, attrBandwidth, attrLifetime:
			d.held(s, a)
		case attrProfile:
			profiled = d.useProfile(s, a)
		case attrAbsolute:
			s.absolute = d.flag(a)
		case attrOtherwise:
			d.otherwise(s, a)
		case attrLogins:
			s.rate = d.rate(a)
		case "reply":
			s.reply = d.reply(a, "{hostname}")
		case "notice":
			s.notice = d.reply(a, "{hostname}", "{date}", "{instead}")
		case dimChannel.word():
			if r.channel = floor(a); !r.channel {
				d.condition(&s.cond, a)
			}
		default:
			d.condition(&s.cond, a)
		}
	})
	for _, inner := range b.Body.Blocks {
		switch {
		case inner.Type == "when" && s.when != nil:
			d.fault(inner.TypeRange, "Second when", "A require has one when; its attributes must all match.")
		case inner.Type == "when":
			s.when = d.when(inner)
		case inner.Type == kindRollout:
			d.rollout(s, inner)
		default:
			d.fault(inner.TypeRange, "Unknown block", "A require has no block %q.%s", inner.Type, suggest(inner.Type, []string{"when", kindRollout}))
		}
	}
	if s.cond.empty() && !s.settles() && s.ways == nil && !r.channel && !r.factors && len(d.diags) == before {
		d.fault(b.DefRange(), "Require without a requirement",
			"Say what must hold, such as channel = \"encrypted\". What stands in \"when\" says only for whom.")
	}
	if profiled {
		d.overTLS(s)
	}
	parts := d.parts(s, r)
	d.room(b, 2*len(parts)+len(s.rollouts))
	d.requires = append(d.requires, parts...)
}

func (d *decoder) when(b *hclsyntax.Block) *condition {
	d.noBlocks("A when", b.Body)
	if len(b.Labels) > 0 {
		d.fault(b.LabelRanges[0], "Wrong number of names", "Write: when { ... }")
	}
	c := &condition{}
	before := len(d.diags)
	d.attributes("A when", b.Body, conditionNames(), func(a *hclsyntax.Attribute) { d.condition(c, a) })
	if c.empty() && len(d.diags) == before {
		d.fault(b.DefRange(), "Empty when", "Leave \"when\" out if the requirement is for everybody.")
	}
	return c
}

// reply reads a text for the peer, in which some variables may stand. {hostname} is
// filled in; the others are known later only.
func (d *decoder) reply(a *hclsyntax.Attribute, variables ...string) string {
	t, ok := d.one(a)
	if !ok {
		return ""
	}
	rest := t.value
	for _, v := range variables {
		rest = strings.ReplaceAll(rest, v, "")
	}
	if strings.ContainsAny(rest, "{}") {
		d.fault(t.at, "Unknown variable", "In %s there may be: %s.", a.Name, strings.Join(variables, ", "))
		return ""
	}
	filled := strings.ReplaceAll(t.value, "{hostname}", d.opts.Hostname)
	if why := badText(filled, maxReply); why != "" {
		d.fault(t.at, "Bad "+a.Name, "With {hostname} filled in, a %s must be a text%s.", a.Name, why)
		return ""
	}
	return filled
}

func (d *decoder) exempt(b *hclsyntax.Block) {
	d.noBlocks("An exempt", b.Body)
	s := &statement{kind: kindExempt, line: b.TypeRange.Start.Line, at: b.DefRange()}
	if d.labels(b, "requirement", "name") {
		s.name, s.own = b.Labels[0], b.Labels[1]
	}
	known := append(conditionNames(), attrSSHProfile, "until", "owner", "because")
	d.attributes("An exempt", b.Body, known, func(a *hclsyntax.Attribute) {
		switch a.Name {
		case attrSSHProfile:
			s.ssh.Granted = d.sshProfile(a, session.SSHCompatible, session.SSHLegacy)
		case "until":
			s.until, s.untilText, _ = d.date(a)
		case "owner":
			t, _ := d.one(a)
			s.owner = t.value
		case "because":
			t, _ := d.one(a)
			s.because = t.value
		default:
			d.condition(&s.cond, a)
		}
	})
	d.required(b, "An exempt", map[string]string{
		"until":   "the last day on which it holds, \"2027-06-30\"",
		"owner":   "who answers for it",
		"because": "why it is needed",
	})
	attrs := b.Body.Attributes
	if attrs["from"] == nil && attrs["listener"] == nil {
		d.fault(b.DefRange(), "Exempt without a place",
			"An exempt needs from or listener: elsewhere, the answer must not depend on who is named.")
	}
	d.room(b, 1)
	d.exempts = append(d.exempts, s)
}

// resolve finds the requirement of each exempt.
func (d *decoder) resolve() {
	byName := make(map[string]*statement)
	var names []string
	for _, r := range d.requires {
		byName[r.name] = r
		names = append(names, r.name)
	}
	slices.Sort(names)
	for _, e := range d.exempts {
		e.requirement = byName[e.name]
		switch {
		case e.requirement == nil && e.name != "":
			d.fault(e.at, "Unknown requirement", "There is no require %q to be exempted from.%s", e.name, suggest(e.name, names))
		case e.requirement != nil && e.requirement.absolute:
			d.fault(e.at, "Exempt from what is absolute", "Require %q, in line %d, has %s = true: nobody can be exempted from it.", e.name, e.requirement.line, attrAbsolute)
		}
	}
	d.resolveSSH()
	d.resolvePhases()
	d.resolveActs()
	d.resolveDrops()
	d.resolveRollouts()
	d.resolveDevices()
}

// namedListeners lists the listeners that conditions name.
func (d *decoder) namedListeners() []string {
	var out []string
	for _, s := range slices.Concat(d.allows, d.requires, d.exempts) {
		out = append(out, s.cond.listener...)
		if s.when != nil {
			out = append(out, s.when.listener...)
		}
	}
	for _, dev := range d.devices {
		out = append(out, dev.place.listener...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
