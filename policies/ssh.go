package policies

import (
	"slices"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// attrSSHProfile names the list of SSH algorithms that a require demands or an
// exempt grants.
const attrSSHProfile = "ssh_profile"

// sshProfile reads ssh_profile, where one of these may stand.
func (d *decoder) sshProfile(a *hclsyntax.Attribute, may ...session.SSHProfile) session.SSHProfile {
	t, ok := d.one(a)
	if !ok {
		return session.SSHUnset
	}
	p, err := session.ParseSSHProfile(t.value)
	switch {
	case err != nil:
		var words []string
		for _, p := range may {
			words = append(words, p.String())
		}
		d.fault(t.at, "Unknown "+attrSSHProfile, "There is no %s %q.%s", attrSSHProfile, t.value, suggest(t.value, words))
	case slices.Contains(may, p):
		return p
	case p == session.SSHLegacy:
		d.fault(t.at, "Legacy algorithms for good", "%s \"legacy\" is the loosest, so a require cannot demand it. "+
			"Grant it by an exempt, which has a place and an end.", attrSSHProfile)
	default:
		d.fault(t.at, "Exempt that loosens nothing", "%s \"modern\" is the strictest. To demand it, write it in a require.", attrSSHProfile)
	}
	return session.SSHUnset
}

// resolveSSH checks what must be known before the key exchange, when there is
// nothing but the peer to look at.
func (d *decoder) resolveSSH() {
	for _, q := range d.requires {
		if q.aboutSSH() && q.when != nil && !q.when.peerOnly() {
			d.fault(q.at, "Known too late", "%s holds for the key exchange, before anybody is named: "+
				"the when of require %q may have from, listener and protocol only.", attrSSHProfile, q.name)
		}
	}
	for _, e := range d.exempts {
		switch {
		case e.requirement == nil:
		case e.requirement.aboutSSH() && !e.cond.peerOnly():
			d.fault(e.at, "Known too late", "Require %q is about %s, which holds for the key exchange, before anybody is named: "+
				"an exempt from it may have from, listener and protocol only.", e.name, attrSSHProfile)
		case !e.requirement.aboutSSH() && e.ssh.Granted != session.SSHUnset:
			d.fault(e.at, "Nothing to be exempted from", "Require %q demands no %s, so that an exempt from it cannot grant one.",
				e.name, attrSSHProfile)
		}
	}
}

// aboutSSH reports whether a require says something of SSH algorithms.
func (s *statement) aboutSSH() bool { return s.ssh.Demanded != session.SSHUnset }

// settles reports whether a require says something else than who is let in.
func (s *statement) settles() bool {
	return s.aboutData() || s.aboutSSH() || s.rate != (session.Rate{})
}

func demandingSSH(list []*statement) []*statement {
	return slices.DeleteFunc(slices.Clone(list), func(s *statement) bool { return !s.aboutSSH() })
}

// ssh is what the rules say of the algorithms that a peer is offered. An exemption
// waives the demand, and grants what it names in its place.
func (p *Policy) ssh(matched *bits, now time.Time) session.SSHRules {
	var out session.SSHRules
	for _, q := range p.sshDemands {
		if !q.applies(matched) {
			continue
		}
		if exemption(q, matched, now) == nil {
			if out.Demanded == session.SSHUnset || q.ssh.Demanded < out.Demanded {
				out.Demanded = q.ssh.Demanded
			}
			continue
		}
		for _, e := range q.exempts {
			if matched.has(e.cond.id) && !e.expired(now) {
				out.Granted = max(out.Granted, e.ssh.Granted)
			}
		}
	}
	return out
}

// overSSH reports whether the condition can match SFTP.
func (c *condition) overSSH() bool {
	return c == nil || c.sets[dimProtocol] == 0 || c.sets[dimProtocol].has(protocolNumber(session.SFTP))
}

// lintSSH warns of demands that change nothing.
func (p *Policy) lintSSH(warn func(s *statement, format string, args ...any)) {
	for _, q := range p.sshDemands {
		if !q.when.overSSH() {
			warn(q, "require %q demands an %s and never applies to SFTP, so it means nothing", q.name, attrSSHProfile)
		}
	}
}

// sshFinding is which profile is offered, by that of the listener.
func sshFinding(r session.SSHRules) map[string]string {
	out := make(map[string]string)
	for _, listener := range []session.SSHProfile{session.SSHModern, session.SSHCompatible} {
		out[listener.String()] = r.Profile(listener).String()
	}
	return out
}

// sshLine says the finding for people to read.
func sshLine(f map[string]string) string {
	strict, loose := f[session.SSHModern.String()], f[session.SSHCompatible.String()]
	switch {
	case strict == loose:
		return attrSSHProfile + " " + strict
	default:
		return attrSSHProfile + " as the listener has it"
	}
}
