package auth

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"gateway/session"
)

// usedTime is how long it is only noted that a key was used. Who crashes within it
// shows the key as pending until its next login.
const usedTime = time.Second

// Enrol gives the account the keys of a file that the account brought by itself,
// all or none. Those that it has stay as they are, and none is taken away. The
// others are pending: they are good, and marked until one has logged in (Used).
//
// What AddKeys would refuse is refused here too, and besides, whatever would let in
// more than the key itself: an authority, or the key of a TLS client certificate,
// which authorized_keys never holds. Errors: ErrInvalid, ErrNotExist.
func (a *Accounts) Enrol(ctx context.Context, name string, file []byte) (Change, error) {
	if holdsPEM(file) {
		return Change{}, invalid("key file", "certificates and keys as PEM are for an administrator to add")
	}
	keys, err := ParseKeys(file, time.Now())
	if err != nil {
		return Change{}, err
	}
	for _, k := range keys {
		if k.options.authority {
			return Change{}, invalid("key", "option %q is for an administrator to give", optAuthority)
		}
	}
	return a.newKey(a.write(ctx, "enrol key of", name, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
		if before == nil {
			return errNoAccount
		}
		seen := make(map[string]bool)
		for _, k := range before.info.Keys {
			seen[k.Fingerprint] = true
		}
		fresh := slices.DeleteFunc(keys, func(k Key) bool {
			known := seen[k.Fingerprint]
			seen[k.Fingerprint] = true
			return known
		})
		if len(fresh) == 0 {
			return nil // nothing changes, its generation least of all
		}
		if err := putKeys(ctx, tx, before, now, fresh...); err != nil {
			return err
		}
		for _, k := range fresh {
			if err := setPending(ctx, tx, before.id, k.Fingerprint, pendingFile); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `UPDATE accounts SET changed = $2 WHERE id = $1`, before.id, now)
		return err
	}))
}

// pendingKind is what a key waits for, as it is stored.
type pendingKind int

const (
	settled pendingKind = iota
	// pendingFile is a key that was brought in a file, and is good.
	pendingFile
	// pendingOffer is a key that was only offered: its options limit it, and go when it
	// has logged in.
	pendingOffer
)

func setPending(ctx context.Context, tx *sql.Tx, account int64, fingerprint string, kind pendingKind) error {
	_, err := tx.ExecContext(ctx, `UPDATE account_keys SET pending = $3 WHERE account = $1 AND fingerprint = $2`, account, fingerprint, kind)
	return err
}

// settle takes the mark from a key that has logged in.
func settle(ctx context.Context, tx *sql.Tx, account int64, fingerprint string) error {
	_, err := tx.ExecContext(ctx, `UPDATE account_keys SET options = CASE WHEN pending = $4 THEN '' ELSE options END, pending = $3
		WHERE account = $1 AND fingerprint = $2`, account, fingerprint, settled, pendingOffer)
	return err
}

// usedKeys are keys of one account. It may be removed, and another made by its
// name, before they are stored.
type usedKeys struct {
	account      int64
	fingerprints []string
}

// Used tells that the key took part in a login of the account that was granted. It
// does nothing that takes time.
func (a *Accounts) Used(name string, key session.Key) {
	a.mu.RLock()
	r := a.records[name]
	a.mu.RUnlock()
	if r == nil || r.pending[idOf(key)] == settled {
		return
	}
	a.used.note(usedTime, func() { a.storeUsed(context.Background()) }, func(noted map[string]usedKeys) {
		keys := noted[name]
		if keys.account != r.id {
			keys = usedKeys{account: r.id}
		}
		if !slices.Contains(keys.fingerprints, key.Fingerprint) { // at most maxKeys: the account has them
			keys.fingerprints = append(keys.fingerprints, key.Fingerprint)
		}
		noted[name] = keys
	})
}

// storeUsed takes the mark from the keys that are noted. The generation of their
// accounts stays, for a login may be under way. Where it fails, they stay pending
// until they are used again, and nobody is kept waiting for that.
func (a *Accounts) storeUsed(ctx context.Context) {
	through := context.WithoutCancel(ctx)
	_ = a.used.take(func(noted map[string]usedKeys) error {
		err := a.db.Write(through, func(tx *sql.Tx) error {
			for _, keys := range noted {
				for _, fingerprint := range keys.fingerprints {
					if err := settle(through, tx, keys.account, fingerprint); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			a.cfg.Log.Error("keys stay pending until they are used again", "err", err)
		}
		for name := range noted {
			a.refresh(through, name)
		}
		return err
	})
}
