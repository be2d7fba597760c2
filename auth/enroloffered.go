package auth

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

// offerTime is how long a key that was only offered may wait for its first login.
const offerTime = 30 * 24 * time.Hour

// Enrollable lists those of keys that EnrolOffered would give the account. It reads
// memory only.
func (a *Accounts) Enrollable(name string, keys []session.Key) []session.Key {
	a.mu.RLock()
	r := a.records[name]
	a.mu.RUnlock()
	if r == nil {
		return nil
	}
	return r.enrollable(keys)
}

// enrollable leaves out what the account has for good, what an administrator has to
// look at, and what there is no room for.
func (r *record) enrollable(keys []session.Key) []session.Key {
	var out []session.Key
	room := maxKeys - len(r.info.Keys)
	for _, key := range keys {
		_, has := r.keys[idOf(key)]
		waits := r.pending[idOf(key)] == pendingOffer
		unfit := key.Algorithm == session.KeyX509 || isUserCert(key.Algorithm) || len(key.Blob) > maxOfferedBytes
		if unfit || has && !waits || !waits && room == 0 || slices.Contains(out, key) {
			continue
		}
		if pub, err := ssh.ParsePublicKey([]byte(key.Blob)); err != nil || checkKey(pub) != nil {
			continue
		}
		if !waits {
			room--
		}
		out = append(out, key)
	}
	return out
}

// EnrolOffered gives the account those of keys that are Enrollable, which a client at
// source said that it has before it logged in by password. Nobody has proven to hold
// them. So each is pending: until it has logged in (Used), it is good from the network
// of source only, and for offerTime; and a new password takes it away. Errors:
// ErrInvalid, ErrNotExist.
func (a *Accounts) EnrolOffered(ctx context.Context, name string, keys []session.Key, source netip.Addr) (Change, error) {
	network := session.SourcePrefix(source.Unmap().WithZone(""))
	if !network.IsValid() {
		return Change{}, invalid("key", "it is not known from where it was offered")
	}
	now := time.Now()
	limits := []string{
		fmt.Sprintf("%s=%q", optExpiry, now.Add(offerTime).UTC().Format("20060102150405Z")),
		fmt.Sprintf("%s=%q", optFrom, network),
	}
	return a.edit(ctx, "enrol offered key of", name, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
		for _, key := range before.enrollable(keys) {
			if before.pending[idOf(key)] == pendingOffer { // offered from elsewhere, or too long ago
				if _, err := tx.ExecContext(ctx, `DELETE FROM account_keys WHERE account = $1 AND fingerprint = $2`, before.id, key.Fingerprint); err != nil {
					return err
				}
			}
			k := Key{
				Algorithm: key.Algorithm, Fingerprint: key.Fingerprint, blob: key.Blob, Options: limits,
				Comment: "offered from " + source.Unmap().WithZone("").String(),
			}
			if err := putKeys(ctx, tx, before, now, k); err != nil {
				return err
			}
			if err := setPending(ctx, tx, before.id, key.Fingerprint, pendingOffer); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropOffers takes away the keys that were only offered: by somebody who knew a
// password that is no longer the account's.
func dropOffers(ctx context.Context, tx *sql.Tx, account int64) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM account_keys WHERE account = $1 AND pending = $2`, account, pendingOffer)
	return err
}
