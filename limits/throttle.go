package limits

import (
	"fmt"
	"net/netip"
	"time"

	"gateway/session"
)

// A throttled source is one of which a rule says how often logins may be tried.
type throttled struct {
	source netip.Prefix
	rate   session.Rate
}

// throttles keep for each the time at which all that it tried would have been due, had it
// been tried evenly: what lies in the past is forgotten.
type throttles = bounded[throttled, time.Time]

func newThrottles() throttles {
	return newBounded[throttled](func(due, now time.Time) bool { return !due.After(now) }, time.Time.Before)
}

// Throttle implements session.Limiter. A source that was quiet may try r.N logins at once,
// and further ones as their share of r.Per has passed. Trusted sources are not counted.
func (l *Limits) Throttle(p session.Peer, r session.Rate) error {
	addr := plainAddr(p.Remote.Addr())
	if r.N <= 0 || r.Per <= 0 || l.trusted(addr) {
		return nil
	}
	key := throttled{session.SourcePrefix(addr), r}
	now := time.Now()

	l.mu.Lock()
	defer l.mu.Unlock()
	due, known := l.throttles.get(key, now)
	if !known {
		due = now
	}
	due = due.Add(r.Per / time.Duration(r.N))
	if due.Sub(now) > r.Per {
		return fmt.Errorf("%w logins from there: a rule allows %v", session.ErrTooMany, r)
	}
	l.throttles.put(key, due, now)
	return nil
}
