package policies

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gateway/policies/box"
	"gateway/session"
)

// A space is the facts on which one or two policies depend, each cut into as few values
// as they tell apart: what they decide is the same for all requests of one point. It is
// what asserts are proven in and policies compared.
type space struct {
	box.Space
	dims   [dimensions]int // the axis of each, -1 for one that nothing looks at, and for those of doors
	scales [scales]int

	door  int // protocol and channel together
	doors []door

	listener, user, from, epoch, cohort int
	groups                              map[string]int

	listeners, users []string     // and as the last value any other
	addresses        []netip.Addr // where each value begins; the first is 0.0.0.0
	edges            [scales][]int64
	epochs           []time.Time // where each begins, after the time that is looked from
	percents         []uint8     // where each value of the cohort begins
	zone             *time.Location
}

// A door is a protocol over a kind of channel.
type door struct {
	protocol int
	channel  session.ChannelKind
}

func (d door) String() string {
	protocol := protocols()[d.protocol]
	switch {
	case d.channel == session.Plain:
		return protocol + " in clear"
	case d.channel == session.TLS:
		return protocol + " over TLS"
	default:
		return protocol
	}
}

// maybeUnknown reports whether there are requests that have no such fact: what is of TLS
// only, or of a key.
func (d dimension) maybeUnknown() bool {
	return d == dimVersion || d == dimCipher || d == dimGroup || d == dimResumed || d == dimCertificate || d == dimKey
}

// unknownValue is the number of the value that stands for a fact that there is not.
func (d dimension) unknownValue() int { return len(d.values()) }

// newSpace is that of some policies, from a time on. Times and networks that something
// else asks about are told apart too.
func newSpace(from time.Time, times []time.Time, networks []netip.Prefix, policies ...*Policy) *space {
	s := &space{groups: make(map[string]int), zone: time.UTC, epochs: []time.Time{from}, percents: []uint8{0}}
	var conds []*condition
	for _, p := range policies {
		conds = append(conds, p.conditions()...)
		s.zone = p.tables.zone
		s.listeners = append(s.listeners, p.listeners...)
		times = append(times, p.Changes(from)...)
		for _, q := range p.requires {
			for _, w := range q.rollouts {
				for _, step := range w.dates() {
					s.percents = append(s.percents, step.percent)
				}
			}
		}
	}
	for _, t := range times {
		if t.After(from) {
			s.epochs = append(s.epochs, t)
		}
	}
	s.percents = slices.DeleteFunc(s.percents, func(n uint8) bool { return n >= cohorts })
	for _, c := range conds {
		s.listeners, s.users = append(s.listeners, c.listener...), append(s.users, c.user...)
		networks = append(networks, c.from...)
	}
	s.addresses = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	for _, n := range networks {
		s.addresses = append(s.addresses, n.Addr())
		if next := lastAddr(n).Next(); next.IsValid() {
			s.addresses = append(s.addresses, next)
		}
	}
	distinct(&s.listeners, strings.Compare)
	distinct(&s.users, strings.Compare)
	distinct(&s.addresses, netip.Addr.Compare)
	distinct(&s.epochs, time.Time.Compare)
	distinct(&s.percents, cmp.Compare[uint8])
	s.layOut(conds)
	return s
}

func distinct[T comparable](list *[]T, compare func(a, b T) int) {
	slices.SortFunc(*list, compare)
	*list = slices.Compact(*list)
}

// conditions lists all that a policy decides by.
func (p *Policy) conditions() []*condition {
	var out []*condition
	for _, a := range p.allows {
		out = append(out, &a.cond)
	}
	for _, q := range p.requires {
		out = append(out, &q.cond)
		if q.when != nil {
			out = append(out, q.when)
		}
		for _, w := range q.rollouts {
			out = append(out, &w.cond)
		}
		for _, e := range q.exempts {
			out = append(out, &e.cond)
		}
	}
	return out
}

// layOut gives each fact its axis.
func (s *space) layOut(conds []*condition) {
	add := func(size int) int {
		s.Sizes = append(s.Sizes, size)
		return len(s.Sizes) - 1
	}
	for p, protocol := range protocols() {
		for c := range channels() {
			if kind := session.ChannelKind(c); exists(session.Protocol(protocol), kind, session.MethodPassword) {
				s.doors = append(s.doors, door{p, kind})
			}
		}
	}
	s.door = add(len(s.doors))
	for d := range dimensions {
		s.dims[d] = -1
		if d > dimChannel && slices.ContainsFunc(conds, func(c *condition) bool { return c.sets[d] != 0 }) {
			size := len(d.values())
			if d.maybeUnknown() {
				size++
			}
			s.dims[d] = add(size)
		}
	}
	for n := range scales {
		s.scales[n] = -1
		edges := []int64{math.MinInt64}
		for _, c := range conds {
			for _, p := range c.spans[n] {
				edges = append(edges, p.low)
				if p.high != forever {
					edges = append(edges, p.high)
				}
			}
		}
		if distinct(&edges, cmp.Compare[int64]); len(edges) > 1 {
			s.scales[n], s.edges[n] = add(len(edges)), edges
		}
	}
	s.listener, s.user = add(len(s.listeners)+1), add(len(s.users)+1)
	s.from, s.epoch, s.cohort = add(len(s.addresses)), add(len(s.epochs)), add(len(s.percents))
	var groups []string
	for _, c := range conds {
		groups = append(groups, c.group...)
	}
	distinct(&groups, strings.Compare)
	for _, g := range groups {
		s.groups[g] = add(2)
	}
}

// through is the points at the doors that are chosen.
func (s *space) through(chosen func(door) bool) box.Region {
	var out []int
	for i, d := range s.doors {
		if chosen(d) {
			out = append(out, i)
		}
	}
	return s.Where(s.door, out...)
}

// overPlain is the points of clear channels.
func (s *space) overPlain() box.Region {
	return s.through(func(d door) bool { return d.channel == session.Plain })
}

// real is the points that can be: each door has its methods, and only TLS has facts of TLS.
func (s *space) real() box.Region {
	var out box.Region
	for i, d := range s.doors {
		var with []int
		for m, method := range methods() {
			if exists(session.Protocol(protocols()[d.protocol]), d.channel, session.Method(method)) {
				with = append(with, m)
			}
		}
		out = append(out, s.must(s.must(s.Where(s.door, i), s.facts(d.channel)), s.onAxis(s.dims[dimMethod], with))...)
	}
	return s.Merge(out)
}

// facts are those that a channel of that kind has.
func (s *space) facts(kind session.ChannelKind) box.Region {
	out := box.Region{s.All()}
	for d := range dimensions {
		switch axis := s.dims[d]; {
		case axis < 0 || !d.maybeUnknown() || d == dimKey:
		case kind == session.TLS:
			out = s.must(out, s.WhereNot(axis, d.unknownValue()))
		default:
			out = s.must(out, s.Where(axis, d.unknownValue()))
		}
	}
	return out
}

// must is the meeting of boxes that are few.
func (s *space) must(a, b box.Region) box.Region {
	out, err := s.Intersect(a, b)
	if err != nil {
		return a // never: one box each
	}
	return out
}

// onAxis is Where, and everything on an axis that there is not.
func (s *space) onAxis(axis int, values []int) box.Region {
	if axis < 0 {
		return box.Region{s.All()}
	}
	return s.Where(axis, values...)
}

// matching is the points that satisfy a condition, of what is known up to a phase; as the
// when of a require also those of which it is not known. Nil is everything.
func (s *space) matching(c *condition, when bool, phase session.Phase) (box.Region, error) {
	if c == nil {
		return box.Region{s.All()}, nil
	}
	out := s.through(func(d door) bool {
		return c.sets[dimProtocol].admits(d.protocol) && c.sets[dimChannel].admits(int(d.channel))
	})
	for d := dimChannel + 1; d < dimensions; d++ {
		if c.sets[d] == 0 || later(d.phase(), phase) {
			continue
		}
		values := c.sets[d].members(d)
		if when && d.maybeUnknown() {
			values = append(values, d.unknownValue())
		}
		out = s.must(out, s.Where(s.dims[d], values...))
	}
	for n := range scales {
		if len(c.spans[n]) > 0 {
			out = s.must(out, s.Where(s.scales[n], s.spansOf(n, c.spans[n])...))
		}
	}
	if c.listener != nil {
		out = s.must(out, s.Where(s.listener, indices(s.listeners, c.listener)...))
	}
	if c.user != nil {
		out = s.must(out, s.Where(s.user, indices(s.users, c.user)...))
	}
	if c.from != nil {
		out = s.must(out, s.within(c.from))
	}
	if c.group == nil {
		return out, nil
	}
	var in box.Region
	for _, g := range c.group {
		in = append(in, s.Where(s.groups[g], 1)...)
	}
	return s.Intersect(out, in)
}

func indices(all, some []string) []int {
	var out []int
	for _, x := range some {
		if i, found := slices.BinarySearch(all, x); found {
			out = append(out, i)
		}
	}
	return out
}

// spansOf are the values that lie within some spans.
func (s *space) spansOf(n scale, spans []span) []int {
	var out []int
	for i, low := range s.edges[n] {
		if within(spans, low) {
			out = append(out, i)
		}
	}
	return out
}

// within is the points whose address is in one of the networks.
func (s *space) within(networks []netip.Prefix) box.Region {
	var out []int
	for i, a := range s.addresses {
		if slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) }) {
			out = append(out, i)
		}
	}
	return s.Where(s.from, out...)
}

// before is the points whose time is before t.
func (s *space) before(t time.Time) box.Region {
	var out []int
	for i, begin := range s.epochs {
		if begin.Before(t) {
			out = append(out, i)
		}
	}
	return s.Where(s.epoch, out...)
}

// members are the numbers in a set of a dimension.
func (s set) members(d dimension) []int {
	var out []int
	for v := range d.values() {
		if s.has(v) {
			out = append(out, v)
		}
	}
	return out
}

// userAxes are those on which who somebody claims to be makes a difference.
func (s *space) userAxes() []int {
	out := []int{s.user, s.cohort}
	for d := range dimensions {
		if d.aboutUser() && s.dims[d] >= 0 {
			out = append(out, s.dims[d])
		}
	}
	for n := range scales {
		if n.aboutUser() && s.scales[n] >= 0 {
			out = append(out, s.scales[n])
		}
	}
	for _, axis := range s.groups {
		out = append(out, axis)
	}
	return out
}

// beyondPeer are all axes but those of what is known of a peer before it says anything. The
// door is not among them: its channel is for the caller to forget.
func (s *space) beyondPeer() []int {
	out := s.userAxes()
	for d := range dimensions {
		if s.dims[d] >= 0 && d != dimWeekday {
			out = append(out, s.dims[d])
		}
	}
	return out
}
