package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
)

// maxSecretBytes bounds n of Secret.
const maxSecretBytes = 1024

// Secret returns the installation's secret of that name: n random bytes, made
// the first time it is asked for and the same ever after. It is an error if the
// stored one has another length.
func (db *DB) Secret(ctx context.Context, name string, n int) ([]byte, error) {
	if name == "" || n < 16 || n > maxSecretBytes {
		return nil, fmt.Errorf("secret %q: %d bytes: want a name and 16 to %d bytes", name, n, maxSecretBytes)
	}
	key := "secret/" + name
	var value []byte
	get := func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = $1`, key).Scan(&value)
	}
	err := db.Read(ctx, get)
	if errors.Is(err, sql.ErrNoRows) {
		fresh := make([]byte, n)
		_, _ = rand.Read(fresh) // never fails (crypto/rand)
		err = db.Write(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING`, key, fresh)
			if err != nil {
				return err
			}
			return get(tx)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	if len(value) != n {
		return nil, fmt.Errorf("secret %q has %d bytes, want %d", name, len(value), n)
	}
	return value, nil
}
