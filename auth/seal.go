package auth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"gateway/store"
)

var errNoSeal = errors.New("there is no key to seal secrets with")

// aboutTOTP is what a sealed secret belongs to.
func aboutTOTP(account int64) string { return fmt.Sprintf("totp of account %d", account) }

// sealTOTP seals the secret of an account's one-time codes, openTOTP opens it.
func (a *Accounts) sealTOTP(account int64, secret []byte) ([]byte, error) {
	if a.cfg.Sealer == nil {
		return nil, errNoSeal
	}
	return a.cfg.Sealer.Seal(secret, aboutTOTP(account))
}

func (a *Accounts) openTOTP(account int64, stored []byte) ([]byte, error) {
	if a.cfg.Sealer == nil {
		return nil, errNoSeal
	}
	return a.cfg.Sealer.Open(stored, aboutTOTP(account))
}

// sealBareTOTP seals the secrets that a gateway stored which could not yet.
func (a *Accounts) sealBareTOTP(ctx context.Context) error {
	bare := make(map[int64][]byte)
	err := a.db.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT account, secret FROM account_totp`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var account int64
			var stored []byte
			if err := rows.Scan(&account, &stored); err != nil {
				return err
			}
			if !store.Sealed(stored) {
				bare[account] = stored
			}
		}
		return rows.Err()
	})
	if err != nil || len(bare) == 0 || a.cfg.Sealer == nil {
		return err
	}
	return a.db.Write(ctx, func(tx *sql.Tx) error {
		for account, secret := range bare {
			sealed, err := a.sealTOTP(account, secret)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `UPDATE account_totp SET secret = $2 WHERE account = $1 AND secret = $3`, account, sealed, secret); err != nil {
				return err
			}
		}
		return nil
	})
}
