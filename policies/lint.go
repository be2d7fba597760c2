package policies

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"gateway/session"
)

// soon is how long before its end an exemption is warned about.
const soon = 14 * 24 * time.Hour

// A Warning is a statement that is allowed and probably not meant.
type Warning struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

func (w Warning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text) }

func (p *Policy) lint(now time.Time) []Warning {
	var out []Warning
	at := func(line int, format string, args ...any) {
		out = append(out, Warning{p.filename, line, fmt.Sprintf(format, args...)})
	}
	warn := func(s *statement, format string, args ...any) { at(s.line, format, args...) }
	for _, q := range p.requires {
		if q.aboutChannel() && q.when != nil && (q.when.user != nil || q.when.group != nil) && !q.when.aboutPlace() && q.part == 0 {
			warn(q, "require %q is for some users only and about the channel: whether a password is asked for in clear "+
				"depends on who is named, on all networks; names that do not exist are answered as some account would be; "+
				"add from or listener to its when, or drop user and group", q.name)
		}
	}
	for _, e := range p.exempts {
		switch {
		case e.expired(now):
			warn(e, "exempt %q %q ended on %s and does nothing (owner: %s)", e.name, e.own, e.untilText, e.owner)
		case e.expired(now.Add(soon)):
			warn(e, "exempt %q %q ends on %s (owner: %s)", e.name, e.own, e.untilText, e.owner)
		}
		if !e.needed() {
			warn(e, "exempt %q %q is never needed: wherever it matches, the requirement holds or does not apply", e.name, e.own)
		}
	}
	p.lintRollouts(now, at)
	p.lintFacts(now, at)
	p.lintData(warn)
	p.lintSSH(warn)
	p.lintFactors(warn)
	p.lintActs(warn)
	p.lintDevices(now, at)
	for _, a := range p.allows {
		if !p.possible(a) {
			warn(a, "allow %q can never let anybody in: its conditions exclude each other or a requirement", a.name)
		}
	}
	slices.SortStableFunc(out, func(a, b Warning) int { return a.Line - b.Line })
	return out
}

// A way is a combination of protocol, channel and method that exists.
type way struct{ protocol, channel, method int }

func ways() []way {
	var out []way
	for p := range protocols() {
		for c := range channels() {
			for m := range methods() {
				if !exists(session.Protocol(protocols()[p]), session.ChannelKind(c), session.Method(methods()[m])) {
					continue
				}
				out = append(out, way{p, c, m})
			}
		}
	}
	return out
}

// exists reports whether the protocol comes over that channel, and whether one can
// log in by that method then.
func exists(p session.Protocol, c session.ChannelKind, m session.Method) bool {
	if (p == session.SFTP) != (c == session.SSH) {
		return false
	}
	switch m {
	case session.MethodPublicKey:
		return c.Encrypted() // over TLS, that of a client certificate
	case session.MethodKeyboardInteractive:
		return p == session.SFTP
	case session.MethodSCRAM:
		return p == session.Submission || p == session.Relay
	case session.MethodDevice:
		return p == session.Relay
	default:
		return true
	}
}

// admits reports whether the condition can match over the way; nil matches all.
func (c *condition) admits(w way) bool {
	return c == nil || c.sets[dimProtocol].admits(w.protocol) && c.sets[dimChannel].admits(w.channel) && c.sets[dimMethod].admits(w.method)
}

// onlyWay reports whether the condition looks at the way alone.
func (c *condition) onlyWay() bool {
	for d, s := range c.sets {
		if s != 0 && dimension(d) > dimMethod {
			return false
		}
	}
	return !c.aboutUser() && !c.aboutPlace() && !c.spanned() && c.act.empty()
}

// possible reports whether an allow can let somebody in, as far as that can be
// told from the ways: a requirement for everybody that nobody is exempted from
// may exclude it.
func (p *Policy) possible(a *statement) bool {
	return slices.ContainsFunc(ways(), func(w way) bool {
		if !a.cond.admits(w) {
			return false
		}
		return !slices.ContainsFunc(p.requires, func(q *statement) bool {
			applies := q.when == nil || q.when.onlyWay() && q.when.admits(w)
			return applies && len(q.exempts) == 0 && !q.cond.admits(w)
		})
	})
}

// needed reports whether an exemption can match where its requirement applies
// and fails, or demands something of the session.
func (s *statement) needed() bool {
	q := s.requirement
	if q.when != nil && (disjoint(s.cond.listener, q.when.listener) || disjoint(s.cond.user, q.when.user) ||
		apart(s.cond.from, q.when.from)) {
		return false
	}
	if ofFTP(q.data) != (session.DataRules{}) && s.cond.overFTPS() && q.when.overFTPS() || q.ways != nil {
		return true
	}
	if len(q.data.Journals()) > 0 && s.cond.takesMail() && q.when.takesMail() {
		return true
	}
	if q.data.Held != (session.Held{}) || q.rate != (session.Rate{}) || q.phase() == session.PhaseSession {
		return true
	}
	if q.aboutSSH() && s.cond.overSSH() && q.when.overSSH() {
		return true
	}
	return slices.ContainsFunc(ways(), func(w way) bool {
		return s.cond.admits(w) && q.when.admits(w) && (!q.cond.admits(w) || !q.cond.onlyWay())
	})
}

// disjoint reports whether both lists restrict and have nothing in common.
func disjoint(a, b []string) bool {
	return a != nil && b != nil && !slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// maxCompare bounds the pairs of networks that a warning is worth.
const maxCompare = 1 << 20

// apart reports whether both restrict and no address is in both.
func apart(a, b []netip.Prefix) bool {
	if a == nil || b == nil || len(a)*len(b) > maxCompare {
		return false
	}
	return !slices.ContainsFunc(a, func(p netip.Prefix) bool {
		return slices.ContainsFunc(b, p.Overlaps)
	})
}
