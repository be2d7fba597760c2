package policies

import (
	"net/netip"
	"slices"
	"time"

	"gateway/session"
)

const (
	words = 16
	// maxConditions is how many conditions a policy may have: one for each allow,
	// exempt and rollout, one for each require and one more for its when, one for each device
	// and one more for its user.
	maxConditions = words * 64
)

// bits holds one bit for each condition of a policy.
type bits [words]uint64

func (b *bits) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b *bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

func (b *bits) and(other *bits) {
	for i := range b {
		b[i] &= other[i]
	}
}

func (b *bits) or(other *bits) {
	for i := range b {
		b[i] |= other[i]
	}
}

func (b *bits) without(other *bits) {
	for i := range b {
		b[i] &^= other[i]
	}
}

// meets reports whether b and other have a bit in common.
func (b *bits) meets(other *bits) bool {
	for i := range b {
		if b[i]&other[i] != 0 {
			return true
		}
	}
	return false
}

// A table tells for each value of one attribute which conditions it satisfies.
type table[K comparable] struct {
	values map[K]*bits
	other  bits // satisfied by a value that no condition names
	absent bits // satisfied when the fact is not known
}

func (t *table[K]) get(v K) *bits {
	if b := t.values[v]; b != nil {
		return b
	}
	return &t.other
}

// newTable builds the table of one attribute: list gives the values that a
// condition names, none if it does not restrict the attribute.
func newTable[K comparable](conds []*condition, whens *bits, list func(*condition) []K) table[K] {
	t := table[K]{values: make(map[K]*bits)}
	for _, c := range conds {
		if len(list(c)) == 0 {
			t.other.set(c.id)
		}
	}
	for _, c := range conds {
		for _, v := range list(c) {
			if t.values[v] == nil {
				b := t.other
				t.values[v] = &b
			}
			t.values[v].set(c.id)
		}
	}
	t.absent = t.other
	t.absent.or(whens)
	return t
}

// A wordTable is that of a dimension.
type wordTable struct {
	values []bits // by number
	absent bits
}

func (t *wordTable) get(n int) *bits {
	if n < 0 {
		return &t.absent
	}
	return &t.values[n]
}

func newWordTable(conds []*condition, whens *bits, d dimension) wordTable {
	t := wordTable{values: make([]bits, len(d.values()))}
	for _, c := range conds {
		for n := range t.values {
			if c.sets[d].admits(n) {
				t.values[n].set(c.id)
			}
		}
		if c.sets[d] == 0 {
			t.absent.set(c.id)
		}
	}
	t.absent.or(whens)
	return t
}

// A ranges tells for each value of an ordered fact, an address or a number, which
// conditions it satisfies: the values are cut where any condition begins or ends to
// hold, and each piece has its bits.
type ranges[K comparable] struct {
	compare func(a, b K) int
	starts  []K // ascending; piece i reaches up to the next start
	pieces  []*bits
	other   bits // below the first
}

func (r *ranges[K]) get(v K) *bits {
	low, high := 0, len(r.starts)
	for low < high {
		middle := (low + high) / 2
		if r.compare(v, r.starts[middle]) < 0 {
			high = middle
		} else {
			low = middle + 1
		}
	}
	if low == 0 {
		return &r.other
	}
	return r.pieces[low-1]
}

// newRanges builds the table of one ordered fact. each calls edge where a condition
// begins to hold and where it holds no longer, and reports whether it looks at the
// fact at all.
func newRanges[K comparable](conds []*condition, compare func(a, b K) int, each func(c *condition, edge func(at K, begin bool)) bool) ranges[K] {
	r := ranges[K]{compare: compare}
	type edge struct {
		at    K
		id    int
		begin bool
	}
	var edges []edge
	for _, c := range conds {
		if !each(c, func(at K, begin bool) { edges = append(edges, edge{at, c.id, begin}) }) {
			r.other.set(c.id)
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return compare(a.at, b.at) })
	depth := make([]int, maxConditions)
	now := r.other
	for i, e := range edges {
		if e.begin {
			depth[e.id]++
		} else {
			depth[e.id]--
		}
		if depth[e.id] > 0 {
			now.set(e.id)
		} else {
			now[e.id/64] &^= 1 << (e.id % 64)
		}
		if i+1 < len(edges) && edges[i+1].at == e.at {
			continue
		}
		piece := now
		r.starts = append(r.starts, e.at)
		r.pieces = append(r.pieces, &piece)
	}
	return r
}

// newAddresses builds the table of the peer's address.
func newAddresses(conds []*condition) ranges[netip.Addr] {
	return newRanges(conds, netip.Addr.Compare, func(c *condition, edge func(at netip.Addr, begin bool)) bool {
		for _, p := range c.from {
			edge(p.Addr(), true)
			if next := lastAddr(p).Next(); next.IsValid() {
				edge(next, false)
			} else if p.Addr().Is4() {
				// The end of IPv4 is where IPv6 begins in the order of addresses.
				edge(netip.IPv6Unspecified(), false)
			}
		}
		return c.from != nil
	})
}

// lastAddr is the highest address of a network.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// tables is a compiled policy.
type tables struct {
	dims                  [dimensions]wordTable
	scales                [scales]scaleTable
	zone                  *time.Location
	listener, user, group table[string]
	from                  ranges[netip.Addr]
	nowhere               bits // satisfied by an address that is not known

	// What sessions do is looked up here, and in dims: those are the facts of no phase that a
	// login has.
	paths, senders, recipients, requests treeTable

	// early, named and proven are the facts that some condition looks at, by the
	// phase from which on they are known.
	early, named, proven, done facts
	// own are the facts of the account among those named, and anybody the conditions
	// that somebody or other satisfies in them: of when, those that everybody does.
	own     facts
	anybody bits

	allows bits
	inside bits // conditions for an address of ours that is private
	all    bits // every condition
	// kinds are the users that the policy can tell apart, as what user and group
	// together satisfy; anyKind stands in when there are too many.
	kinds   []bits
	anyKind bool
}

// facts are those that a decision looks at.
type facts struct {
	dims   []dimension
	scales []scale
}

// of returns the facts that are known from a phase on.
func (t *tables) of(phase session.Phase) *facts {
	switch phase {
	case session.PhaseConnect:
		return &t.early
	case session.PhaseNamed:
		return &t.named
	case session.PhaseSession:
		return &t.done
	default:
		return &t.proven
	}
}

// apply takes away the conditions that the facts of r, known from the phase on, do
// not satisfy.
func (t *tables) apply(matched *bits, r *session.Request, phase session.Phase) {
	f := t.of(phase)
	if phase == session.PhaseNamed {
		if r.User == "" {
			matched.and(&t.anybody)
		} else {
			t.applyFacts(matched, r, &t.own)
		}
	}
	t.applyFacts(matched, r, f)
}

func (t *tables) applyFacts(matched *bits, r *session.Request, f *facts) {
	for _, d := range f.dims {
		matched.and(t.dims[d].get(d.number(r, t.zone)))
	}
	for _, s := range f.scales {
		if n, known := s.number(r, t.zone); known {
			matched.and(t.scales[s].get(n))
		} else {
			matched.and(&t.scales[s].absent)
		}
	}
}

const (
	// maxKinds bounds the kinds of user that are tried when nobody is named; with
	// more, somebody is imagined who matches every condition on user and group.
	maxKinds = 1024
	// maxCombinations bounds the search for them when a policy is loaded.
	maxCombinations = 1 << 14
)

func compile(allows, requires, exempts []*statement, devices []*device, zone *time.Location) tables {
	t := tables{zone: zone}
	var conds []*condition
	var whens bits
	add := func(c *condition) {
		c.id = len(conds)
		conds = append(conds, c)
		t.all.set(c.id)
		if c.inside {
			t.inside.set(c.id)
		}
	}
	for _, s := range slices.Concat(allows, requires, exempts) {
		add(&s.cond)
		if s.kind == kindAllow {
			t.allows.set(s.cond.id)
		}
		if s.when != nil {
			add(s.when)
			whens.set(s.when.id)
		}
		for _, w := range s.rollouts {
			if s.part == 0 { // the parts of a require share them
				add(&w.cond)
			}
		}
	}
	logins := deviceLogins(devices)
	for _, d := range devices {
		add(&d.place)
	}
	for _, s := range logins {
		add(&s.cond)
	}
	for d := range dimensions {
		t.dims[d] = newWordTable(conds, &whens, d)
		if d <= dimChannel || slices.ContainsFunc(conds, func(c *condition) bool { return c.sets[d] != 0 }) {
			f := t.of(d.phase())
			if d.aboutUser() {
				f = &t.own
			}
			f.dims = append(f.dims, d)
		}
	}
	for n := range scales {
		if slices.ContainsFunc(conds, func(c *condition) bool { return len(c.spans[n]) > 0 }) {
			t.scales[n] = newScale(conds, &whens, n)
			f := t.of(n.phase())
			if n.aboutUser() {
				f = &t.own
			}
			f.scales = append(f.scales, n)
		}
	}
	for _, c := range conds {
		if !whens.has(c.id) || !c.aboutAccount() {
			t.anybody.set(c.id)
		}
	}
	t.listener = newTable(conds, &whens, func(c *condition) []string { return c.listener })
	t.user = newTable(conds, &whens, func(c *condition) []string { return c.user })
	t.group = newTable(conds, &whens, func(c *condition) []string { return c.group })
	t.from = newAddresses(conds)
	for _, c := range conds {
		if c.from == nil {
			t.nowhere.set(c.id)
		}
	}
	t.nowhere.or(&whens)
	t.paths = newTree(conds, &whens, aboveFolder, func(c *condition) []string { return c.act.paths })
	t.senders = newTree(conds, &whens, aboveDomain, func(c *condition) []string { return c.act.senders })
	t.recipients = newTree(conds, &whens, aboveDomain, func(c *condition) []string { return c.act.recipients })
	t.requests = newTree(conds, &whens, aboveNothing, func(c *condition) []string { return c.act.requests })
	t.findKinds(slices.Concat(allows, requires, exempts, logins), &whens)
	return t
}

// deviceLogins lists the statements about the logins of devices.
func deviceLogins(devices []*device) []*statement {
	var out []*statement
	for _, d := range devices {
		if d.login != nil {
			out = append(out, d.login)
		}
	}
	return out
}

// findKinds lists the kinds of user that differ in what lets them in: everybody
// whom a statement names and somebody whom none does, in up to two groups.
func (t *tables) findKinds(statements []*statement, whens *bits) {
	users, groups := []string{""}, []string{""} // named by no condition: names are not empty
	for _, s := range statements {
		users = append(users, s.cond.user...)
		groups = append(groups, s.cond.group...)
		for _, w := range s.rollouts {
			users = append(users, w.cond.user...)
			groups = append(groups, w.cond.group...)
		}
	}
	users, groups = t.user.distinct(users), t.group.distinct(groups)
	if len(users)*len(groups)*(len(groups)+1)/2 > maxCombinations {
		t.anyKind = true
		return
	}
	for _, u := range users {
		for i, g := range groups {
			for _, h := range groups[i:] {
				kind := *t.user.get(u)
				in := t.groupBits([]string{g, h})
				kind.and(&in)
				t.addKind(&kind, whens)
				if len(t.kinds) > maxKinds {
					t.kinds, t.anyKind = nil, true
					return
				}
			}
		}
	}
}

// addKind keeps a kind unless another has at least its chances: it satisfies as
// much, and no more requirements apply to it.
func (t *tables) addKind(kind, whens *bits) {
	if slices.ContainsFunc(t.kinds, func(k bits) bool { return k.dominates(kind, whens) }) {
		return
	}
	t.kinds = slices.DeleteFunc(t.kinds, func(k bits) bool { return kind.dominates(&k, whens) })
	t.kinds = append(t.kinds, *kind)
}

// dominates reports whether b satisfies all that other does, save for whens, of
// which it satisfies no others.
func (b *bits) dominates(other, whens *bits) bool {
	for i := range b {
		if (other[i]^whens[i])&^(b[i]^whens[i]) != 0 {
			return false
		}
	}
	return true
}

// distinct picks one value of each sort that the conditions tell apart.
func (t *table[K]) distinct(list []K) []K {
	var out []K
	seen := make(map[bits]bool)
	for _, v := range list {
		if b := *t.get(v); !seen[b] {
			seen[b] = true
			out = append(out, v)
		}
	}
	return out
}

// groupBits is what membership in groups satisfies.
func (t *tables) groupBits(groups []string) bits {
	b := t.group.other
	for _, g := range groups {
		b.or(t.group.get(g))
	}
	return b
}

// peer is what the facts of the peer satisfy together.
func (t *tables) peer(r *session.Request) bits {
	b := t.all
	t.apply(&b, r, session.PhaseConnect)
	if r.Listener != "" {
		b.and(t.listener.get(r.Listener))
	} else {
		b.and(&t.listener.absent)
	}
	if r.Remote.IsValid() {
		b.and(t.from.get(r.Remote.Unmap().WithZone("")))
	} else {
		b.and(&t.nowhere)
	}
	if !insideAddress(r.Local) {
		b.without(&t.inside)
	}
	return b
}
