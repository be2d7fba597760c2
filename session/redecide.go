package session

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Redecide asks about every session again, by the rules in force and by its account
// as it is now, and ends those that would not be let in any more or whose account
// lost a permission. It returns how many. Whoever changes the rules, or an account so
// that it may do less, calls it: a session is otherwise decided once, and so is a file
// when it is opened, so that no packet is held up by a decision.
//
// What a session does from then on is decided by the rules in force; what it was granted
// beyond the login stays as it was, and the time alone ends none. An account that cannot be looked up now ends none either.
func (g *Gate) Redecide(ctx context.Context) int {
	ended := 0
	for _, s := range g.live.matching(func(s *Session, _ string) bool { return s.granted() }) {
		cause, err := g.objection(ctx, s)
		if err != nil {
			g.cfg.Log.Error("session is not decided again", "conn", s.attempt.peer.Conn, "err", err)
			continue
		}
		if cause != nil {
			s.end(cause)
			ended++
		}
	}
	return ended
}

// objection is why s may not go on; nil if it may.
func (g *Gate) objection(ctx context.Context, s *Session) (cause, err error) {
	r := s.login
	r.Time = time.Now().UTC()
	if s.method == MethodDevice { // which has no account
		v := g.Policy().Decide(r)
		if !v.Allowed || v.Device == nil || v.Device.Name != s.device.Name {
			return noLonger(v), nil
		}
		return s.goOn(g.Policy(), v, r), nil
	}
	account, err := g.cfg.Auth.Lookup(ctx, netip.Addr{}, s.identity.User)
	switch {
	case err != nil:
		return nil, err
	case !account.Known, account.Disabled:
		return ErrDisabled, nil
	case s.identity.Access.lost(account.Identity.Access):
		return fmt.Errorf("%w: a permission was taken", ErrNoLonger), nil
	}
	r.Groups = account.Identity.Groups
	p := g.Policy()
	switch v := p.Decide(r); {
	case v.Allowed:
		return s.goOn(p, v, r), nil
	case v.Retry.IsZero(): // a brownout is for those who come
		return noLonger(v), nil
	}
	return nil, nil
}

// goOn has p, which let r in, decide what the session does from now on. It cannot where p looks at paths and
// the rules of before did not: what is open may have been reached through links.
func (s *Session) goOn(p Policy, v Verdict, r Request) (cause error) {
	if v.Data.Paths && !s.data.Paths {
		return fmt.Errorf("%w: rules about paths came into force", ErrNoLonger)
	}
	s.rules.Store(&ruled{p, v.Data.Acts, r})
	return nil
}

func noLonger(v Verdict) error {
	return fmt.Errorf("%w: %s", ErrNoLonger, printable(v.Rule+" "+v.Reason, maxReason))
}

// granted reports whether the session's identity and facts are set for good.
func (s *Session) granted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info != nil
}

// lost reports whether something that a allows is not allowed by now. Where no rule
// of either begins, both say what they say of the folder above.
func (a Access) lost(now Access) bool {
	return slices.ContainsFunc(append(slices.Clone(a.Rules), now.Rules...), func(r PathRule) bool {
		return a.At(r.Path)&^now.At(r.Path) != 0
	})
}
