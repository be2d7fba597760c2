package policies

import (
	"net/mail"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

// An Exemption is an exempt or a device: something that the rules let pass until a
// day, and that somebody answers for.
type Exemption struct {
	Kind string `json:"kind"` // exempt or device
	// Requirement is what an exempt waives; empty for a device.
	Requirement string `json:"requirement,omitempty"`
	Name        string `json:"name"`
	Rule        string `json:"rule"`
	// Scope is for whom and where it is, in words.
	Scope string `json:"scope"`
	// Expires is the first moment at which it no longer holds, LastDay how it is
	// written.
	Expires time.Time `json:"expires"`
	LastDay string    `json:"last_day"`
	Owner   string    `json:"owner"`
	Because string    `json:"because"`
}

// Exemptions lists the exempts and devices, in the order of the names of what they
// waive and of their own.
func (p *Policy) Exemptions() []Exemption {
	out := []Exemption{}
	if p == nil {
		return out
	}
	for _, e := range p.exempts {
		out = append(out, Exemption{
			Kind: kindExempt, Requirement: e.name, Name: e.own, Rule: e.rule, Scope: e.cond.String(),
			Expires: e.until, LastDay: e.untilText, Owner: e.owner, Because: e.because,
		})
	}
	for _, d := range p.devices {
		where := d.place
		where.sets = [dimensions]set{} // devices are on relay only
		if d.login != nil {
			where.user = d.login.cond.user
		}
		out = append(out, Exemption{
			Kind: kindDevice, Name: d.name, Rule: d.rule, Scope: where.String(),
			Expires: d.until, LastDay: d.untilText, Owner: d.owner, Because: d.because,
		})
	}
	return out
}

// Waived lists the rules of the exempts and devices that r needs in order to pass. Of
// what requirements demand of connections it cannot be told, so that there whatever
// matches counts.
func (p *Policy) Waived(r session.Request) []string {
	if p == nil {
		return nil
	}
	if r.Method == session.MethodDevice {
		return p.waivedDevice(r)
	}
	var out []string
	for _, q := range p.requires {
		if len(q.outside(r)) > 0 || len(q.cond.unmet(r)) == 0 && len(q.short(r)) == 0 && !q.settles() {
			continue
		}
		if !q.plainStanding(&r).refuses() {
			continue
		}
		for _, e := range q.exempts {
			if len(e.cond.unmet(r)) == 0 && !e.expired(r.Time) && !slices.Contains(out, e.rule) {
				out = append(out, e.rule)
			}
		}
	}
	for _, d := range p.devices {
		if r.OldTLS && d.waiver(waiveTLS) && d.login != nil && len(d.login.cond.unmet(r)) == 0 &&
			d.stage(r.Time) != session.StageEnforce && !slices.Contains(out, d.rule) {
			out = append(out, d.rule)
		}
	}
	return out
}

// waivedDevice is Waived for a peer that proves nothing.
func (p *Policy) waivedDevice(r session.Request) []string {
	for _, d := range p.devices {
		if d.waiver(waiveAuth) && len(d.place.unmet(r)) == 0 && d.stage(r.Time) != session.StageEnforce {
			return []string{d.rule}
		}
	}
	return nil
}

// Endings lists whose owner is to be told of the end: the devices, and the exempts
// whose owner is a mail address, as they are at that time.
func (p *Policy) Endings(now time.Time) []DeviceInfo {
	if p == nil {
		return nil
	}
	out := p.Devices(now)
	for _, e := range p.exempts {
		if a, err := mail.ParseAddress(e.owner); err != nil || a.Address != e.owner {
			continue
		}
		stage := session.StageObserve
		switch {
		case e.expired(now):
			stage = session.StageEnforce
		case e.expired(now.Add(warnAhead)):
			stage = session.StageWarn
		}
		out = append(out, DeviceInfo{
			Requirement: e.name, Name: e.own, Rule: e.rule, From: slices.Clone(e.cond.fromText), User: strings.Join(e.cond.user, ", "),
			Stage: stage, Expires: e.until, LastDay: e.untilText, Owner: e.owner, Because: e.because,
		})
	}
	return out
}
