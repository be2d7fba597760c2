package auth

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"gateway/auth/hashes"
	"gateway/session"
)

const (
	// maxSuspects is how many passwords wait to be looked at. Further ones are not.
	maxSuspects = 64
	// suspectWait is how long after the refusal a password is looked at, so that it is
	// out of the time of the answer; suspectTime how long it is kept for that at most.
	suspectWait = time.Second
	suspectTime = time.Minute
)

// A suspect is a password that crossed in clear although it was refused.
type suspect struct {
	credential session.Credential
	source     netip.Addr
	since      time.Time
}

// Suspect implements session.Historian.
func (a *Accounts) Suspect(c session.Credential, source netip.Addr) {
	select {
	case a.suspects <- suspect{c, source, time.Now()}:
	default: // a flood of them: none is worth more than the others
	}
}

// VerifySuspects looks at passwords that crossed in clear although they were refused,
// until ctx is done. One by one, when nobody else hashes, and in the same way for names
// that do not exist. Nothing comes of it but that a right one counts as exposed.
func (a *Accounts) VerifySuspects(ctx context.Context) error {
	for {
		select {
		case s := <-a.suspects:
			a.examine(ctx, s)
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *Accounts) examine(ctx context.Context, s suspect) {
	select {
	case <-time.After(time.Until(s.since.Add(suspectWait))):
	case <-ctx.Done():
		return
	}
	c := s.credential
	if c.Secret.Empty() || c.Secret.Len() > maxPasswordBytes {
		return
	}
	r, err := a.find(ctx, c.User)
	if err != nil {
		return
	}
	with := a.storedOf(r)
	bounded, cancel := context.WithDeadline(ctx, s.since.Add(suspectTime))
	defer cancel()
	release, err := a.idlePlace(bounded, s.source, with.price())
	if err != nil {
		return
	}
	_, right := with.matches(c.Secret.Reveal())
	release(right)
	if right {
		a.expose(c.User, with.id, s.source)
	}
}

// idlePlace is place for what is in no hurry.
func (a *Accounts) idlePlace(ctx context.Context, source netip.Addr, p hashes.Price) (release func(right bool), err error) {
	if p.Class() == hashes.Heavy {
		return a.place(ctx, source, p)
	}
	free, err := a.cfg.Budget.AcquireIdle(ctx, p.MemoryKiB)
	return func(bool) { free() }, err
}

// sortExposures puts the last one first.
func sortExposures(list []Exposure) {
	slices.SortFunc(list, func(x, y Exposure) int {
		return cmp.Or(y.Last.Compare(x.Last), cmp.Compare(x.User, y.User))
	})
}
