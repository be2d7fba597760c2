package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gateway/auth/hashes"
	"gateway/session"
)

var _ session.Authenticator = (*Accounts)(nil)

// Lookup implements session.Authenticator. It reads memory, and asks the sources about
// names that the store does not have, or has from them. The slices of the Identity are
// shared and must not be changed.
func (a *Accounts) Lookup(ctx context.Context, source netip.Addr, user string) (session.Account, error) {
	r, err := a.find(ctx, user)
	if err == nil {
		r, err = a.followed(ctx, source, user, r)
	}
	if err != nil {
		return session.Account{}, err
	}
	return a.accountOf(user, r), nil
}

// Account is Lookup of what is known here: no source is asked.
func (a *Accounts) Account(ctx context.Context, user string) (session.Account, error) {
	r, err := a.find(ctx, user)
	if err != nil {
		return session.Account{}, err
	}
	return a.accountOf(user, r), nil
}

// accountOf is r, or where that is nil one like another.
func (a *Accounts) accountOf(user string, r *record) session.Account {
	// Looked for whether or not it is needed, so that it takes the same time.
	a.mu.RLock()
	as := a.phantom.like(user)
	like := a.records[as]
	a.mu.RUnlock()
	switch {
	case r != nil:
		return r.account()
	case like != nil:
		return session.Account{As: as, Identity: session.Identity{Groups: like.info.Groups}, PasswordSet: like.info.PasswordChanged}
	default:
		return session.Account{}
	}
}

// Knows implements session.Authenticator. No key of a disabled account would be
// accepted. One that the account does not have is remembered as offered.
func (a *Accounts) Knows(ctx context.Context, source netip.Addr, user string, key session.Key) (session.KeyAnswer, error) {
	r, err := a.find(ctx, user)
	if r == nil || err != nil || r.info.over(time.Now()) {
		return session.KeyAnswer{}, err
	}
	now := time.Now()
	answer := r.accepts(key, a.trustsOf(r.info.Groups), source, now)
	if !answer.Known && answer.Why == "" {
		a.noteOffered(user, source, key, now)
	}
	return answer, nil
}

// Verify implements session.Authenticator. Whether the account is disabled is
// not asked here.
func (a *Accounts) Verify(ctx context.Context, source netip.Addr, c session.Credential) (session.Proof, error) {
	switch c.Method {
	case session.MethodPublicKey:
		return session.Proof{}, a.verifyKey(ctx, source, c)
	case session.MethodPassword, session.MethodKeyboardInteractive:
		return a.verifyPassword(ctx, source, c)
	case session.MethodSCRAM:
		return session.Proof{}, a.verifySCRAM(ctx, c)
	case session.MethodToken:
		return a.verifyToken(ctx, source, c)
	case session.MethodCode:
		return session.Proof{}, a.verifyCode(ctx, c)
	default:
		return session.Proof{}, session.ErrDenied
	}
}

// verifyKey checks whose key it is; the front-end has checked the signature.
func (a *Accounts) verifyKey(ctx context.Context, source netip.Addr, c session.Credential) error {
	r, err := a.find(ctx, c.User)
	if err != nil {
		return err
	}
	if r == nil || !r.accepts(c.Key, a.trustsOf(r.info.Groups), source, time.Now()).Known {
		return session.ErrDenied
	}
	return nil
}

// verifyPassword takes the same path for every name. What differs is the hash
// that the password is compared with: where there is none, one that nothing
// matches.
func (a *Accounts) verifyPassword(ctx context.Context, source netip.Addr, c session.Credential) (session.Proof, error) {
	if c.Secret.Empty() || c.Secret.Len() > maxPasswordBytes {
		return session.Proof{}, session.ErrDenied // whoever is named
	}
	for {
		r, err := a.find(ctx, c.User)
		if err != nil {
			return session.Proof{}, err
		}
		stored := a.storedOf(r)
		right, again, err := a.compare(ctx, source, c, stored)
		if err != nil {
			return session.Proof{}, err
		}
		// The password may have been changed while it was compared.
		now, err := a.find(ctx, c.User)
		switch {
		case err != nil:
			return session.Proof{}, err
		case passwordOf(now) != stored.id:
			continue
		case stored.id == 0 && a.elsewhere(now) != nil:
			again, err := a.verifyElsewhere(ctx, c, now, a.elsewhere(now))
			return session.Proof{Again: again}, err
		case now == nil && a.newcomers().By != nil:
			return a.verifyNewcomer(ctx, c, a.newcomers())
		case stored.id == 0 && a.sourced(now):
			return a.verifySourced(ctx, source, c, now)
		case !right || stored.id == 0:
			return session.Proof{Again: again}, session.ErrDenied
		default:
			return session.Proof{Again: again}, nil
		}
	}
}

// stored is a hash to compare a password with.
type stored struct {
	id   int64 // 0 for one that nothing matches
	hash hashes.Hash
	from imported
	// beside is compared too while hash is weak, and not wrapped yet: else the time would
	// tell that the account exists. It matches nothing; the zero Hash takes no time.
	beside hashes.Hash
}

// storedOf is that of an account, or one like any other where there is none.
func (a *Accounts) storedOf(r *record) stored {
	if r == nil || r.password == 0 {
		return stored{hash: a.dummy}
	}
	s := stored{id: r.password, hash: r.hash, from: r.imported}
	if s.hash.Weak() {
		s.beside = a.dummy
	}
	return s
}

// price is what it takes to compare a password with it.
func (s stored) price() hashes.Price { return s.hash.Price().And(s.beside.Price()) }

func passwordOf(r *record) int64 {
	if r == nil {
		return 0
	}
	return r.password
}

// compare says whether the secret of c matches with, by the memo or by hashing it;
// again is a result of before. Who offers the same proof meanwhile waits for the one
// result.
func (a *Accounts) compare(ctx context.Context, source netip.Addr, c session.Credential, with stored) (right, again bool, err error) {
	name := a.memo.name(c.User)
	proof := a.memo.proof(name, with.id, c.Secret.Reveal())
	for {
		if right, known := a.memo.recall(name, proof, time.Now()); known {
			return right, true, nil
		}
		one, pilot := a.flights.join(proof)
		if pilot {
			a.fly(ctx, source, one, name, proof, c, with)
			return one.right, false, one.err
		}
		select {
		case <-one.done:
		case <-ctx.Done():
			return false, false, notHashed(context.Cause(ctx))
		}
		if errors.Is(one.err, errHungUp) {
			continue // the pilot's peer is gone, this one is not
		}
		return one.right, true, one.err
	}
}

// errHungUp is a hash that was not made because whoever asked for it left.
var errHungUp = errors.New("gave up waiting")

// fly hashes within the budget and lands the flight.
func (a *Accounts) fly(ctx context.Context, source netip.Addr, one *flight, name nameMAC, proof mac, c session.Credential, with stored) {
	defer a.flights.land(proof, one)
	one.err = notHashed(errors.New("hashing did not end")) // stays if it panics
	// It may have landed between the look into the memo and the take-off.
	if right, known := a.memo.recall(name, proof, time.Now()); known {
		one.right, one.err = right, nil
		return
	}
	release, err := a.place(ctx, source, with.price())
	if err != nil {
		one.err = notHashed(err)
		if ctx.Err() != nil {
			one.err = fmt.Errorf("%w: %w", one.err, errHungUp)
		}
		return
	}
	defer func() { release(one.right) }()
	as, right := with.matches(c.Secret.Reveal())
	one.right, one.err = right, nil
	a.memo.remember(name, proof, right, time.Now())
	if right {
		a.toRenew(c.User, source, with, as)
	}
}

// place waits for a place to compute a hash of that price.
func (a *Accounts) place(ctx context.Context, source netip.Addr, p hashes.Price) (release func(right bool), err error) {
	if p.Class() == hashes.Heavy {
		return a.cfg.Budget.AcquireHeavy(ctx, source, p.MemoryKiB)
	}
	free, err := a.cfg.Budget.Acquire(ctx, source, p.MemoryKiB)
	return func(bool) { free() }, err
}

// notHashed makes err one of the temporary kinds: that there was no time to
// compare a password says nothing about it.
func notHashed(err error) error {
	if errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrTooMany) {
		return fmt.Errorf("compare password: %w", err)
	}
	return fmt.Errorf("compare password: %w: %w", session.ErrUnavailable, err)
}
