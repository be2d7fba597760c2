package auth

import (
	"bytes"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gateway/session"
	"gateway/store"
)

// Whoever has the database alone has no codes, and secrets that were stored bare are
// sealed when the accounts are opened.
func TestSecretsAreSealed(t *testing.T) {
	t.Parallel()
	path, key := filepath.Join(t.TempDir(), "gateway.db"), filepath.Join(t.TempDir(), "keys", "secrets.key")
	db := openStore(t, path)
	defer func() { _ = db.Close() }()
	reopen := func(s *store.Sealer) *Accounts {
		t.Helper()
		a, err := Open(t.Context(), db, Config{Sealer: s, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	stored := func(name string) (secret []byte) {
		t.Helper()
		err := db.Read(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRow(`SELECT secret FROM account_totp t JOIN accounts a ON t.account = a.id WHERE a.name = $1`, name).Scan(&secret)
		})
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	a := reopen(nil)
	add(t, a, "joe", "secret")
	add(t, a, "ann", "secret")
	if _, _, err := a.AddTOTP(t.Context(), "joe", "x"); !errors.Is(err, errNoSeal) {
		t.Errorf("made without a key: %v", err)
	}
	a = reopen(store.NewSealer(key))
	secret := addTOTP(t, a, "joe")
	if at := stored("joe"); !store.Sealed(at) || bytes.Contains(at, secret) {
		t.Errorf("stored as %q", at)
	}
	bare := []byte("twenty bytes of one.")
	err := db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO account_totp (account, secret, used_step, added) SELECT id, $1, 0, 0 FROM accounts WHERE name = 'ann'`, bare)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	a = reopen(store.NewSealer(key))
	if at := stored("ann"); !store.Sealed(at) || bytes.Contains(at, bare) {
		t.Errorf("still stored as %q", at)
	}
	step := time.Now().Unix() / 30
	if !offerCode(t, a, "joe", totpCode(secret, step)) || !offerCode(t, a, "ann", totpCode(bare, step)) {
		t.Error("the code of now is wrong")
	}
	// Joe's secret is not Ann's by being put in her row.
	err = db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE account_totp SET used_step = 0, secret = (SELECT secret FROM account_totp t JOIN accounts a ON t.account = a.id WHERE a.name = 'joe')`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	a = reopen(store.NewSealer(key))
	for _, name := range []string{"ann", "joe"} {
		_, err := a.Verify(t.Context(), source, session.Code(name, totpCode(secret, step+1)))
		if (name == "joe") != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A key that is lost lets nobody in, is no wrong code, and is not made anew.
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	a = reopen(store.NewSealer(key))
	if _, err := a.Verify(t.Context(), source, session.Code("joe", totpCode(secret, step))); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("without the key: %v", err)
	}
	if _, err := os.Stat(key); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key was made to open something: %v", err)
	}
}
