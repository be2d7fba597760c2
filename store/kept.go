package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// maxKeptBytes bounds a value of Keep: it holds a whole policy.
const maxKeptBytes = 1 << 20

// Kept returns what Keep stored under that name last; nil if nothing.
func (db *DB) Kept(ctx context.Context, name string) ([]byte, error) {
	var value []byte
	err := db.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = $1`, "kept/"+name).Scan(&value)
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return value, nil
}

// Keep stores a value of a name, in place of the last one; an empty value is none. It
// returns when that is on stable storage.
func (db *DB) Keep(ctx context.Context, name string, value []byte) error {
	if name == "" || len(value) > maxKeptBytes {
		return fmt.Errorf("keep %q: %d bytes: want a name and at most %d bytes", name, len(value), maxKeptBytes)
	}
	err := db.Write(ctx, func(tx *sql.Tx) error {
		if len(value) == 0 {
			_, err := tx.ExecContext(ctx, `DELETE FROM meta WHERE key = $1`, "kept/"+name)
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, "kept/"+name, value)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return nil
}
