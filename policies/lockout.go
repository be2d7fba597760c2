package policies

import (
	"net/netip"
	"slices"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// attrAdministrators names, in settings, the groups whose members must always be able to come
// in.
const attrAdministrators = "administrators"

// administrators reads the groups of that name.
func (d *decoder) administrators(a *hclsyntax.Attribute) { d.admins = d.names(d.texts(a)) }

// Administrators are the groups whose members must always be able to come in, as the settings
// say; none if they say nothing.
func (p *Policy) Administrators() []string { return slices.Clone(p.admins) }

// LetsIn reports whether somebody in a group could log in within a week from a time on: in some
// way, from some place, with all that can be proven. An empty group is anybody at all.
func (p *Policy) LetsIn(group string, from time.Time) bool {
	r := session.Request{
		User: "somebody", Known: true, Phase: session.PhaseVerified, Key: "ed25519", Place: true, Client: session.ClientOpenSSH,
		Proven: session.FactorPassword | session.FactorKey | session.FactorCode,
		TLS:    session.TLSFacts{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Group: "X25519MLKEM768", Certificate: true},
	}
	users, groups := []string{r.User}, [][]string{{group}}
	if group == "" {
		groups = [][]string{p.groups()} // in all that are named: each can only let in where it stands in an allow
		for _, g := range p.groups() {
			groups = append(groups, []string{g})
		}
	}
	for _, a := range p.allows {
		users = append(users, a.cond.user...)
	}
	for hour := range 7 * 24 {
		r.Time = from.UTC().Add(time.Duration(hour) * time.Hour)
		r.LastLogin, r.PasswordSet = r.Time, r.Time
		for _, r.Remote = range p.places() {
			for _, r.Listener = range append(slices.Clone(p.listeners), "another") {
				for _, way := range ways() {
					r.Protocol, r.Channel = session.Protocol(protocols()[way.protocol]), session.ChannelKind(way.channel)
					r.Method = session.Method(methods()[way.method])
					for _, r.Groups = range groups {
						for _, r.User = range users {
							if v, _ := p.run(r); v.Allowed {
								return true
							}
						}
					}
				}
			}
		}
		if !p.timed() {
			break
		}
	}
	return false
}

// places are an address of each network that the policy names, and one of no network.
func (p *Policy) places() []netip.Addr {
	out := []netip.Addr{netip.MustParseAddr("192.0.2.7")} // RFC 5737
	for _, c := range p.conditions() {
		for _, n := range c.from {
			out = append(out, n.Addr())
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// timed reports whether the hour or the day makes a difference.
func (p *Policy) timed() bool {
	return p.names(func(c *condition) bool { return c.sets[dimWeekday] != 0 || len(c.spans[scaleTime]) > 0 })
}
