package policies

import (
	"cmp"
	"fmt"
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

// maxTries is how many points of a box are made requests of until one is as the box says.
const maxTries = 64

// requests are such that lie in a box: times of its epochs that have the hour and the
// weekday of the box, if there are any, and else none.
func (s *space) requests(b box.Box) []session.Request {
	r := session.Request{Phase: session.PhaseNamed, Known: true, User: "somebody", Method: session.MethodPassword, Client: session.ClientUnknown}
	at := s.doors[first(b[s.door])]
	r.Protocol, r.Channel = session.Protocol(protocols()[at.protocol]), at.channel
	for d := range dimensions {
		if axis := s.dims[d]; axis >= 0 {
			s.assign(&r, d, b[axis])
		}
	}
	r.Local = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	r.Listener = pickName(s.listeners, b[s.listener], "another")
	r.User = pickName(s.users, b[s.user], "somebody")
	r.Remote = s.address(first(b[s.from]))
	r.Cohort = s.percents[first(b[s.cohort])]
	for g, axis := range s.groups {
		if b[axis] != nil && b[axis].Has(1) && !b[axis].Has(0) {
			r.Groups = append(r.Groups, g)
		}
	}
	slices.Sort(r.Groups)
	s.assignScales(&r, b)
	var out []session.Request
	for _, t := range s.times(b) {
		at := r
		at.Time = t
		for _, n := range []scale{scaleExposed, scaleAge} {
			if axis := s.scales[n]; axis >= 0 {
				if low := s.edges[n][first(b[axis])]; low >= 0 {
					set := t.Add(-time.Duration(low) * time.Second)
					if n == scaleExposed {
						at.Exposed = set
					} else {
						at.PasswordSet = set
					}
				}
			}
		}
		out = append(out, at)
	}
	return out
}

// address is one of a value: one of those for examples, if it has them (RFC 5737, RFC 3849).
func (s *space) address(value int) netip.Addr {
	for _, example := range []string{"192.0.2.7", "2001:db8::7"} {
		a := netip.MustParseAddr(example)
		if i, found := slices.BinarySearchFunc(s.addresses, a, netip.Addr.Compare); i-1 == value && !found {
			return a
		}
	}
	if a := s.addresses[value]; !a.IsUnspecified() {
		return a
	}
	return s.addresses[value].Next()
}

func first(set box.Set) int {
	if set == nil {
		return 0
	}
	return set.Values()[0]
}

// pickName is a name that is in a set, of the names and one more.
func pickName(names []string, set box.Set, other string) string {
	if set == nil || set.Has(len(names)) {
		return other
	}
	return names[first(set)]
}

// assign gives r a value of a dimension.
func (s *space) assign(r *session.Request, d dimension, set box.Set) {
	n := first(set)
	if n >= len(d.values()) {
		return
	}
	switch d {
	case dimMethod:
		r.Method = session.Method(methods()[n])
	case dimWeekday:
	case dimCipher:
		r.TLS.Cipher = cipherWords[n]
	case dimGroup:
		r.TLS.Group = groupWords[n]
	default:
		d.assign(r, n)
	}
}

// assignScales gives r the floors of the box.
func (s *space) assignScales(r *session.Request, b box.Box) {
	for l := range session.Levels {
		for base, days := range map[scale]*session.Days{scaleClientDays: &r.Floors.Client, scaleAccountDays: &r.Floors.Account, scaleQuietDays: &r.Floors.Quiet} {
			n := base + scale(l)
			if axis := s.scales[n]; axis >= 0 {
				days[l] = uint16(max(0, s.edges[n][first(b[axis])]))
			}
		}
	}
}

// times are some at which all that a box says of the time can hold.
func (s *space) times(b box.Box) []time.Time {
	var out []time.Time
	for i, begin := range s.epochs {
		if b[s.epoch] != nil && !b[s.epoch].Has(i) {
			continue
		}
		for hour := range 24 * 8 * 4 {
			t := begin.Add(time.Duration(hour) * 15 * time.Minute)
			if i+1 < len(s.epochs) && !t.Before(s.epochs[i+1]) {
				break
			}
			if s.holds(b, t) {
				if out = append(out, t); len(out) >= maxTries {
					return out
				}
			}
		}
	}
	return out
}

// holds reports whether a moment has the hour and the weekday of a box.
func (s *space) holds(b box.Box, t time.Time) bool {
	local := in(t, s.zone)
	if axis := s.dims[dimWeekday]; axis >= 0 && !b[axis].Has(int(local.Weekday())) {
		return false
	}
	axis := s.scales[scaleTime]
	if axis < 0 {
		return true
	}
	minute := int64(local.Hour()*60 + local.Minute())
	n, _ := slices.BinarySearchFunc(s.edges[scaleTime], minute, func(edge, m int64) int {
		if edge <= m {
			return -1
		}
		return 1
	})
	return b[axis].Has(n - 1)
}

// describe says what a box is limited to, in words.
func (s *space) describe(b box.Box, skip ...int) string {
	var out []string
	add := func(axis int, words func(values []int) string) {
		if axis >= 0 && b[axis] != nil && !slices.Contains(skip, axis) {
			out = append(out, words(b[axis].Values()))
		}
	}
	add(s.door, s.doorWords)
	for d := range dimensions {
		add(s.dims[d], func(values []int) string { return s.valueWords(d, values) })
	}
	add(s.listener, func(v []int) string { return "listener " + nameWords(s.listeners, v) })
	add(s.user, func(v []int) string { return "user " + nameWords(s.users, v) })
	out = append(out, s.groupWords(b, skip)...)
	add(s.from, s.addressWords)
	add(s.epoch, s.epochWords)
	for n := range scales {
		add(s.scales[n], func(v []int) string { return s.spanWords(n, v) })
	}
	add(s.cohort, func(v []int) string {
		return s.cohortWords(v)
	})
	if len(out) == 0 {
		return "everything"
	}
	return strings.Join(out, ", ")
}

func sortedKeys(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// doorWords says doors, in a word where they are all of a kind.
func (s *space) doorWords(values []int) string {
	var list, clear, hidden []string
	for i, d := range s.doors {
		in := slices.Contains(values, i)
		if in {
			list = append(list, d.String())
		}
		if (d.channel == session.Plain) == in {
			clear = append(clear, d.String())
		} else {
			hidden = append(hidden, d.String())
		}
	}
	switch {
	case len(clear) == len(s.doors):
		return "in clear"
	case len(hidden) == len(s.doors):
		return "encrypted"
	}
	return either(list)
}

// groupWords says in which groups somebody is, and in which not.
func (s *space) groupWords(b box.Box, skip []int) []string {
	var in, out, words []string
	for _, g := range sortedKeys(s.groups) {
		switch set := b[s.groups[g]]; {
		case set == nil || slices.Contains(skip, s.groups[g]):
		case set.Has(1):
			in = append(in, g)
		default:
			out = append(out, g)
		}
	}
	if len(in) > 0 {
		words = append(words, "in group "+strings.Join(in, " and "))
	}
	if len(out) > 0 {
		words = append(words, "not in "+strings.Join(out, " and not in "))
	}
	return words
}

// valueWords says values of a dimension, or those that it has not, if these are fewer.
func (s *space) valueWords(d dimension, values []int) string {
	var is, not set
	for v := range d.values() {
		if slices.Contains(values, v) {
			is |= 1 << v
		} else {
			not |= 1 << v
		}
	}
	switch {
	case is == 0:
		return "no " + d.word()
	case not != 0 && len(not.members(d)) < len(is.members(d)):
		return d.word() + " not " + d.words(not)
	default:
		return d.word() + " " + d.words(is)
	}
}

// runs divides ascending values where one is left out.
func runs(values []int) [][2]int {
	var out [][2]int
	for _, v := range values {
		if n := len(out); n > 0 && out[n-1][1] == v-1 {
			out[n-1][1] = v
		} else {
			out = append(out, [2]int{v, v})
		}
	}
	return out
}

// spanWords says values of a scale as spans of it.
func (s *space) spanWords(n scale, values []int) string {
	var list []string
	for _, run := range runs(values) {
		low, high := s.edges[n][run[0]], int64(forever)
		if run[1]+1 < len(s.edges[n]) {
			high = s.edges[n][run[1]+1]
		}
		switch {
		case n == scaleTime:
			list = append(list, clock(max(low, 0))+"-"+clock(min(high, 24*60)))
		case low <= 0 && high != forever && n >= scaleClientDays:
			list = append(list, fmt.Sprintf("less than %d days", high))
		case high == forever && n >= scaleClientDays:
			list = append(list, fmt.Sprintf("at least %d days", low))
		case n >= scaleClientDays:
			list = append(list, fmt.Sprintf("%d to %d days", low, high-1))
		case low < 0 && high <= 0:
			list = append(list, "no")
		case low <= 0 && high == forever:
			list = append(list, "yes")
		case high == forever:
			list = append(list, "for at least "+inDays(low))
		default:
			list = append(list, "for less than "+inDays(high))
		}
	}
	return n.title() + " " + strings.Join(list, " or ")
}

// title is what a number is of.
func (s scale) title() string {
	switch {
	case s < scaleClientDays:
		return s.word()
	case s < scaleAccountDays:
		return "this client " + session.Level(s-scaleClientDays).Past() + " on"
	case s < scaleQuietDays:
		return "the account " + session.Level(s-scaleAccountDays).Past() + " on"
	default:
		return "nothing less than " + session.Level(s-scaleQuietDays).String() + " used for"
	}
}

// cohortWords says which part of the accounts it is, by their cohorts.
func (s *space) cohortWords(values []int) string {
	var list []string
	for _, run := range runs(values) {
		high := uint8(cohorts)
		if run[1]+1 < len(s.percents) {
			high = s.percents[run[1]+1]
		}
		list = append(list, fmt.Sprintf("%d%% to %d%%", s.percents[run[0]], high))
	}
	return "the accounts of " + strings.Join(list, " and ")
}

// nameWords names values, of which the one beyond the names is any other.
func nameWords(names []string, values []int) string {
	if slices.Contains(values, len(names)) {
		var but []string
		for i, n := range names {
			if !slices.Contains(values, i) {
				but = append(but, n)
			}
		}
		return "any but " + either(but)
	}
	var list []string
	for _, v := range values {
		list = append(list, names[v])
	}
	return either(list)
}

// addressWords says ranges of addresses as networks, where they are some.
func (s *space) addressWords(values []int) string {
	var list []string
	for i := 0; i < len(values); {
		j := i
		for j+1 < len(values) && values[j+1] == values[j]+1 && s.addresses[values[j+1]].Is4() == s.addresses[values[i]].Is4() {
			j++
		}
		list = append(list, s.rangeWords(values[i], values[j]))
		i = j + 1
	}
	return "from " + either(list)
}

// rangeWords says the addresses from the beginning of one value to the end of another.
func (s *space) rangeWords(low, high int) string {
	from, to := s.addresses[low], netip.Addr{}
	if high+1 < len(s.addresses) {
		to = s.addresses[high+1].Prev()
	}
	switch {
	case from.Is4() && (!to.IsValid() || !to.Is4()):
		to = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	case !to.IsValid():
		to = lastAddr(netip.MustParsePrefix("::/0"))
	}
	for bits := range from.BitLen() + 1 {
		if p := netip.PrefixFrom(from, bits); p.Masked() == p && lastAddr(p) == to {
			return p.String()
		}
	}
	return from.String() + "-" + to.String()
}

// epochWords says when, by the days on which it begins and ends.
func (s *space) epochWords(values []int) string {
	var list []string
	for _, run := range runs(values) {
		text := "from " + dayWords(s.epochs[run[0]]) + " on"
		if run[0] == 0 {
			text = ""
		}
		if last := run[1] + 1; last < len(s.epochs) {
			text = strings.TrimSpace(strings.TrimSuffix(text, " on") + " until " + dayWords(s.epochs[last]))
		}
		list = append(list, text)
	}
	return strings.Join(list, ", and ")
}

// dayWords is a day, with the time if it is not its beginning.
func dayWords(t time.Time) string {
	t = t.UTC()
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339)
}
