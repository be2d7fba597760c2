package policies

import (
	"cmp"
	"fmt"
	"slices"

	"gateway/session"
)

// A scale is a fact of a request that is a number.
type scale uint8

const (
	// The days on which a client, and the account by any, was seen to log in at least
	// that well, and how long nobody has logged in less well: what a ratchet asks for.
	scaleClientDays  scale = iota // one for each session.Level
	scaleAccountDays       = scaleClientDays + scale(session.Levels)
	scaleQuietDays         = scaleAccountDays + scale(session.Levels)

	scales = scaleQuietDays + scale(session.Levels) // how many there are
)

// number is the value that r has. It must not allocate.
func (s scale) number(r *session.Request) int64 {
	switch {
	case s < scaleAccountDays:
		return int64(r.Floors.Client[s-scaleClientDays])
	case s < scaleQuietDays:
		return int64(r.Floors.Account[s-scaleAccountDays])
	default:
		return int64(r.Floors.Quiet[s-scaleQuietDays])
	}
}

// phase is from when on the fact is known.
func (scale) phase() session.Phase { return session.PhaseNamed }

// aboutUser reports whether the fact is one of the account.
func (scale) aboutUser() bool { return true }

// describe says a value of the fact, in words.
func (s scale) describe(n int64) string {
	switch {
	case s < scaleAccountDays:
		return fmt.Sprintf("this client was %s on %d days", (session.Level(s - scaleClientDays)).Past(), n)
	case s < scaleQuietDays:
		return fmt.Sprintf("the account was %s on %d days", (session.Level(s - scaleAccountDays)).Past(), n)
	default:
		return fmt.Sprintf("nothing less than %s was used for %d days", (session.Level(s - scaleQuietDays)), n)
	}
}

// words says spans of the fact. Those of floors have no end.
func (s scale) words(spans []span) string {
	low := spans[0].low
	switch {
	case s < scaleAccountDays:
		return fmt.Sprintf("this client %s on at least %d days", session.Level(s-scaleClientDays).Past(), low)
	case s < scaleQuietDays:
		return fmt.Sprintf("the account %s on at least %d days", session.Level(s-scaleAccountDays).Past(), low)
	default:
		return fmt.Sprintf("nothing less than %s used for at least %d days", session.Level(s-scaleQuietDays), low)
	}
}

// A span is a part of a scale: from low up to and without high.
type span struct{ low, high int64 }

// forever is the high of a span without an end.
const forever = 1<<63 - 1

func atLeast(n int64) []span { return []span{{n, forever}} }

// within reports whether one of the spans holds n; of none at all, each does.
func within(spans []span, n int64) bool {
	return len(spans) == 0 || slices.ContainsFunc(spans, func(s span) bool { return s.low <= n && n < s.high })
}

// newScale builds the table of one scale.
func newScale(conds []*condition, s scale) ranges[int64] {
	return newRanges(conds, cmp.Compare[int64], func(c *condition, edge func(at int64, begin bool)) bool {
		for _, p := range c.spans[s] {
			edge(p.low, true)
			if p.high != forever {
				edge(p.high, false)
			}
		}
		return len(c.spans[s]) > 0
	})
}
