package store

import (
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"
)

// A store of every earlier version is brought up to date, and keeps what is in
// it.
func TestEarlierVersionsAreMigrated(t *testing.T) {
	t.Parallel()
	newest, err := knownVersion()
	if err != nil {
		t.Fatal(err)
	}
	for version := int64(1); version < newest; version++ {
		path := filepath.Join(t.TempDir(), "gateway.db")
		madeAt(t, path, version)
		db, err := Open(t.Context(), path)
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		err = db.Read(t.Context(), func(tx *sql.Tx) error {
			var name string
			var quota, files, bandwidth, rules int64
			err := tx.QueryRow(`SELECT name, quota_bytes, quota_files, bandwidth, (SELECT count(*) FROM account_permissions) FROM accounts`).
				Scan(&name, &quota, &files, &bandwidth, &rules)
			if name != "joe" || quota != 0 || files != 0 || bandwidth != 0 || rules != 0 {
				t.Errorf("version %d: got %s %d %d %d %d, want joe without limits", version, name, quota, files, bandwidth, rules)
			}
			return err
		})
		if err != nil {
			t.Errorf("version %d: %v", version, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A store that has seen a later change first gets the one that was missing.
func TestMissingMigration(t *testing.T) {
	t.Parallel()
	newest, err := knownVersion()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "gateway.db")
	madeAt(t, path, newest)
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`DROP TABLE account_floors`, `DROP TABLE account_exposures`, `DELETE FROM goose_db_version WHERE version_id = 9`,
	} {
		if _, err := raw.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Read(t.Context(), func(tx *sql.Tx) error {
		var rows int
		return tx.QueryRow(`SELECT (SELECT count(*) FROM account_floors) + (SELECT count(*) FROM account_exposures)`).Scan(&rows)
	})
	if err != nil {
		t.Error(err)
	}
}

// madeAt makes a database as a gateway of that version left it, with an account.
func madeAt(t *testing.T, path string, version int64) {
	t.Helper()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`PRAGMA journal_mode=wal`); err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO accounts (name, created, changed) VALUES ('joe', 1, 1)`); err != nil {
		t.Fatal(err)
	}
}
