package limits

import (
	"net/netip"
	"time"

	"gateway/session"
)

// A source may name maxNames accounts in nameWindow that nobody named lately, where
// another server has to be asked about those that are not known here.
const (
	maxNames   = 60
	nameWindow = time.Minute
)

// names counts the accounts that sources named. It is guarded by Limits.mu.
type names struct {
	sources bounded[netip.Prefix, budget]
}

func newNames() names {
	over := func(b budget, now time.Time) bool { return now.Sub(b.began) >= nameWindow }
	return names{newBounded[netip.Prefix](over, func(a, b budget) bool { return a.spent < b.spent })}
}

// Name counts an account that somebody at remote named, and refuses one too many. Whether
// there is such an account is not asked.
func (l *Limits) Name(remote netip.Addr) error {
	addr := plainAddr(remote)
	if l.trusted(addr) {
		return nil
	}
	source, now := session.SourcePrefix(addr), time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b, _ := l.names.sources.get(source, now)
	if b.spent >= maxNames {
		return errNames
	}
	l.names.sources.put(source, b.spend(now), now)
	return nil
}
