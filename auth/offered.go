package auth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/store"
)

const (
	// maxOffered is how many keys that it does not have are remembered of one
	// account; the one offered last before all others goes first.
	maxOffered = 16
	// maxOfferedInAll is the same of all accounts together.
	maxOfferedInAll = 10_000
	// maxNoted is of how many accounts something is noted that is not stored yet.
	// What comes beyond it is not remembered.
	maxNoted        = 512
	maxOfferedBytes = 4 << 10 // of one key; RSA of 16384 bits takes 2.1 KiB
	// offeredTime is how long it is only noted.
	offeredTime = time.Minute
)

// OfferedKey is a key that clients of an account offered, and that it does not
// have. Nobody has proven to hold it.
type OfferedKey struct {
	Algorithm   string    `json:"algorithm"`
	Fingerprint string    `json:"fingerprint"`
	Count       int64     `json:"count"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	From        string    `json:"from"` // the last address

	blob string
}

// noteOffered remembers that a key was offered for an account that does not have
// it. It does nothing that takes time.
func (a *Accounts) noteOffered(name string, source netip.Addr, key session.Key, now time.Time) {
	if key.Algorithm == session.KeyX509 || isUserCert(key.Algorithm) || len(key.Blob) > maxOfferedBytes {
		return
	}
	a.offered.note(offeredTime, func() {
		if err := a.storeOffered(context.Background()); err != nil {
			a.cfg.Log.Error("offered keys are not remembered", "err", err)
		}
	}, func(noted map[string]offeredKeys) {
		keys := noted[name]
		if keys == nil {
			if len(noted) >= maxNoted {
				return
			}
			keys = make(offeredKeys)
			noted[name] = keys
		}
		keys.add(key, source, now)
	})
}

// offeredKeys are those of one account that are noted.
type offeredKeys map[keyID]*OfferedKey

func (o offeredKeys) add(key session.Key, source netip.Addr, now time.Time) {
	k := o[idOf(key)]
	if k == nil {
		if len(o) >= maxOffered {
			return
		}
		k = &OfferedKey{Algorithm: key.Algorithm, Fingerprint: key.Fingerprint, First: now, blob: key.Blob}
		o[idOf(key)] = k
	}
	k.Count++
	k.Last, k.From = now, source.Unmap().WithZone("").String()
}

// storeOffered stores what is noted.
func (a *Accounts) storeOffered(ctx context.Context) error {
	through := context.WithoutCancel(ctx)
	return a.offered.take(func(noted map[string]offeredKeys) error {
		return a.db.Write(ctx, func(tx *sql.Tx) error {
			for name, keys := range noted {
				if err := putAllOffered(through, tx, name, keys); err != nil {
					return err
				}
			}
			_, err := tx.ExecContext(through, `DELETE FROM account_offered_keys WHERE id NOT IN
				(SELECT id FROM account_offered_keys ORDER BY last DESC, id DESC LIMIT $1)`, maxOfferedInAll)
			return err
		})
	})
}

// putAllOffered stores the keys of one account, unless it was removed meanwhile.
func putAllOffered(ctx context.Context, tx *sql.Tx, name string, keys offeredKeys) error {
	var id int64
	err := tx.QueryRowContext(ctx, `SELECT id FROM accounts WHERE name = $1`, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := putOffered(ctx, tx, id, k); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM account_offered_keys WHERE account = $1 AND id NOT IN
		(SELECT id FROM account_offered_keys WHERE account = $1 ORDER BY last DESC, id DESC LIMIT $2)`, id, maxOffered)
	return err
}

// putOffered stores one key, unless the account was given it meanwhile.
func putOffered(ctx context.Context, tx *sql.Tx, account int64, k *OfferedKey) error {
	var has bool
	err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM account_keys WHERE account = $1 AND fingerprint = $2)`, account, k.Fingerprint).Scan(&has)
	if err != nil || has {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO account_offered_keys (account, fingerprint, algorithm, blob, count, first, last, source)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (account, fingerprint) DO UPDATE SET count = account_offered_keys.count + excluded.count, last = excluded.last, source = excluded.source`,
		account, k.Fingerprint, k.Algorithm, []byte(k.blob), k.Count, k.First.UnixMicro(), k.Last.UnixMicro(), k.From)
	return err
}

// Close stores what is only noted. The store must still be open; nothing is noted
// afterwards.
func (a *Accounts) Close(ctx context.Context) error {
	a.used.close()
	a.storeUsed(ctx)
	a.usedTokens.close()
	a.storeTokensUsed(ctx)
	a.storeHistory(ctx)
	a.history.changed.close()
	a.offered.close()
	return a.storeOffered(ctx)
}

// OfferedKeys lists the keys that clients of the account offered and that it does
// not have, the last one first. Errors: ErrNotExist.
func (a *Accounts) OfferedKeys(ctx context.Context, name string) ([]OfferedKey, error) {
	r, err := a.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, about(name, errNoAccount)
	}
	if err := a.storeOffered(ctx); err != nil {
		return nil, err
	}
	var list []OfferedKey
	err = a.db.Read(ctx, func(tx *sql.Tx) (err error) {
		list, err = readOffered(ctx, tx, r.id)
		return err
	})
	return list, err
}

func readOffered(ctx context.Context, tx *sql.Tx, account int64) ([]OfferedKey, error) {
	rows, err := tx.QueryContext(ctx, `SELECT algorithm, fingerprint, blob, count, first, last, source FROM account_offered_keys
		WHERE account = $1 ORDER BY last DESC, id DESC`, account)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []OfferedKey
	for rows.Next() {
		var k OfferedKey
		var blob []byte
		var first, last int64
		if err := rows.Scan(&k.Algorithm, &k.Fingerprint, &blob, &k.Count, &first, &last, &k.From); err != nil {
			return nil, err
		}
		k.blob, k.First, k.Last = string(blob), fromMicros(first), fromMicros(last)
		list = append(list, k)
	}
	return list, rows.Err()
}

// AcceptKey gives the account a key that was offered for it, as AddKeys would.
// Errors: ErrInvalid, ErrNotExist.
func (a *Accounts) AcceptKey(ctx context.Context, name, fingerprint string) (Change, error) {
	if err := a.storeOffered(ctx); err != nil {
		return Change{}, err
	}
	return a.newKey(a.edit(ctx, "accept key for", name, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
		list, err := readOffered(ctx, tx, before.id)
		if err != nil {
			return err
		}
		for _, k := range list {
			if k.Fingerprint != fingerprint {
				continue
			}
			pub, err := ssh.ParsePublicKey([]byte(k.blob))
			if err != nil {
				return invalid("key", "it cannot be read")
			}
			if err := checkKey(pub); err != nil {
				return err
			}
			return putKeys(ctx, tx, before, now, Key{
				Algorithm: k.Algorithm, Fingerprint: k.Fingerprint, blob: k.blob, Comment: "offered from " + k.From,
			})
		}
		return fmt.Errorf("%q: %w", clip(fingerprint), errNotOffered)
	}))
}

// putKeys stores keys of an account. One that was only offered is so no longer.
func putKeys(ctx context.Context, tx *sql.Tx, before *record, now int64, keys ...Key) error {
	if len(before.info.Keys)+len(keys) > maxKeys {
		return invalid("keys", "an account has at most %d", maxKeys)
	}
	for _, k := range keys {
		_, err := tx.ExecContext(ctx, `INSERT INTO account_keys (account, fingerprint, algorithm, blob, comment, added, options) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			before.id, k.Fingerprint, k.Algorithm, []byte(k.blob), k.Comment, now, strings.Join(k.Options, "\n"))
		if store.Conflict(err) {
			return fmt.Errorf("%s: %w", k.Fingerprint, errKeyTwice)
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM account_offered_keys WHERE account = $1 AND fingerprint = $2`, before.id, k.Fingerprint); err != nil {
			return err
		}
	}
	return nil
}
