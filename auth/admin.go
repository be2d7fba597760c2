package auth

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xdg-go/scram"

	"gateway/auth/hashes"
	"gateway/session"
	"gateway/store"
)

// Change is what a change did, for the record: the account before, nil if there
// was none, and after, nil if there is none any more.
type Change struct {
	Before, After *Info
}

// New is what an account begins with.
type New struct {
	Groups []string
	// Route of its mail; empty means the default route.
	Route string
	// Password may be empty: then the account has none, and needs a key.
	Password session.Secret
	// Home and Expires are those of Info.
	Home    string
	Expires time.Time
	Allowance
}

// Update is what Set changes; nil leaves as it is.
type Update struct {
	Groups  *[]string
	Route   *string
	Home    *string    // "" is the folder of its name
	Expires *time.Time // zero is never
	AllowanceUpdate
}

// Add makes an account. Errors: ErrName, ErrInvalid, ErrExist.
func (a *Accounts) Add(ctx context.Context, name string, n New) (Change, error) {
	if err := CheckName(name); err != nil {
		return Change{}, err
	}
	groups, err := checkGroups(n.Groups)
	if err != nil {
		return Change{}, err
	}
	if err := checkRoute(n.Route); err != nil {
		return Change{}, err
	}
	if err := CheckHome(n.Home); err != nil {
		return Change{}, err
	}
	allowance, err := n.Allowance.checked()
	if err != nil {
		return Change{}, err
	}
	if a.count() >= maxAccounts {
		return Change{}, invalid("account", "there are %d accounts, which is the most", maxAccounts)
	}
	var password secrets
	if !n.Password.Empty() {
		if password, err = a.newSecrets(n.Password); err != nil {
			return Change{}, err
		}
	}
	return a.write(ctx, "add", name, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
		if before != nil {
			return nameTaken(&before.info)
		}
		var id int64
		err := tx.QueryRowContext(ctx, `INSERT INTO accounts (name, route, home, expires, created, changed) VALUES ($1, $2, $3, $4, $5, $5) RETURNING id`,
			name, n.Route, n.Home, toMicros(n.Expires), now).Scan(&id)
		if err != nil {
			return err
		}
		if err := putGroups(ctx, tx, id, groups); err != nil {
			return err
		}
		if err := putAccountAllowance(ctx, tx, id, allowance); err != nil {
			return err
		}
		if n.Password.Empty() {
			return nil
		}
		return putPassword(ctx, tx, id, password, now)
	})
}

// List returns all accounts by name.
func (a *Accounts) List(ctx context.Context) ([]Info, error) {
	a.storeUsed(ctx)
	a.storeTokensUsed(ctx)
	if _, err := a.find(ctx, ""); err != nil { // reads again what is stale
		return nil, err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	list := make([]Info, 0, len(a.records))
	for _, r := range a.records {
		list = append(list, *r.info.clone())
	}
	slices.SortFunc(list, func(x, y Info) int { return cmp.Compare(x.Name, y.Name) })
	return list, nil
}

// Show returns one account. Errors: ErrNotExist.
func (a *Accounts) Show(ctx context.Context, name string) (Info, error) {
	a.storeUsed(ctx)
	a.storeTokensUsed(ctx)
	r, err := a.find(ctx, name)
	if err != nil {
		return Info{}, err
	}
	if r == nil {
		return Info{}, about(name, errNoAccount)
	}
	return *r.info.clone(), nil
}

// Set changes groups, route, or what is allowed with files; a session keeps what
// it began with. Errors: ErrInvalid, ErrNotExist.
func (a *Accounts) Set(ctx context.Context, name string, u Update) (Change, error) {
	var groups []string
	if u.Groups != nil {
		var err error
		if groups, err = checkGroups(*u.Groups); err != nil {
			return Change{}, err
		}
	}
	if u.Route != nil {
		if err := checkRoute(*u.Route); err != nil {
			return Change{}, err
		}
	}
	if u.Home != nil {
		if err := CheckHome(*u.Home); err != nil {
			return Change{}, err
		}
	}
	return a.edit(ctx, "set", name, func(ctx context.Context, tx *sql.Tx, before *record, _ int64) error {
		if err := keptBySource(&before.info, "groups"); u.Groups != nil && err != nil {
			return err
		}
		if u.Home != nil {
			if _, err := tx.ExecContext(ctx, `UPDATE accounts SET home = $2 WHERE id = $1`, before.id, *u.Home); err != nil {
				return err
			}
		}
		if u.Expires != nil {
			if _, err := tx.ExecContext(ctx, `UPDATE accounts SET expires = $2 WHERE id = $1`, before.id, toMicros(*u.Expires)); err != nil {
				return err
			}
		}
		if u.Route != nil {
			if _, err := tx.ExecContext(ctx, `UPDATE accounts SET route = $2 WHERE id = $1`, before.id, *u.Route); err != nil {
				return err
			}
		}
		if !u.AllowanceUpdate.Empty() {
			allowance, err := u.Of(before.info.Allowance).checked()
			if err != nil {
				return err
			}
			if err := putAccountAllowance(ctx, tx, before.id, allowance); err != nil {
				return err
			}
		}
		if u.Groups == nil {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM account_groups WHERE account = $1`, before.id); err != nil {
			return err
		}
		return putGroups(ctx, tx, before.id, groups)
	})
}

// SetPassword gives the account a password in place of the one it had. What was
// remembered of that one is forgotten; to end the sessions that it opened is
// for the caller (session.Gate.Revoke). Errors: ErrInvalid, ErrNotExist.
func (a *Accounts) SetPassword(ctx context.Context, name string, password session.Secret) (Change, error) {
	info, err := a.Show(ctx, name)
	if err != nil { // before the price of a hash
		return Change{}, err
	}
	if err := keptBySource(&info, "password"); err != nil {
		return Change{}, about(name, err)
	}
	made, err := a.newSecrets(password)
	if err != nil {
		return Change{}, err
	}
	return a.edit(ctx, "set password of", name, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM account_passwords WHERE account = $1`, before.id); err != nil {
			return err
		}
		if err := dropOffers(ctx, tx, before.id); err != nil {
			return err
		}
		return putPassword(ctx, tx, before.id, made, now)
	})
}

// Disable makes the account unusable; its sessions are the caller's to end
// (session.Gate.Revoke). To disable it twice is no error. Errors: ErrNotExist.
func (a *Accounts) Disable(ctx context.Context, name string) (Change, error) {
	return a.setDisabled(ctx, "disable", name, true)
}

// Enable undoes Disable. Errors: ErrNotExist.
func (a *Accounts) Enable(ctx context.Context, name string) (Change, error) {
	return a.setDisabled(ctx, "enable", name, false)
}

func (a *Accounts) setDisabled(ctx context.Context, what, name string, disabled bool) (Change, error) {
	return a.edit(ctx, what, name, func(ctx context.Context, tx *sql.Tx, before *record, _ int64) error {
		_, err := tx.ExecContext(ctx, `UPDATE accounts SET disabled = $2 WHERE id = $1`, before.id, disabled)
		return err
	})
}

// Remove removes the account with all that belongs to it here; its files stay.
// Its sessions are the caller's to end. Errors: ErrNotExist.
func (a *Accounts) Remove(ctx context.Context, name string) (Change, error) {
	return a.write(ctx, "remove", name, func(ctx context.Context, tx *sql.Tx, before *record, _ int64) error {
		if before == nil {
			return errNoAccount
		}
		a.sources.lately.forget(a.memo.name(name)) // it may be admitted again
		_, err := tx.ExecContext(ctx, `DELETE FROM accounts WHERE id = $1`, before.id)
		return err
	})
}

// AddKeys gives the account the public keys of a file, all or none (ParseKeys
// tells the form). Errors: ErrInvalid, ErrNotExist, ErrExist.
func (a *Accounts) AddKeys(ctx context.Context, name string, file []byte) (Change, error) {
	keys, err := ParseKeys(file, time.Now())
	if err != nil {
		return Change{}, err
	}
	return a.newKey(a.edit(ctx, "add key to", name, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
		return putKeys(ctx, tx, before, now, keys...)
	}))
}

// newKey ends the exposure of an account to which a change gave a key.
func (a *Accounts) newKey(c Change, err error) (Change, error) {
	if err == nil && len(c.After.Keys) > len(c.Before.Keys) {
		a.forgetExposure(c.After.Name)
	}
	return c, err
}

// ListKeys returns the keys of the account. Errors: ErrNotExist.
func (a *Accounts) ListKeys(ctx context.Context, name string) ([]Key, error) {
	info, err := a.Show(ctx, name)
	return info.Keys, err
}

// RemoveKey takes the key with that fingerprint ("SHA256:...") away. Errors:
// ErrNotExist.
func (a *Accounts) RemoveKey(ctx context.Context, name, fingerprint string) (Change, error) {
	return a.edit(ctx, "remove key of", name, func(ctx context.Context, tx *sql.Tx, before *record, _ int64) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM account_keys WHERE account = $1 AND fingerprint = $2`, before.id, fingerprint)
		return oneRow(res, err, fmt.Errorf("%q: %w", clip(fingerprint), errNoKey))
	})
}

// AddAddress makes the account the owner of a mail sender (ParseAddress tells
// the form). An address has one owner. Errors: ErrInvalid, ErrNotExist,
// ErrExist.
func (a *Accounts) AddAddress(ctx context.Context, name, address string) (Change, error) {
	address, err := ParseAddress(address)
	if err != nil {
		return Change{}, err
	}
	return a.edit(ctx, "add address to", name, func(ctx context.Context, tx *sql.Tx, before *record, _ int64) error {
		if len(before.info.Addresses) >= maxAddresses {
			return invalid("addresses", "an account has at most %d", maxAddresses)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO account_addresses (address, account) VALUES ($1, $2)`, address, before.id)
		if !store.Conflict(err) {
			return err
		}
		var owner string
		err = tx.QueryRowContext(ctx, `SELECT a.name FROM accounts a JOIN account_addresses d ON d.account = a.id WHERE d.address = $1`, address).Scan(&owner)
		if err != nil {
			return err
		}
		return fmt.Errorf("%s: %w, %q", address, errAddressUsed, owner)
	})
}

// ListAddresses returns the mail senders of the account. Errors: ErrNotExist.
func (a *Accounts) ListAddresses(ctx context.Context, name string) ([]string, error) {
	info, err := a.Show(ctx, name)
	return info.Addresses, err
}

// RemoveAddress takes a mail sender away. Errors: ErrNotExist.
func (a *Accounts) RemoveAddress(ctx context.Context, name, address string) (Change, error) {
	return a.edit(ctx, "remove address of", name, func(ctx context.Context, tx *sql.Tx, before *record, _ int64) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM account_addresses WHERE account = $1 AND address = $2`, before.id, strings.ToLower(address))
		return oneRow(res, err, fmt.Errorf("%q: %w", clip(address), errNoAddress))
	})
}

// editor makes one change in a transaction; before is the account, nil if there
// is none.
type editor func(ctx context.Context, tx *sql.Tx, before *record, now int64) error

// edit is write for an account that must exist. It is marked as changed.
func (a *Accounts) edit(ctx context.Context, what, name string, f editor) (Change, error) {
	return a.write(ctx, what, name, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
		if before == nil {
			return errNoAccount
		}
		if err := f(ctx, tx, before, now); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE accounts SET changed = $2 WHERE id = $1`, before.id, now)
		return err
	})
}

// write runs one change and makes it known. When it returns, no answer is given
// any more that the change made untrue.
func (a *Accounts) write(ctx context.Context, what, name string, f editor) (Change, error) {
	// Once begun it is seen through, whoever is waiting for it.
	through := context.WithoutCancel(ctx)
	var c Change
	err := a.db.Write(ctx, func(tx *sql.Tx) error {
		before, err := loadOne(through, tx, name)
		if err != nil && !errors.Is(err, errNoAccount) {
			return err
		}
		if err := f(through, tx, before, time.Now().UnixMicro()); err != nil {
			return err
		}
		after, err := loadOne(through, tx, name)
		if err != nil && !errors.Is(err, errNoAccount) {
			return err
		}
		c = Change{Before: describe(before), After: describe(after)}
		return nil
	})
	a.memo.forget(a.memo.name(name))
	a.refresh(through, name) // also after an error, which may have come too late
	if err != nil {
		return Change{}, fmt.Errorf("%s %w", what, about(name, err))
	}
	return c, nil
}

func describe(r *record) *Info {
	if r == nil {
		return nil
	}
	return r.info.clone()
}

func about(name string, err error) error { return fmt.Errorf("account %q: %w", clip(name), err) }

// secrets are what is stored of a password.
type secrets struct {
	hash  string
	scram *scram.StoredCredentials // may be nil
}

// newSecrets hashes a password that is to be stored.
func (a *Accounts) newSecrets(password session.Secret) (secrets, error) {
	if err := checkPassword(password); err != nil {
		return secrets{}, err
	}
	a.hashing.Lock()
	defer a.hashing.Unlock()
	return secrets{hash: hashes.New(password.Reveal()).Encode(), scram: newSCRAM(password)}, nil
}

func (a *Accounts) count() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return len(a.records)
}

func putGroups(ctx context.Context, tx *sql.Tx, id int64, groups []string) error {
	for _, g := range groups {
		if _, err := tx.ExecContext(ctx, `INSERT INTO account_groups (account, name) VALUES ($1, $2)`, id, g); err != nil {
			return err
		}
	}
	return nil
}

func putPassword(ctx context.Context, tx *sql.Tx, account int64, s secrets, now int64) error {
	var id int64
	err := tx.QueryRowContext(ctx, `INSERT INTO account_passwords (account, hash, changed) VALUES ($1, $2, $3) RETURNING id`, account, s.hash, now).Scan(&id)
	if err != nil {
		return err
	}
	return putSCRAM(ctx, tx, id, s.scram)
}

// oneRow returns missing if a statement that should have changed a row did not.
func oneRow(res sql.Result, err, missing error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return missing
	}
	return nil
}

// sortedSet returns a copy of list, sorted and without repetitions; never nil.
func sortedSet(list []string) []string {
	set := append([]string{}, list...)
	slices.Sort(set)
	return slices.Compact(set)
}
