package auth

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gateway/auth/hashes"
	"gateway/session"
	"gateway/store"
)

// maxAccounts is how many accounts there may be. Each takes about 1 KiB of
// memory.
const maxAccounts = 250_000

// keyName is the secret in the store that is Accounts.key.
const (
	keyName  = "credentials"
	keyBytes = 32
)

// Budget says when a password may be hashed.
type Budget interface {
	// Acquire waits for a place to hash with memKiB of memory on behalf of source.
	// release gives it back and is called once. The error is
	// session.ErrUnavailable or session.ErrTooMany when there is no place, or the
	// context's.
	Acquire(ctx context.Context, source netip.Addr, memKiB int) (release func(), err error)
	// AcquireHeavy is Acquire for a hash of the heavy class (hashes.Heavy). release is
	// told whether the password was right.
	AcquireHeavy(ctx context.Context, source netip.Addr, memKiB int) (release func(right bool), err error)
	// AcquireIdle is Acquire for work that can wait until nobody else has any.
	AcquireIdle(ctx context.Context, memKiB int) (release func(), err error)
}

// Config is what Accounts are made of. The zero value is good for whoever only
// makes changes.
type Config struct {
	// Budget bounds the hashing of logins. Nil means one hash at a time, with all
	// others waiting.
	Budget Budget
	// Sealer keeps the secrets of one-time codes. Without it none can be made, and no
	// code is right.
	Sealer *store.Sealer
	// Elsewhere returns who is asked about the passwords of accounts in some groups that
	// have none here, nil for nobody. Nil means nobody.
	Elsewhere func(groups []string, now time.Time) Elsewhere
	// Newcomers returns how accounts are made of names that the store does not have; Nil, and
	// one without By, mean not at all. There are no Sources then.
	Newcomers func(now time.Time) Newcomers
	// Asked is told of each question to an Elsewhere and its answer. May be nil.
	Asked func(user, by string, right bool, err error)
	// Renewed is told of each hash that was replaced by a better one, with the schemes of
	// both. May be nil.
	Renewed func(user, before, after string)
	// Sources are asked about names that the store does not have, in that order.
	Sources []Source
	// SourceBudget says whether one at remote may ask about one more name. Nil means as many
	// as they like. The error is a session.ErrTooMany.
	SourceBudget func(remote netip.Addr) error
	// Recorded makes a change of an account that "source NAME" or "old_server NAME" (by) is
	// the cause of, and records it. Nil means that it is only made.
	Recorded func(ctx context.Context, by string, verb session.Verb, user string, change func() (Change, error)) error
	// Log gets what an operator should look at. Nil means slog.Default.
	Log *slog.Logger
}

// Accounts are the accounts of this installation. The methods may be called
// from any goroutine.
type Accounts struct {
	db    *store.DB
	cfg   Config
	memo  memo
	dummy hashes.Hash

	sources sources
	// key is the installation's, for the hashes of tokens and for what is made up for
	// names that do not exist.
	key []byte

	// mu guards what follows; whoever changes it holds refreshing too.
	mu      sync.RWMutex
	records map[string]*record         // by name
	groups  map[string]Allowance       // what was said of groups, by name
	trusts  map[string]*trust          // of whose keys, by name of the group
	members map[string]map[string]bool // the names of accounts, by that of the group
	phantom phantoms
	// stale says that records may not be what the store holds, because it could
	// not be read after a change. Nothing is answered from them until it was.
	stale atomic.Bool

	refreshing sync.Mutex // one refresh at a time, so that the last one wins
	hashing    sync.Mutex // one new password at a time: they are outside of the budget

	flights flights
	codes   wrongCodes
	history history

	offered    noted[string, offeredKeys] // by the account's name
	used       noted[string, usedKeys]    // the same
	usedTokens noted[string, tokenUse]    // by the token's id

	suspects chan suspect
	renewals chan renewal
	weak     chan struct{} // holds one when there may be hashes to wrap
}

// Open reads the accounts from db, which must stay open for as long as they are
// used.
func Open(ctx context.Context, db *store.DB, cfg Config) (*Accounts, error) {
	if cfg.Budget == nil {
		cfg.Budget = make(oneAtATime, 1)
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	key, err := db.Secret(ctx, keyName, keyBytes)
	if err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	a := &Accounts{db: db, cfg: cfg, memo: newMemo(), dummy: hashes.Dummy(), key: key, suspects: make(chan suspect, maxSuspects),
		renewals: make(chan renewal, maxRenewals), weak: make(chan struct{}, 1)}
	a.sources = sources{all: cfg.Sources, budget: cfg.SourceBudget, altered: make(chan struct{}, 1)}
	a.weak <- struct{}{} // of an import while nothing ran
	if a.phantom.key, err = db.Secret(ctx, "phantoms", phantomKeySize); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	if err := a.sealBareTOTP(ctx); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	if err := a.refreshAll(ctx, true); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	if err := a.loadHistory(ctx); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	for name, t := range a.trusts {
		if t.unreadable != nil {
			cfg.Log.Error("no key of a member is good until the revocation list of the group is set again", "group", name, "err", t.unreadable)
		}
	}
	for name, r := range a.records {
		if r.unreadable != nil {
			cfg.Log.Warn("password cannot be used until it is set again", "user", name, "err", r.unreadable)
		}
	}
	return a, nil
}

// find returns the account of that name, nil if there is none.
func (a *Accounts) find(ctx context.Context, name string) (*record, error) {
	if a.stale.Load() {
		if err := a.refreshAll(ctx, false); err != nil {
			return nil, fmt.Errorf("read accounts: %w: %w", session.ErrUnavailable, err)
		}
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.records[name], nil
}

// refreshAll puts what the store holds in the place of what was known, if that
// is stale or always.
func (a *Accounts) refreshAll(ctx context.Context, always bool) error {
	a.refreshing.Lock()
	defer a.refreshing.Unlock()
	if !always && !a.stale.Load() {
		return nil // somebody else has done it meanwhile
	}
	var all map[string]*record
	var groups map[string]Allowance
	var trusts map[string]*trust
	err := a.db.Read(ctx, func(tx *sql.Tx) (err error) {
		if all, err = loadAll(ctx, tx); err != nil {
			return err
		}
		if groups, err = loadGroups(ctx, tx, ""); err != nil {
			return err
		}
		trusts, err = loadTrusts(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	work, members := newAccesses(groups), make(map[string]map[string]bool)
	for _, r := range all {
		r.access, r.mail = work.of(&r.info), work.mailOf(&r.info)
		enrol(members, r, true)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.records, a.groups, a.trusts, a.members = all, groups, trusts, members
	a.phantom.set(all)
	a.stale.Store(false)
	return nil
}

// refresh does so for one account, after it was or may have been changed. If it
// cannot, nothing more is answered until the store can be read again: an
// account that was disabled must not go on because the disk failed.
func (a *Accounts) refresh(ctx context.Context, name string) {
	a.refreshing.Lock()
	defer a.refreshing.Unlock()
	var found map[string]*record
	err := a.db.Read(ctx, func(tx *sql.Tx) (err error) {
		found, err = load(ctx, tx, " WHERE a.name = $1", name)
		return err
	})
	if err != nil {
		a.stale.Store(true)
		a.cfg.Log.Error("accounts cannot be read", "err", err)
		return
	}
	r, ok := found[name]
	if ok {
		work := newAccesses(a.groups)
		r.access, r.mail = work.of(&r.info), work.mailOf(&r.info)
	}
	if gone := a.replace(name, r); gone != 0 {
		a.forget(gone)
	}
}

// replace puts r in the place of what was known of the account; nil is that it was
// removed. It returns the id of the account that is no longer there, if one is not.
func (a *Accounts) replace(name string, r *record) (gone int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, known := a.records[name]; known {
		enrol(a.members, old, false)
		delete(a.records, name)
		if r == nil || r.id != old.id {
			gone = old.id
		}
	}
	if r != nil {
		enrol(a.members, r, true)
		a.records[name] = r
	}
	a.phantom.put(name, r != nil)
	return gone
}

// refreshGroup does so for what was said of one group, and works out anew what
// its members may do. Nothing else about them changes, their generation and what
// is remembered of their passwords least of all.
func (a *Accounts) refreshGroup(ctx context.Context, name string) {
	a.refreshing.Lock()
	defer a.refreshing.Unlock()
	var found map[string]Allowance
	err := a.db.Read(ctx, func(tx *sql.Tx) (err error) {
		found, err = loadGroups(ctx, tx, " WHERE g.name = $1", name)
		return err
	})
	if err != nil {
		a.stale.Store(true)
		a.cfg.Log.Error("accounts cannot be read", "err", err)
		return
	}
	// Worked out before anybody has to wait for it: only who holds refreshing
	// changes what is read here.
	groups := maps.Clone(a.groups)
	delete(groups, name)
	maps.Copy(groups, found)
	work := newAccesses(groups)
	changed := make(map[string]*record, len(a.members[name]))
	for member := range a.members[name] {
		r := *a.records[member]
		r.access, r.mail = work.of(&r.info), work.mailOf(&r.info)
		changed[member] = &r
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.groups = groups
	maps.Copy(a.records, changed)
}

// enrol makes r a member of its groups, or takes it out of them.
func enrol(members map[string]map[string]bool, r *record, in bool) {
	for _, g := range r.info.Groups {
		if !in {
			if delete(members[g], r.info.Name); len(members[g]) == 0 {
				delete(members, g)
			}
			continue
		}
		if members[g] == nil {
			members[g] = make(map[string]bool)
		}
		members[g][r.info.Name] = true
	}
}

// oneAtATime is the Budget of whoever has none.
type oneAtATime chan struct{}

func (o oneAtATime) AcquireIdle(ctx context.Context, memKiB int) (func(), error) {
	return o.Acquire(ctx, netip.Addr{}, memKiB)
}

func (o oneAtATime) AcquireHeavy(ctx context.Context, source netip.Addr, memKiB int) (func(bool), error) {
	release, err := o.Acquire(ctx, source, memKiB)
	return func(bool) { release() }, err
}

func (o oneAtATime) Acquire(ctx context.Context, _ netip.Addr, _ int) (func(), error) {
	select {
	case o <- struct{}{}:
		return func() { <-o }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
