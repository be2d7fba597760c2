package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

const (
	reasonNoDevice = "no device has this address"
	reasonOldTLS   = "TLS before version 1.2, which no device is let use for this login"
)

// exemptedFrom reports whether a device with a password in clear is exempted from q: if
// q is about the channel and nothing else. From any other, an exempt is needed.
func (d *device) exemptedFrom(q *statement) bool {
	c := q.cond
	return d.waiver(waiveClear) && c.sets[dimChannel] != 0 && !c.sets[dimChannel].has(int(session.Plain)) &&
		c.sets[dimProtocol] == 0 && c.sets[dimMethod] == 0 && c.onlyWay() && q.ways == nil
}

// device decides about a peer that proves nothing; matched are the conditions that
// the peer satisfies.
func (p *Policy) device(matched *bits, r *session.Request) session.Verdict {
	if v := p.connect(matched, r); !v.Allowed {
		return v
	}
	refused := session.Verdict{Rule: p.defaultRule, Reason: reasonNoDevice}
	for _, d := range p.devices {
		if !matched.has(d.place.id) {
			continue
		}
		v := session.Verdict{Rule: d.rule, Device: &d.held, Stage: d.stage(r.Time)}
		switch {
		case v.Stage == session.StageEnforce:
			v.Reason, v.Hint = d.ended, d.reply
		case !d.waiver(waiveAuth):
			continue // it has to log in
		case r.OldTLS && !d.waiver(waiveTLS):
			v.Reason = reasonOldTLS
		default:
			v.Allowed, v.Reason, v.WouldRefuse = true, d.reason, d.observed
			p.decidesActs(&v.Data, matched)
			return v
		}
		refused = v
	}
	return refused
}

// oldTLS reports whether a peer may use TLS before 1.2.
func (p *Policy) oldTLS(matched *bits, now time.Time) bool {
	return slices.ContainsFunc(p.devices, func(d *device) bool {
		return d.waiver(waiveTLS) && matched.has(d.place.id) && d.stage(now) != session.StageEnforce
	})
}

// oldLogin reports whether that may be done for the login that is judged.
func (p *Policy) oldLogin(matched *bits, now time.Time) bool {
	return slices.ContainsFunc(p.devices, func(d *device) bool {
		return d.waiver(waiveTLS) && d.login != nil && matched.has(d.login.cond.id) && d.stage(now) != session.StageEnforce
	})
}

// over is what a peer is told whose device has ended; else what it would be told
// anyway. It depends on where the peer is, and not on who is named.
func (p *Policy) over(matched *bits, now time.Time, otherwise string) string {
	for _, d := range p.devices {
		if matched.has(d.place.id) && d.stage(now) == session.StageEnforce {
			return d.reply
		}
	}
	return otherwise
}

// hold adds to the verdict on a login what its device is held to: for as long as
// the statement is there, whether or not it needs what is waived.
func (p *Policy) hold(v *session.Verdict, matched *bits, r *session.Request) {
	for _, d := range p.devices {
		if d.login == nil || !matched.has(d.login.cond.id) {
			continue
		}
		v.Device = &d.held
		if stage := d.stage(r.Time); stage != session.StageEnforce && (r.OldTLS || p.exempted(d, matched)) {
			v.Stage = stage
			if v.WouldRefuse == nil {
				v.WouldRefuse = d.observed
			} else {
				v.WouldRefuse = append(slices.Clip(v.WouldRefuse), d.rule)
			}
		}
		return
	}
}

// exempted reports whether a login fails a requirement from which its device is
// exempted.
func (p *Policy) exempted(d *device, matched *bits) bool {
	return slices.ContainsFunc(p.requires, func(q *statement) bool {
		return p.fails(q, matched) && slices.Contains(q.exempts, d.login)
	})
}

// DeviceInfo describes a device to whoever looks after it, or with a Requirement an
// exempt from that.
type DeviceInfo struct {
	Requirement string `json:"requirement,omitempty"`

	Name  string        `json:"name"`
	Rule  string        `json:"rule"`
	From  []string      `json:"from"`
	User  string        `json:"user,omitempty"`
	Allow []string      `json:"allow"`
	Stage session.Stage `json:"stage"`
	// Expires is the first moment at which it is not let in any more, LastDay how it
	// is written.
	Expires time.Time `json:"expires"`
	LastDay string    `json:"last_day"`
	Owner   string    `json:"owner"`
	Because string    `json:"because"`
}

// Devices lists the devices as they are at that time, in the order of their names.
func (p *Policy) Devices(now time.Time) []DeviceInfo {
	out := []DeviceInfo{}
	if p == nil {
		return out
	}
	for _, d := range p.devices {
		info := DeviceInfo{
			Name: d.name, Rule: d.rule, From: slices.Clone(d.place.fromText), Allow: slices.Clone(d.waives),
			Stage: d.stage(now), Expires: d.until, LastDay: d.untilText, Owner: d.owner, Because: d.because,
		}
		if d.login != nil {
			info.User = d.login.cond.user[0]
		}
		out = append(out, info)
	}
	return out
}

// finding judges a device by the plain reading of its conditions.
func (d *device) finding(r session.Request) Finding {
	unmet := d.place.unmet(r)
	switch byLogin := r.Method != session.MethodDevice; {
	case byLogin && d.login == nil:
		unmet = append(unmet, "it does not log in")
	case byLogin:
		unmet = d.login.cond.unmet(r)
	case !d.waiver(waiveAuth):
		unmet = append(unmet, "it has to log in")
	}
	if len(unmet) > 0 {
		return Finding{Result: resultNoMatch, Why: unmet}
	}
	result, why := resultMatches, d.bounds()
	if stage := d.stage(r.Time); stage == session.StageEnforce {
		result, why = resultExpired, []string{d.ended}
	} else {
		why = append(why, "stage "+string(stage), "until "+d.untilText)
	}
	return Finding{Result: result, Why: append(why, "owner "+d.owner, d.because)}
}

// bounds is what the device is let do and held to, in words.
func (d *device) bounds() []string {
	out := []string{"allows " + strings.Join(d.waives, ", ")}
	if d.held.Sender != "" {
		out = append(out, "from "+d.held.Sender+" only")
	}
	to := either(d.held.Mail.Domains)
	if d.held.Anywhere {
		to = "anybody"
	}
	out = append(out, "to "+to)
	if d.held.Mail.MessagesPerHour > 0 {
		out = append(out, fmt.Sprintf("at most %d messages an hour", d.held.Mail.MessagesPerHour))
	}
	if d.held.Mail.MessagesPerDay > 0 {
		out = append(out, fmt.Sprintf("at most %d messages a day", d.held.Mail.MessagesPerDay))
	}
	if d.held.Mail.Bytes > 0 {
		out = append(out, fmt.Sprintf("at most %d bytes each", d.held.Mail.Bytes))
	}
	return out
}

// wide is how many bits of its address at least say which device it is; fewer, and
// others are likely to be taken for it.
func wide(is4 bool) int {
	if is4 {
		return 24
	}
	return 64
}

// lintDevices warns of devices that end, cannot come in, or are not needed.
func (p *Policy) lintDevices(now time.Time, warn func(line int, format string, args ...any)) {
	for _, d := range p.devices {
		switch {
		case d.stage(now) == session.StageEnforce:
			warn(d.line, "device %q %s and is refused; remove it, or see whether it is still needed (owner: %s)", d.name, d.ended, d.owner)
		case !now.Add(soon).Before(d.until):
			warn(d.line, "device %q ends on %s (owner: %s)", d.name, d.untilText, d.owner)
		}
		for _, prefix := range d.place.from {
			if prefix.Bits() < wide(prefix.Addr().Is4()) {
				warn(d.line, "device %q may be anywhere in %s: whoever is there can send as %q; write its address", d.name, prefix, d.name)
			}
		}
		if p.relays != nil && len(p.relays) == 0 {
			warn(d.line, "device %q is never let in: gateway.hcl has no listener with protocol = \"relay\"", d.name)
		}
		if q := p.closed(d); q != nil {
			warn(d.line, "device %q is never let in: require %q refuses its address before the greeting", d.name, q.name)
		}
		if d.login == nil {
			continue
		}
		if !slices.ContainsFunc(p.allows, func(a *statement) bool { return d.mayEnterBy(a) }) {
			warn(d.line, "device %q is never let in: no allow lets %q log in over relay", d.name, d.login.cond.user[0])
		}
		if d.waiver(waiveClear) && !slices.ContainsFunc(p.requires, func(q *statement) bool { return slices.Contains(q.exempts, d.login) }) {
			warn(d.line, "device %q needs no %s: no require is about the channel alone", d.name, waiveClear)
		}
	}
}

// closed returns a requirement about the peer that the device does not meet
// wherever it is.
func (p *Policy) closed(d *device) *statement {
	for _, q := range p.requires {
		if !q.peerOnly() || q.when != nil || len(q.exempts) > 0 {
			continue
		}
		if !q.cond.admits(way{protocol: protocolNumber(session.Relay)}) || apart(q.cond.from, d.place.from) || disjoint(q.cond.listener, d.place.listener) {
			return q
		}
	}
	return nil
}

// mayEnterBy reports whether an allow can match the device's login.
func (d *device) mayEnterBy(a *statement) bool {
	channel := int(session.TLS)
	if d.waiver(waiveClear) {
		channel = int(session.Plain)
	}
	return a.cond.admits(way{protocolNumber(session.Relay), channel, methodNumber(session.MethodPassword)}) &&
		!disjoint(a.cond.user, d.login.cond.user) && !disjoint(a.cond.listener, d.place.listener) && !apart(a.cond.from, d.place.from)
}
