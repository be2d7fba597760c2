package auth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"gateway/session"
)

// sourced reports whether a source is to say whether a password is right: of an account that
// comes from one, and of a name that the store does not have.
func (a *Accounts) sourced(r *record) bool {
	return r == nil && len(a.sources.all) > 0 || r != nil && r.info.Source != ""
}

// followed returns the account as its source says it is now: r is what there is here, and
// is brought up to date. For a name that the store does not have it is one that some source
// has, and that will be here once it has proven a password.
func (a *Accounts) followed(ctx context.Context, remote netip.Addr, user string, r *record) (*record, error) {
	name := a.memo.name(user)
	switch {
	case r == nil && len(a.sources.all) == 0, r != nil && r.info.Source == "" && len(a.sources.all) == 0:
		return r, nil
	case r != nil && r.info.Source == "":
		return r, a.sources.charge(name, remote)
	case r == nil:
		now, err := a.sources.answerOf(ctx, name, Question{User: user, Remote: remote}, "")
		if err != nil || now.said == nil {
			return nil, err
		}
		return a.visitor(user, now), nil
	case a.sources.named(r.info.Source) == nil:
		return barred(r), nil
	}
	now, err := a.sources.answerOf(ctx, name, Question{User: user, Remote: remote}, r.info.Source)
	if err != nil {
		return nil, err
	}
	return a.follow(ctx, user, r.info.Source, now.said)
}

// visitor is an account that is not here yet.
func (a *Accounts) visitor(user string, now answer) *record {
	r := &record{keys: make(map[keyID]options)}
	r.info = Info{
		Name: user, Source: now.by.Name(), Barred: now.said.Disabled, Groups: now.said.Groups,
		Addresses: append([]string{}, now.said.Addresses...), Home: now.said.Home,
	}
	a.mu.RLock()
	work := newAccesses(a.groups)
	a.mu.RUnlock()
	r.access, r.mail = work.of(&r.info), work.mailOf(&r.info)
	return r
}

// barred is an account whose source is not asked any more.
func barred(r *record) *record {
	out := *r
	out.info.Barred = true
	return &out
}

// follow makes the account what its source says, nil if that has it no more, and returns
// it. What cannot be stored and recorded is not done, and nothing is known of the account
// then.
func (a *Accounts) follow(ctx context.Context, user, source string, said *Said) (*record, error) {
	if r, err := a.find(ctx, user); err != nil || r == nil || !said.differs(&r.info) {
		return r, err
	}
	a.sources.following.Lock()
	defer a.sources.following.Unlock()
	r, err := a.find(ctx, user)
	if err != nil || r == nil || r.info.Source != source {
		return r, err
	}
	said = a.own(user, said)
	if !said.differs(&r.info) {
		return r, nil
	}
	verb := verbSet
	switch gone := said == nil || said.Disabled; {
	case gone && !r.info.Barred:
		verb = verbDisable
	case !gone && r.info.Barred:
		verb = verbEnable
	}
	err = a.recorded(ctx, "source "+source, verb, user, func() (Change, error) {
		return a.edit(ctx, "follow", user, func(ctx context.Context, tx *sql.Tx, before *record, _ int64) error {
			return putSaid(ctx, tx, before.id, said)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	select {
	case a.sources.altered <- struct{}{}:
	default:
	}
	return a.find(ctx, user)
}

// keptBySource refuses a change of what a source says of an account; nil if none does.
func keptBySource(i *Info, what string) error {
	if i.Source == "" {
		return nil
	}
	return invalid(what, "the source %q (gateway.hcl) says it: change it there; or make the account one of this store: gateway user remove %s, take the name out of the source, gateway user add %[2]s", i.Source, i.Name)
}

// nameTaken is that there is such an account.
func nameTaken(i *Info) error {
	if i.Source == "" {
		return errAccount
	}
	return &kind{fmt.Sprintf("there is one of that name, made at its first login because the source %q has it: take another name, or remove it first (gateway user remove %s)", i.Source, i.Name), ErrExist}
}

// The verbs of what is recorded of a source.
const (
	verbAdd     session.Verb = "add"
	verbSet     session.Verb = "set"
	verbDisable session.Verb = "disable"
	verbEnable  session.Verb = "enable"
)

// recorded makes a change by a source, or an old server.
func (a *Accounts) recorded(ctx context.Context, by string, verb session.Verb, user string, change func() (Change, error)) error {
	if a.cfg.Recorded == nil {
		_, err := change()
		return err
	}
	return a.cfg.Recorded(ctx, by, verb, user, change)
}

// own is what was said without the mail addresses that are another account's: a directory
// cannot take them away.
func (a *Accounts) own(user string, said *Said) *Said {
	if said == nil || len(said.Addresses) == 0 {
		return said
	}
	taken := make(map[string]string)
	a.mu.RLock()
	for name, r := range a.records {
		for _, address := range r.info.Addresses {
			if name != user {
				taken[address] = name
			}
		}
	}
	a.mu.RUnlock()
	out := *said
	out.Addresses = []string{}
	for _, address := range said.Addresses {
		if owner, other := taken[address]; other {
			a.cfg.Log.Warn("a mail address that a source names belongs to another account", "user", user, "address", address, "owner", owner)
			continue
		}
		out.Addresses = append(out.Addresses, address)
	}
	return &out
}

// admit makes the account of a name that has proven a password at a source. That there is
// one by now is no error.
func (a *Accounts) admit(ctx context.Context, user, source string, said *Said) error {
	a.sources.following.Lock()
	defer a.sources.following.Unlock()
	if r, err := a.find(ctx, user); r != nil || err != nil {
		return err
	}
	if a.count() >= maxAccounts {
		return fmt.Errorf("%w: there are %d accounts, which is the most", session.ErrUnavailable, maxAccounts)
	}
	said = a.own(user, said)
	err := a.recorded(ctx, "source "+source, verbAdd, user, func() (Change, error) {
		return a.write(ctx, "add", user, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
			if before != nil {
				return nameTaken(&before.info)
			}
			var id int64
			err := tx.QueryRowContext(ctx, `INSERT INTO accounts (name, source, created, changed) VALUES ($1, $2, $3, $3) RETURNING id`, user, source, now).Scan(&id)
			if err != nil {
				return err
			}
			return putSaid(ctx, tx, id, said)
		})
	})
	if err != nil && !errors.Is(err, ErrExist) {
		return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	return nil
}

// putSaid stores what a source says of an account. Of one that it has no more all else
// stays.
func putSaid(ctx context.Context, tx *sql.Tx, account int64, said *Said) error {
	if _, err := tx.ExecContext(ctx, `UPDATE accounts SET barred = $2 WHERE id = $1`, account, said == nil || said.Disabled); err != nil || said == nil {
		return err
	}
	if said.Home != "" {
		if _, err := tx.ExecContext(ctx, `UPDATE accounts SET home = $2 WHERE id = $1`, account, said.Home); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM account_groups WHERE account = $1`, account); err != nil {
		return err
	}
	if err := putGroups(ctx, tx, account, said.Groups); err != nil || said.Addresses == nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM account_addresses WHERE account = $1`, account); err != nil {
		return err
	}
	for _, address := range said.Addresses {
		if _, err := tx.ExecContext(ctx, `INSERT INTO account_addresses (address, account) VALUES ($1, $2) ON CONFLICT (address) DO NOTHING`, address, account); err != nil {
			return err
		}
	}
	return nil
}

// verifySourced asks a source whether a password is right, one question for those who offer
// the same at the same time. What was wrong is not asked again for a while; what is right
// is, so that a password that was changed counts at once.
func (a *Accounts) verifySourced(ctx context.Context, remote netip.Addr, c session.Credential, r *record) (session.Proof, error) {
	name := a.memo.name(c.User)
	proof := a.memo.proof(name, asked, c.Secret.Reveal())
	if a.memo.wrongSince(name, proof, wrongTime, time.Now()) {
		return session.Proof{Again: true}, session.ErrDenied
	}
	one, pilot := a.flights.join(proof)
	if pilot {
		func() {
			defer a.flights.land(proof, one)
			one.err = session.ErrUnavailable // stays if it panics
			// Others wait for it too: who asked first may leave.
			one.right, one.err = a.checkAtSource(context.WithoutCancel(ctx), remote, c, r)
		}()
	} else {
		select {
		case <-one.done:
		case <-ctx.Done():
			return session.Proof{}, notHashed(context.Cause(ctx))
		}
	}
	switch {
	case one.err != nil:
		return session.Proof{}, one.err
	case !one.right:
		a.memo.remember(name, proof, false, time.Now())
		return session.Proof{}, session.ErrDenied
	}
	now, err := a.find(ctx, c.User)
	if err != nil {
		return session.Proof{}, err
	}
	if r == nil || now == nil { // who is closed there is not admitted, and nothing changed
		return session.Proof{Changed: (r == nil) != (now == nil)}, nil
	}
	return session.Proof{Changed: !now.info.Changed.Equal(r.info.Changed)}, nil
}

// checkAtSource asks the source that has the name, and takes over what it says of the
// account besides. For a name that nobody has it takes as long.
func (a *Accounts) checkAtSource(ctx context.Context, remote netip.Addr, c session.Credential, r *record) (right bool, err error) {
	q := Question{User: c.User, Remote: remote, Protocol: c.Protocol, Listener: c.Listener, Method: c.Method}
	name := a.memo.name(c.User)
	var by Source
	if r != nil {
		if by = a.sources.named(r.info.Source); by == nil {
			return false, nil
		}
	} else {
		known, err := a.sources.answerOf(ctx, name, q, "")
		if err != nil {
			return false, err
		}
		if known.said == nil {
			return false, a.decoy(ctx, q)
		}
		by = known.by
	}
	found, right, err := by.Check(ctx, q, c.Secret)
	if err != nil {
		return false, notSaid(by, err)
	}
	now := answer{}
	if found != nil {
		checked, err := found.checked()
		if err != nil {
			return false, notSaid(by, err)
		}
		now = answer{by: by, said: &checked}
	}
	a.sources.lately.remember(name, now, time.Now())
	switch {
	case r != nil:
		_, err = a.follow(ctx, c.User, by.Name(), now.said)
	case now.said != nil && right && !now.said.Disabled:
		err = a.admit(ctx, c.User, by.Name(), now.said)
	}
	return right && now.said != nil && err == nil, err
}

// decoy asks the last source about nobody: it is the one that was asked last about the name.
func (a *Accounts) decoy(ctx context.Context, q Question) error {
	last := a.sources.all[len(a.sources.all)-1]
	if err := last.Decoy(ctx, q); err != nil {
		return notSaid(last, err)
	}
	return nil
}

// FollowSources asks again, every few minutes, about the accounts of sources that live
// names, until ctx is done; and has redecide end the sessions of those that their source
// has no more, has disabled or has taken out of groups.
func (a *Accounts) FollowSources(ctx context.Context, live func() []string, redecide func(context.Context)) error {
	tick := time.NewTicker(saidTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.followLive(ctx, live())
		case <-a.sources.altered:
			redecide(ctx)
		}
	}
}

// followLive brings accounts up to date. One of which nothing can be said now stays as it is.
func (a *Accounts) followLive(ctx context.Context, users []string) {
	slices.Sort(users)
	for _, user := range slices.Compact(users) {
		r, err := a.find(ctx, user)
		if err != nil || r == nil || r.info.Source == "" || ctx.Err() != nil {
			continue
		}
		if _, err := a.followed(ctx, netip.Addr{}, user, r); err != nil {
			a.cfg.Log.Warn("a source does not say what became of an account", "user", user, "err", err)
		}
	}
}
