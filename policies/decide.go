package policies

import (
	"time"

	"gateway/session"
)

// Reasons that no single statement is the cause of.
const (
	reasonNoAllow  = "no allow matches"
	reasonUnknown  = "no such account"
	reasonPhase    = "phase not known"
	reasonNoClear  = "no allow lets anybody in over a clear channel"
	reasonNoPolicy = "no policy"
)

// Decide implements session.Policy. It is a pure function of r, allocates
// nothing, and refuses what it does not know.
func (p *Policy) Decide(r session.Request) session.Verdict {
	if p == nil {
		return session.Verdict{Reason: reasonNoPolicy}
	}
	t := &p.tables
	matched := t.peer(&r)
	switch r.Phase {
	case session.PhaseConnect:
		return p.connect(&matched, r.Time)
	case session.PhaseNamed, session.PhaseVerified:
		if r.Method == session.MethodDevice {
			return p.device(&matched, &r)
		}
	}
	switch r.Phase {
	case session.PhaseNamed:
	case session.PhaseVerified:
		if !r.Known || r.User == "" {
			return session.Verdict{Rule: p.defaultRule, Reason: reasonUnknown}
		}
	default:
		return session.Verdict{Rule: p.defaultRule, Reason: reasonPhase}
	}
	if verdict, refused := p.clear(&matched, &r); refused {
		return verdict
	}
	matched.and(t.channel.get(channelNumber(r.Channel)))
	if n := methodNumber(r.Method); n >= 0 {
		matched.and(t.method.get(n))
	} else {
		matched.and(&t.method.absent)
	}
	if r.User == "" {
		return p.anybody(&matched, &r)
	}
	matched.and(t.user.get(r.User))
	group := t.groupBits(r.Groups)
	matched.and(&group)
	verdict := p.judge(&matched, &r)
	if !verdict.Allowed {
		return verdict
	}
	verdict.Lacking = p.lacking(&matched, r.Time)
	if r.Phase != session.PhaseVerified {
		return verdict
	}
	if verdict.Lacking.More(r.Proven) {
		return p.unproven(&matched, &r)
	}
	verdict.Data = p.data(&matched, r.Time)
	p.hold(&verdict, &matched, &r)
	return verdict
}

// connect judges what depends on the peer alone; matched are the conditions that
// the peer satisfies, whatever the rest will be.
func (p *Policy) connect(matched *bits, now time.Time) session.Verdict {
	for _, q := range p.requires {
		if !q.peerOnly() || !p.fails(q, matched) || exemption(q, matched, now) != nil {
			continue
		}
		return session.Verdict{Rule: q.rule, Reason: q.reason, Hint: q.reply}
	}
	return session.Verdict{Allowed: true, SSH: p.ssh(matched, now), OldTLS: p.oldTLS(matched, now)}
}

// clear refuses a clear channel over which nobody can be let in although
// somebody could over TLS: the credential need not be asked for.
func (p *Policy) clear(peer *bits, r *session.Request) (session.Verdict, bool) {
	if r.Channel.Encrypted() {
		return session.Verdict{}, false
	}
	open, closed := *peer, *peer
	open.and(p.tables.channel.get(channelNumber(r.Channel)))
	closed.and(p.tables.channel.get(int(session.TLS)))
	if open.meets(&p.tables.allows) || !closed.meets(&p.tables.allows) {
		return session.Verdict{}, false
	}
	return session.Verdict{Insecure: true, Rule: p.defaultRule, Reason: reasonNoClear}, true
}

// anybody answers a request without a name: is there a user who would be let in?
func (p *Policy) anybody(matched *bits, r *session.Request) session.Verdict {
	if p.tables.anyKind {
		return p.judge(matched, r)
	}
	var first session.Verdict
	for i := range p.tables.kinds {
		m := *matched
		m.and(&p.tables.kinds[i])
		verdict := p.judge(&m, r)
		if verdict.Allowed {
			return verdict
		}
		if i == 0 {
			first = verdict
		}
	}
	return first
}

// judge is the rule itself: some allow matches, and every require that applies
// holds or is exempted. A channel that is required and missing goes before all.
func (p *Policy) judge(matched *bits, r *session.Request) session.Verdict {
	var failed, exempted *statement
	channel := channelNumber(r.Channel)
	for _, q := range p.requires {
		if !p.fails(q, matched) {
			continue
		}
		if e := exemption(q, matched, r.Time); e != nil {
			if exempted == nil {
				exempted = e
			}
			continue
		}
		if q.cond.channel != 0 && !q.cond.channel.has(channel) {
			return session.Verdict{Insecure: true, Rule: q.rule, Reason: q.reason, Hint: p.over(matched, r.Time, q.reply)}
		}
		if failed == nil {
			failed = q
		}
	}
	if r.OldTLS && !p.oldLogin(matched, r.Time) {
		return session.Verdict{Insecure: true, Rule: p.defaultRule, Reason: reasonOldTLS, Hint: p.over(matched, r.Time, "")}
	}
	if failed != nil {
		return session.Verdict{Rule: failed.rule, Reason: failed.reason}
	}
	if !matched.meets(&p.tables.allows) {
		return session.Verdict{Rule: p.defaultRule, Reason: reasonNoAllow}
	}
	if exempted != nil {
		return session.Verdict{Allowed: true, Rule: exempted.rule, Reason: exempted.reason}
	}
	for _, a := range p.allows {
		if matched.has(a.cond.id) {
			return session.Verdict{Allowed: true, Rule: a.rule, Reason: a.reason}
		}
	}
	return session.Verdict{Rule: p.defaultRule, Reason: reasonNoAllow}
}

// applies reports whether a requirement is one for this request.
func (s *statement) applies(matched *bits) bool { return s.when == nil || matched.has(s.when.id) }

// fails reports whether a requirement applies and does not hold. One that is about
// data connections or SSH algorithms only holds always: it refuses no login.
func (p *Policy) fails(q *statement, matched *bits) bool {
	return !matched.has(q.cond.id) && q.applies(matched)
}

// exemption returns one that waives q at that time, or nil.
func exemption(q *statement, matched *bits, now time.Time) *statement {
	for _, e := range q.exempts {
		if matched.has(e.cond.id) && !e.expired(now) {
			return e
		}
	}
	return nil
}
