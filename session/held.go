package session

import (
	"fmt"
	"slices"
	"time"
)

// Held is what the rules hold a session to, beyond what its account may do. The zero
// value holds it to nothing.
type Held struct {
	// ReadOnly lets it list and read, and change nothing.
	ReadOnly bool
	// Within is the folder that it may do anything in, as the peer sees it; empty is all.
	Within string
	// Bandwidth is how many bytes a second the session may move in each direction, beside
	// what its account may. Zero is no limit.
	Bandwidth int64
	// Lifetime is after how long it is ended. Zero is no limit.
	Lifetime time.Duration
}

// nowhere is the folder of a session that is held to two folders of which neither is in the
// other: no peer can name it.
const nowhere = "/\x00"

// And is what a session is held to by both: the stricter of each.
func (h Held) And(o Held) Held {
	h.ReadOnly = h.ReadOnly || o.ReadOnly
	switch {
	case h.Within == "" || o.Within != "" && within(o.Within, h.Within):
		h.Within = o.Within
	case o.Within != "" && !within(h.Within, o.Within):
		h.Within = nowhere
	}
	h.Bandwidth, h.Lifetime = stricter(h.Bandwidth, o.Bandwidth), stricter(h.Lifetime, o.Lifetime)
	return h
}

// stricter is the lower of two limits, of which zero is none.
func stricter[T ~int64](a, b T) T {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// narrow is what of a may be done by a session that is held so.
func (h Held) narrow(a Access) Access {
	if h.Within != "" {
		rules := []PathRule{{Path: "/"}}
		if h.Within == "/" {
			rules = nil
		}
		rules = append(rules, PathRule{Path: h.Within, May: a.At(h.Within)})
		for _, r := range a.Rules {
			if r.Path != h.Within && within(r.Path, h.Within) {
				rules = append(rules, r)
			}
		}
		a.Rules = rules
	}
	if h.ReadOnly {
		a.Rules = slices.Clone(a.Rules)
		for i := range a.Rules {
			a.Rules[i].May &= MayList | MayRead
		}
	}
	return a
}

// hold begins to hold s to what the rules say; its identity is set, and it is not granted
// yet.
func (s *Session) hold(h Held) {
	s.identity.Access = h.narrow(s.identity.Access)
	s.identity.Access.Straight = s.data.Paths
	if h.Lifetime == 0 {
		return
	}
	over := time.AfterFunc(h.Lifetime, func() { s.end(fmt.Errorf("%w: it lasted for %v", ErrNoLonger, h.Lifetime)) })
	s.AfterDone(func() { over.Stop() })
}
