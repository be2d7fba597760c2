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
	reasonNoRule   = "no requirement is against it"
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
		return p.connect(&matched, &r)
	case session.PhaseNamed, session.PhaseVerified:
		if r.Method == session.MethodDevice {
			return p.device(&matched, &r)
		}
	case session.PhaseSession:
		return p.act(&matched, &r)
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
	t.apply(&matched, &r, session.PhaseNamed)
	if r.Phase == session.PhaseVerified {
		t.apply(&matched, &r, session.PhaseVerified)
	}
	if r.User == "" {
		return p.anybody(&matched, &r)
	}
	matched.and(t.user.get(r.Subject()))
	group := t.groupBits(r.Groups)
	matched.and(&group)
	verdict := p.judge(&matched, &r)
	verdict.Rate = p.rate(&matched, r.Time)
	if !verdict.Allowed {
		return verdict
	}
	verdict.Lacking = p.lacking(&matched, &r)
	if r.Phase != session.PhaseVerified {
		return verdict
	}
	if verdict.Lacking.More(r.Proven) {
		return p.unproven(&matched, &r)
	}
	p.shortOfProof(&verdict, &matched, &r)
	verdict.Data = p.data(&matched, r.Time)
	p.decidesActs(&verdict.Data, &matched)
	p.hold(&verdict, &matched, &r)
	return verdict
}

// connect judges what depends on the peer alone; matched are the conditions that
// the peer satisfies, whatever the rest will be.
func (p *Policy) connect(matched *bits, r *session.Request) session.Verdict {
	for _, q := range p.requires {
		if !q.early || !p.fails(q, matched) || exemption(q, matched, r.Time) != nil {
			continue
		}
		if s := q.standing(matched, r); s.refuses() {
			return session.Verdict{Rule: q.rule, Reason: q.reason, Hint: q.reply, Retry: s.until, Drop: q.drop}
		}
	}
	return session.Verdict{Allowed: true, SSH: p.ssh(matched, r.Time), OldTLS: p.oldTLS(matched, r.Time)}
}

// clear refuses a clear channel over which nobody can be let in although
// somebody could over TLS: the credential need not be asked for.
func (p *Policy) clear(peer *bits, r *session.Request) (session.Verdict, bool) {
	if r.Channel.Encrypted() {
		return session.Verdict{}, false
	}
	open, closed := *peer, *peer
	open.and(p.tables.dims[dimChannel].get(channelNumber(r.Channel)))
	closed.and(p.tables.dims[dimChannel].get(int(session.TLS)))
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
	var refused session.Verdict
	for i := range p.tables.kinds {
		m := *matched
		m.and(&p.tables.kinds[i])
		verdict := p.judge(&m, r)
		if verdict.Allowed {
			return verdict
		}
		// Somebody whom only a brownout keeps out is to be told so.
		if i == 0 || refused.Retry.IsZero() && !verdict.Retry.IsZero() {
			refused = verdict
		}
	}
	return refused
}

// judge is the rule itself: some allow matches, and every require that applies
// holds, is exempted, or is not yet in force. A channel that is required and missing
// goes before all, and what refuses for good before what refuses for a while.
func (p *Policy) judge(matched *bits, r *session.Request) session.Verdict {
	var passed session.Verdict // what is said of those let pass
	var failed, exempted *statement
	var until time.Time // of failed, if it is for a while
	insecure := false   // failed is about the channel
	for _, q := range p.requires {
		if q.late && r.Phase == session.PhaseNamed {
			continue
		}
		if !p.fails(q, matched) {
			q.rotate(&passed, matched, r)
			continue
		}
		if e := exemption(q, matched, r.Time); e != nil {
			if exempted == nil {
				exempted = e
			}
			continue
		}
		s := q.standing(matched, r)
		if !s.refuses() {
			s.note(&passed, q, r)
			continue
		}
		if q.drop {
			return session.Verdict{Rule: q.rule, Reason: q.reason, Drop: true}
		}
		about := q.insecure(r)
		if failed == nil || about && !insecure || about == insecure && !until.IsZero() && s.until.IsZero() {
			failed, insecure, until = q, about, s.until
		}
	}
	if insecure {
		return session.Verdict{
			Insecure: true, Rule: failed.rule, Reason: failed.reason, Retry: until, Hint: p.over(matched, r.Time, failed.reply),
		}
	}
	if r.OldTLS && !p.oldLogin(matched, r.Time) {
		return session.Verdict{Insecure: true, Rule: p.defaultRule, Reason: reasonOldTLS, Hint: p.over(matched, r.Time, "")}
	}
	if failed != nil {
		return session.Verdict{Rule: failed.rule, Reason: failed.reason, Retry: until, Hint: hintUntil(failed, until)}
	}
	if !matched.meets(&p.tables.allows) {
		return session.Verdict{Rule: p.defaultRule, Reason: reasonNoAllow}
	}
	passed.Allowed = true
	if exempted != nil {
		passed.Rule, passed.Reason = exempted.rule, exempted.reason
		return passed
	}
	for _, a := range p.allows {
		if matched.has(a.cond.id) {
			passed.Rule, passed.Reason = a.rule, a.reason
			return passed
		}
	}
	return session.Verdict{Rule: p.defaultRule, Reason: reasonNoAllow}
}

// hintUntil is what a peer is told of a refusal that is not about the channel: only
// if it is for a while, and then after the proof.
func hintUntil(q *statement, until time.Time) string {
	if until.IsZero() {
		return ""
	}
	return q.reply
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
