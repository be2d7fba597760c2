package policies

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gateway/policies/box"
	"gateway/session"
)

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
