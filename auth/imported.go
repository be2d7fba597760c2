package auth

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"gateway/auth/hashes"
)

// imported is what is remembered of a password whose hash came from another program.
// The zero value is of one that was set here.
type imported struct {
	scheme string    // of its hash then
	proven time.Time // the first good login since; zero if there was none
	wasIn  string    // latin1 if its hash was of that
}

// latin1 is what the store calls it.
const latin1 = "latin-1"

// SetHash gives the account a password of which only the hash is known, as another
// program stored it, in place of the one it had. The hash is stored as it is given; one
// that is Weak is wrapped later, by WrapHashes, if the caller has not wrapped it. The
// first good login replaces it (RenewHashes). Errors: ErrInvalid, ErrNotExist.
func (a *Accounts) SetHash(ctx context.Context, name string, hash hashes.Hash) (Change, error) {
	c, err := a.edit(ctx, "set password hash of", name, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
		if err := dropOffers(ctx, tx, before.id); err != nil {
			return err
		}
		return putHash(ctx, tx, before.id, hash, now)
	})
	if err == nil {
		a.lookForWeak()
	}
	return c, err
}

// putHash stores an imported hash in place of the password that the account has, if it
// has one.
func putHash(ctx context.Context, tx *sql.Tx, account int64, hash hashes.Hash, now int64) error {
	text := hash.Encode()
	if text == "" {
		return invalid("password", "there is no hash")
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM account_passwords WHERE account = $1`, account); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO account_passwords (account, hash, changed, imported) VALUES ($1, $2, $3, $4)`,
		account, text, now, hash.Original())
	return err
}

// lookForWeak has WrapHashes look at all hashes again.
func (a *Accounts) lookForWeak() {
	select {
	case a.weak <- struct{}{}:
	default: // it will anyway
	}
}

// WrapHashes wraps the weak hashes that an import left, one by one, when nobody else
// hashes, until ctx is done. What is wrapped is on disk when the next one begins.
func (a *Accounts) WrapHashes(ctx context.Context) error {
	for {
		select {
		case <-a.weak:
		case <-ctx.Done():
			return nil
		}
		a.wrapWeak(ctx)
	}
}

func (a *Accounts) wrapWeak(ctx context.Context) {
	for name, r := range a.withWeakHash() {
		switch err := a.wrapOne(ctx, name, r); {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.cfg.Log.Error("a weak password hash is not wrapped", "user", name, "err", err)
		}
	}
}

func (a *Accounts) withWeakHash() map[string]*record {
	a.mu.RLock()
	defer a.mu.RUnlock()
	found := make(map[string]*record)
	for name, r := range a.records {
		if r.hash.Weak() {
			found[name] = r
		}
	}
	return found
}

func (a *Accounts) wrapOne(ctx context.Context, name string, r *record) error {
	release, err := a.cfg.Budget.AcquireIdle(ctx, a.dummy.Price().MemoryKiB)
	if err != nil {
		return err
	}
	wrapped, err := r.hash.Wrap()
	release()
	if err != nil {
		return err
	}
	err = a.replaceHash(ctx, name, r, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE account_passwords SET hash = $2 WHERE id = $1`, r.password, wrapped.Encode())
		return err
	})
	if err == nil {
		a.renewed(name, r.hash, wrapped.Encode())
	}
	return err
}

// errReplaced is a hash that was replaced by another before this could be.
var errReplaced = errors.New("the password was changed meanwhile")

// replaceHash changes how the password of r is stored, if it still is as in r. It is
// the same password: it keeps its id, and with it what is known of it.
func (a *Accounts) replaceHash(ctx context.Context, name string, r *record, change func(ctx context.Context, tx *sql.Tx) error) error {
	through := context.WithoutCancel(ctx)
	err := a.db.Write(through, func(tx *sql.Tx) error {
		var text string
		err := tx.QueryRowContext(through, `SELECT hash FROM account_passwords WHERE id = $1`, r.password).Scan(&text)
		if errors.Is(err, sql.ErrNoRows) || err == nil && text != r.hash.Encode() {
			return errReplaced
		}
		if err != nil {
			return err
		}
		return change(through, tx)
	})
	if errors.Is(err, errReplaced) {
		return nil
	}
	a.refresh(through, name) // also after an error, which may have come too late
	return err
}

// HashInfo is how the password of an account is stored.
type HashInfo struct {
	User   string
	Scheme string
	Price  hashes.Price
	// Imported is the scheme that the hash had when it was imported; empty of a password
	// that was set here. Proven is the first good login since then, or zero.
	Imported string
	Proven   time.Time
	// Truncates is how many bytes of the password count; 0 is all.
	Truncates int
	// WasInLatin1 says that the password was found out to be in Latin-1, and is stored in
	// UTF-8 since.
	WasInLatin1 bool
	// Unreadable is why the hash cannot be used; nil if it can.
	Unreadable error
}

// Hashes says how each password is stored, by the names of the accounts.
func (a *Accounts) Hashes(ctx context.Context) ([]HashInfo, error) {
	if _, err := a.find(ctx, ""); err != nil { // reads again what is stale
		return nil, fmt.Errorf("list password hashes: %w", err)
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	list := []HashInfo{}
	for name, r := range a.records {
		if r.password == 0 && r.unreadable == nil {
			continue
		}
		list = append(list, HashInfo{
			User: name, Scheme: r.hash.Scheme(), Price: r.hash.Price(), Truncates: r.hash.Truncates(), Unreadable: r.unreadable,
			Imported: r.imported.scheme, Proven: r.imported.proven, WasInLatin1: r.imported.wasIn != "",
		})
	}
	slices.SortFunc(list, func(x, y HashInfo) int { return cmp.Compare(x.User, y.User) })
	return list, nil
}
