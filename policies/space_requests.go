package policies

import (
	"net/netip"
	"slices"
	"time"

	"gateway/policies/box"
	"gateway/session"
)

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
		for _, n := range []scale{scaleExposed, scaleAge, scaleLast} {
			if axis := s.scales[n]; axis >= 0 {
				if low := s.edges[n][first(b[axis])]; low >= 0 {
					set := t.Add(-time.Duration(low) * time.Second)
					switch n {
					case scaleExposed:
						at.Exposed = set
					case scaleAge:
						at.PasswordSet = set
					default:
						at.LastLogin = set
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
