package policies

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2"
)

// The kinds of statement.
const (
	kindSettings = "settings"
	kindNetwork  = "network"
	kindProfile  = "profile"
	kindAllow    = "allow"
	kindRequire  = "require"
	kindExempt   = "exempt"
	kindExpect   = "expect"
)

// attrAbsolute marks a require that no exempt can waive.
const attrAbsolute = "absolute"

// A statement is an allow, a require or an exempt as it stands in the file.
type statement struct {
	kind string
	name string // of the requirement, for an exempt
	own  string // an exempt's own name
	line int
	at   hcl.Range // its first line, for faults

	cond  condition  // an allow's or exempt's condition; what a require wants
	when  *condition // to whom a require applies; nil means everybody
	reply string     // of a require

	// data is what an allow grants and a require demands for the connections after
	// the login.
	data session.DataRules
	// ssh is what a require demands and an exempt grants for the key exchange of SSH.
	ssh session.SSHRules

	// ways are the sets of proofs of which a require wants one, lacking the same as
	// it is decided by.
	ways    []session.Factors
	lacking session.Lacking

	// of an exempt
	until          time.Time // the first moment at which it no longer holds
	untilText      string
	owner, because string
	requirement    *statement

	// of a require
	exempts  []*statement
	rollouts []*rollout
	profile  string        // of TLS, that a require demands
	absolute bool          // no exempt can waive it
	drop     bool          // who does not meet it is hung up on
	grace    time.Duration // for how long it lets in an exposed password
	rate     session.Rate  // how often whom it is for may try to log in
	notice   string        // for clients that it will refuse; empty for the usual words
	// part is which one it is of the statements that one require was made into.
	part int

	// of a require that is about what sessions do
	about          uint8 // what acts it is about
	wantsRecipient bool

	early    bool     // it can be judged when only the peer is known
	late     bool     // it can be judged after the proof only
	observed []string // for Verdict.WouldRefuse, of a require
	rule     string   // for Verdict.Rule
	reason   string   // for Verdict.Reason when it decides
	unproven string   // the same when what was proven is not enough
}

// expired reports whether an exemption no longer holds at t. Of a time that is
// not known, nothing is held.
func (s *statement) expired(t time.Time) bool { return t.IsZero() || !t.Before(s.until) }

// peerOnly reports whether a requirement can be judged when only the peer is known.
func (s *statement) peerOnly() bool {
	return s.cond.peerOnly() && s.when.peerOnly() && !slices.ContainsFunc(s.rollouts, func(w *rollout) bool { return !w.peerOnly() })
}

// noticeText is what a client is told that a requirement will refuse.
func (s *statement) noticeText() string {
	switch {
	case s.notice != "":
		return s.notice
	case s.cond.sets[dimChannel] != 0:
		return "From {date} on, logins without encryption are refused here. {instead}"
	default:
		return strings.TrimSpace("From {date} on, a login like this one is refused here. " + s.reply)
	}
}

// phase is from when on a requirement can be judged.
func (s *statement) phase() session.Phase {
	if at := s.when.phase(); later(at, s.cond.phase()) {
		return at
	}
	return s.cond.phase()
}

// aboutChannel reports whether a requirement asks for something of the channel.
func (s *statement) aboutChannel() bool {
	for d, set := range s.cond.sets {
		if set != 0 && dimension(d).aboutChannel() {
			return true
		}
	}
	return false
}

// insecure reports whether a requirement that does not hold fails by the channel.
func (s *statement) insecure(r *session.Request) bool {
	for d := dimChannel; d <= dimGroup; d++ {
		if d.aboutChannel() && s.cond.sets[d] != 0 && !s.cond.sets[d].has(d.number(r, nil)) {
			return true
		}
	}
	return false
}

// setTexts fills rule and reason, so that deciding needs to build no text. file
// is the base name of the policy file.
func (s *statement) setTexts(file string) {
	s.rule = fmt.Sprintf("%s %q (%s:%d)", s.kind, s.name, file, s.line)
	s.grace = s.cond.graceOf()
	s.observed, s.early, s.late = []string{s.rule}, s.peerOnly(), s.phase() == session.PhaseVerified
	switch s.kind {
	case kindAllow:
		s.reason = "allowed"
	case kindRequire:
		s.reason = "required and not met: " + s.cond.String()
		s.unproven = "required and not proven: " + s.waysText()
		if s.when != nil && s.when.spanned() {
			s.reason += ", as its floor is: " + s.when.String()
			s.unproven += ", as its floor is: " + s.when.String()
		}
	case kindExempt:
		s.rule = fmt.Sprintf("%s %q %q (%s:%d)", s.kind, s.name, s.own, file, s.line)
		s.reason = fmt.Sprintf("exempted from require %q until %s by %s", s.name, s.untilText, s.owner)
	}
}

// A condition is what allow, require, when, exempt and rollout say of a request: a
// box in the space of its facts. An attribute that is not given does not restrict.
type condition struct {
	id   int            // its bit in the tables
	zone *time.Location // of weekday and time

	sets                  [dimensions]set
	spans                 [scales][]span
	listener, user, group []string
	from                  []netip.Prefix
	fromText              []string // as written
	act                   actCondition
	inside                bool // our own address must be one that cannot be reached from outside
}

func (c *condition) empty() bool {
	return c.sets == [dimensions]set{} && !c.spanned() && c.listener == nil && c.user == nil && c.group == nil && c.from == nil && c.act.empty()
}

// spanned reports whether the condition looks at a number.
func (c *condition) spanned() bool {
	return slices.ContainsFunc(c.spans[:], func(s []span) bool { return len(s) > 0 })
}

// phase is from when on all is known that the condition looks at; nil looks at
// nothing.
func (c *condition) phase() session.Phase {
	at := session.PhaseConnect
	if c == nil {
		return at
	}
	if !c.act.empty() {
		return session.PhaseSession
	}
	if c.user != nil || c.group != nil {
		at = session.PhaseNamed
	}
	for d, s := range c.sets {
		if s != 0 && later(dimension(d).phase(), at) {
			at = dimension(d).phase()
		}
	}
	for n, spans := range c.spans {
		if len(spans) > 0 && later(scale(n).phase(), at) {
			at = scale(n).phase()
		}
	}
	return at
}

// peerOnly reports whether the condition looks at nothing but the peer.
func (c *condition) peerOnly() bool { return c.phase() == session.PhaseConnect }

// aboutUser reports whether the condition tells users apart.
func (c *condition) aboutUser() bool {
	return c.user != nil || c.group != nil || c.aboutAccount()
}

// aboutAccount reports whether the condition looks at what is known of an account
// besides its name and groups.
func (c *condition) aboutAccount() bool {
	for d, s := range c.sets {
		if s != 0 && dimension(d).aboutUser() {
			return true
		}
	}
	for n, spans := range c.spans {
		if len(spans) > 0 && scale(n).aboutUser() {
			return true
		}
	}
	return false
}

// aboutPlace reports whether the condition is narrowed to where the peer is.
func (c *condition) aboutPlace() bool { return c.from != nil || c.listener != nil }

// unmet says which attributes of the condition r does not match, in words. It is
// the plain reading of the language, used to explain decisions; the tables
// decide. A fact that is not known is not matched, save one that is not known in that
// phase.
func (c *condition) unmet(r session.Request) []string {
	var out []string
	known := func(at session.Phase) bool { return r.Phase == "" || !later(at, r.Phase) }
	value := func(d dimension) {
		if s := c.sets[d]; s != 0 && known(d.phase()) && !s.has(d.number(&r, c.zone)) {
			out = append(out, fmt.Sprintf("%s is %s, not %s", d.word(), d.got(&r, c.zone), d.words(s)))
		}
	}
	text := func(name string, list []string, got string) {
		if list != nil && (got == "" || !slices.Contains(list, got)) {
			out = append(out, fmt.Sprintf("%s is %s, not %s", name, orUnknown(got), either(list)))
		}
	}
	value(dimProtocol)
	value(dimChannel)
	text("listener", c.listener, r.Listener)
	text("user", c.user, r.Subject())
	if c.group != nil && !slices.ContainsFunc(r.Groups, func(g string) bool { return slices.Contains(c.group, g) }) {
		has := "in no group"
		if len(r.Groups) > 0 {
			has = "in " + strings.Join(r.Groups, ", ")
		}
		out = append(out, fmt.Sprintf("user is %s, not in %s", has, either(c.group)))
	}
	if c.from != nil && !slices.ContainsFunc(c.from, func(p netip.Prefix) bool { return p.Contains(r.Remote.Unmap().WithZone("")) }) {
		got := ""
		if r.Remote.IsValid() {
			got = r.Remote.Unmap().String()
		}
		out = append(out, fmt.Sprintf("address %s is not in %s", orUnknown(got), either(c.fromText)))
	}
	for d := dimMethod; d < dimensions; d++ {
		value(d)
	}
	for n, spans := range c.spans {
		if len(spans) == 0 || !known(scale(n).phase()) {
			continue
		}
		switch got, known := scale(n).number(&r, c.zone); {
		case !known:
			out = append(out, scale(n).word()+" is not known")
		case !within(spans, got):
			out = append(out, fmt.Sprintf("%s; asked is %s", scale(n).describe(got), scale(n).words(spans)))
		}
	}
	out = append(out, c.act.unmet(&r)...)
	if c.inside && !insideAddress(r.Local) {
		out = append(out, "our own address is not a private one")
	}
	return out
}

// String says what the condition asks for, in words.
func (c *condition) String() string {
	var out []string
	add := func(name, value string) {
		if value != "" {
			out = append(out, name+" "+value)
		}
	}
	add("protocol", dimProtocol.words(c.sets[dimProtocol]))
	add("channel", dimChannel.words(c.sets[dimChannel]))
	add("listener", either(c.listener))
	add("user", either(c.user))
	add("group", either(c.group))
	add("from", either(c.fromText))
	for d := dimMethod; d < dimensions; d++ {
		add(d.word(), d.words(c.sets[d]))
	}
	for n, spans := range c.spans {
		if len(spans) > 0 {
			out = append(out, scale(n).words(spans))
		}
	}
	add(attrPath, either(c.act.paths))
	add(attrSender, either(c.act.senders))
	add(attrRecipient, either(c.act.recipients))
	add(attrRequest, either(c.act.requests))
	return strings.Join(out, ", ")
}

// maxListed is how many values of a list an explanation spells out.
const maxListed = 8

func either(list []string) string {
	if len(list) > maxListed {
		return fmt.Sprintf("%s or one of %d more", strings.Join(list[:maxListed], ", "), len(list)-maxListed)
	}
	return strings.Join(list, " or ")
}

func orUnknown(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}
