package auth

import (
	"context"
	"database/sql"
	"net/netip"
	"time"
	"unicode/utf8"

	"gateway/auth/hashes"
	"gateway/session"
)

const (
	// maxRenewals is how many passwords wait to be hashed anew. Of further ones the hash
	// stays until their next login that is hashed.
	maxRenewals = 256
	// renewalWait is how long after the login a password is hashed anew, so that it is out
	// of the time of the answer; renewalTime how long it is kept for that at most.
	renewalWait = time.Second
	renewalTime = time.Minute
)

// A renewal is a password that was just proven, and whose hash is not as it would be made
// now.
type renewal struct {
	user   string
	source netip.Addr
	with   stored
	// as is the form of the password that the hash was made of, which need not be the one
	// that was sent.
	as    session.Secret
	since time.Time
}

// toRenew notes that the hash of an account is to be replaced, if it is.
func (a *Accounts) toRenew(user string, source netip.Addr, with stored, as string) {
	unproven := with.from.scheme != "" && with.from.proven.IsZero()
	if with.id == 0 || with.hash.Current() && !toUTF8(with.hash, as) && !unproven {
		return
	}
	select {
	case a.renewals <- renewal{user, source, with, session.NewSecret(as), time.Now()}:
	default: // the next login will
	}
}

// toUTF8 reports whether a password is to be stored in UTF-8 instead of the form that its
// hash was made of. One that was cut off stays: where it was cut is in bytes.
func toUTF8(h hashes.Hash, as string) bool { return !utf8.ValidString(as) && h.Truncates() == 0 }

// RenewHashes replaces the hashes of passwords that were just proven by argon2id at its
// present price, until ctx is done: after the answer to the login, among the hashes of
// others, and never in the class of heavy ones. The password stays the same: that it
// was exposed, and when it was set, remains known. What is not done when ctx ends is done
// after the next login.
func (a *Accounts) RenewHashes(ctx context.Context) error {
	for {
		select {
		case r := <-a.renewals:
			if err := a.renew(ctx, r); err != nil && ctx.Err() == nil {
				a.cfg.Log.Error("a password hash is not replaced", "user", r.user, "err", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *Accounts) renew(ctx context.Context, w renewal) error {
	select {
	case <-time.After(time.Until(w.since.Add(renewalWait))):
	case <-ctx.Done():
		return nil
	}
	r, err := a.find(ctx, w.user)
	if err != nil {
		return err
	}
	if r == nil || r.password != w.with.id || r.hash.Encode() != w.with.hash.Encode() {
		return nil // changed meanwhile, or renewed after another login
	}
	made, wasIn := secrets{hash: r.hash.Encode(), scram: r.scram}, r.imported.wasIn
	if recode := toUTF8(r.hash, w.as.Reveal()); recode || !r.hash.Current() {
		if made, err = a.remake(ctx, w, recode); err != nil {
			return err
		}
		if recode {
			wasIn = latin1
		}
	}
	err = a.replaceHash(ctx, w.user, r, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE account_passwords SET hash = $2, proven = CASE WHEN imported <> '' AND proven = 0 THEN $3 ELSE proven END, was_in = $4 WHERE id = $1`,
			r.password, made.hash, w.since.UnixMicro(), wasIn)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM account_scram WHERE password = $1`, r.password); err != nil {
			return err
		}
		return putSCRAM(ctx, tx, r.password, made.scram)
	})
	if err == nil {
		a.renewed(w.user, r.hash, made.hash)
	}
	return err
}

// renewed tells of a hash that was replaced by the one with that text.
func (a *Accounts) renewed(user string, before hashes.Hash, after string) {
	now, err := hashes.Parse(after)
	if err != nil || now.Scheme() == before.Scheme() && now.Encode() == before.Encode() {
		return // only that it was proven is new
	}
	a.cfg.Log.Info("password hash replaced", "user", user, "before", before.Scheme(), "after", now.Scheme())
	if a.cfg.Renewed != nil {
		a.cfg.Renewed(user, before.Scheme(), now.Scheme())
	}
}

// remake hashes the password within the budget. One of which only a part counts has no
// keys for SCRAM, which would be of all of it.
func (a *Accounts) remake(ctx context.Context, w renewal, recode bool) (secrets, error) {
	password := w.as.Reveal()
	if recode {
		password, _ = otherForm(password)
	}
	bounded, cancel := context.WithDeadline(ctx, w.since.Add(renewalTime))
	defer cancel()
	release, err := a.cfg.Budget.Acquire(bounded, w.source, a.dummy.Price().MemoryKiB)
	if err != nil {
		return secrets{}, err
	}
	defer release()
	hash := w.with.hash.Renew(password)
	made := secrets{hash: hash.Encode()}
	if hash.Truncates() == 0 {
		made.scram = newSCRAM(session.NewSecret(password))
	}
	return made, nil
}
