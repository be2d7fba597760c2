package policies

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"gateway/session"
)

// A scale is a fact of a request that is a number.
type scale uint8

const (
	scaleTime    scale = iota // the minute of the day
	scaleExposed              // for how many seconds the password was exposed; notExposed if it is not
	scaleAge                  // how many seconds old the password is; notExposed if none is used
	scaleLast                 // how many seconds ago the account last logged in; notExposed if never

	// The days on which a client, and the account by any, was seen to log in at least
	// that well, and how long nobody has logged in less well: what a ratchet asks for.
	scaleClientDays  // one for each session.Level
	scaleAccountDays = scaleClientDays + scale(session.Levels)
	scaleQuietDays   = scaleAccountDays + scale(session.Levels)

	scales = scaleQuietDays + scale(session.Levels) // how many there are
)

// notExposed is the value of a password that did not cross in clear, and of a login that there
// was not.
const notExposed = -1

// word is the name of the attribute; empty for those of a ratchet.
func (s scale) word() string {
	if s < scaleClientDays {
		return [scaleClientDays]string{"time", "exposed", "password_age", "last_login"}[s]
	}
	return ""
}

// scaleNamed finds a scale by the name of its attribute.
func scaleNamed(word string) (scale, bool) {
	for s := range scaleClientDays {
		if s.word() == word {
			return s, true
		}
	}
	return 0, false
}

// number is the value that r has in a time zone, if it is known. It must not allocate.
func (s scale) number(r *session.Request, zone *time.Location) (n int64, known bool) {
	switch {
	case s == scaleTime:
		if r.Time.IsZero() {
			return 0, false
		}
		t := in(r.Time, zone)
		return int64(t.Hour()*60 + t.Minute()), true
	case s == scaleExposed:
		return since(r, r.Exposed), true
	case s == scaleAge:
		return since(r, r.PasswordSet), true
	case s == scaleLast && r.LastLogin.IsZero():
		return notExposed, true
	case s == scaleLast:
		return max(0, int64(r.Time.Sub(r.LastLogin)/time.Second)), true
	case s < scaleAccountDays:
		return int64(r.Floors.Client[s-scaleClientDays]), true
	case s < scaleQuietDays:
		return int64(r.Floors.Account[s-scaleAccountDays]), true
	default:
		return int64(r.Floors.Quiet[s-scaleQuietDays]), true
	}
}

// since is how many seconds lie between t and the request; notExposed if t is zero, or
// is about a password where a key was used.
func since(r *session.Request, t time.Time) int64 {
	if t.IsZero() || r.Method == session.MethodPublicKey || r.Proven&session.FactorKey != 0 {
		return notExposed
	}
	return max(0, int64(r.Time.Sub(t)/time.Second))
}

// phase is from when on the fact is known.
func (s scale) phase() session.Phase {
	if s == scaleTime {
		return session.PhaseConnect
	}
	return session.PhaseNamed
}

// aboutUser reports whether the fact is one of the account.
func (s scale) aboutUser() bool { return s != scaleTime }

// describe says a value of the fact, in words.
func (s scale) describe(n int64) string {
	switch {
	case s == scaleTime:
		return "time is " + clock(n)
	case s == scaleExposed && n == notExposed:
		return "the password is not exposed"
	case s == scaleExposed:
		return "the password was exposed for " + inDays(n)
	case s == scaleAge && n == notExposed:
		return "no password is used"
	case s == scaleAge:
		return "the password is " + inDays(n) + " old"
	case s == scaleLast && n == notExposed:
		return "the account never logged in"
	case s == scaleLast:
		return "the account last logged in " + inDays(n) + " ago"
	case s < scaleAccountDays:
		return fmt.Sprintf("this client was %s on %d days", session.Level(s-scaleClientDays).Past(), n)
	case s < scaleQuietDays:
		return fmt.Sprintf("the account was %s on %d days", session.Level(s-scaleAccountDays).Past(), n)
	default:
		return fmt.Sprintf("nothing less than %s was used for %d days", session.Level(s-scaleQuietDays), n)
	}
}

// words says spans of the fact. Those of floors have no end.
func (s scale) words(spans []span) string {
	low := spans[0].low
	switch {
	case s < scaleClientDays:
		var list []string
		for _, p := range spans {
			list = append(list, s.spanText(p))
		}
		return s.word() + " " + either(list)
	case s < scaleAccountDays:
		return fmt.Sprintf("this client %s on at least %d days", session.Level(s-scaleClientDays).Past(), low)
	case s < scaleQuietDays:
		return fmt.Sprintf("the account %s on at least %d days", session.Level(s-scaleAccountDays).Past(), low)
	default:
		return fmt.Sprintf("nothing less than %s used for at least %d days", session.Level(s-scaleQuietDays), low)
	}
}

func (s scale) spanText(p span) string {
	switch {
	case s == scaleTime:
		return clock(p.low) + "-" + clock(p.high)
	case s == scaleLast:
		return agoText(p)
	case p.low == notExposed && p.high == 0:
		return "no"
	case p.low == notExposed && s == scaleExposed:
		return "no, or for less than " + inDays(p.high)
	case p.high == forever && p.low == 0:
		return "yes"
	case p.high == forever:
		return "more than " + inDays(p.low)
	default:
		return "less than " + inDays(p.high)
	}
}

// agoText says a span of last_login.
func agoText(p span) string {
	switch {
	case p.low == notExposed && p.high == 0:
		return never
	case p.high == forever:
		return "more than " + inDays(p.low) + " ago"
	default:
		return "less than " + inDays(p.high) + " ago"
	}
}

// never stands in a last_login for accounts that have not logged in yet.
const never = "never"

func clock(minute int64) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

// inDays says a number of seconds in days, or in hours if it is less than one.
func inDays(seconds int64) string {
	if seconds < secondsOfDay {
		return fmt.Sprintf("%dh", seconds/(60*60))
	}
	return fmt.Sprintf("%dd", seconds/secondsOfDay)
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

// A scaleTable is that of a scale.
type scaleTable struct {
	ranges[int64]
	absent bits
}

// newScale builds the table of one scale.
func newScale(conds []*condition, whens *bits, s scale) scaleTable {
	t := scaleTable{absent: *whens}
	for _, c := range conds {
		if len(c.spans[s]) == 0 {
			t.absent.set(c.id)
		}
	}
	t.ranges = newRanges(conds, cmp.Compare[int64], func(c *condition, edge func(at int64, begin bool)) bool {
		for _, p := range c.spans[s] {
			edge(p.low, true)
			if p.high != forever {
				edge(p.high, false)
			}
		}
		return len(c.spans[s]) > 0
	})
	return t
}
