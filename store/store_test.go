package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/session"
)

// open opens a new database that is closed when the test ends.
func open(t testing.TB) *DB {
	t.Helper()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func put(ctx context.Context, key string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ($1, x'00')`, key)
		return err
	}
}

func count(t testing.TB, db *DB) int {
	t.Helper()
	var n int
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), `SELECT count(*) FROM meta`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOpenAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "odd ?name%20#&mode=ro.db")
	for range 3 {
		db, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Secret(t.Context(), "name", 32); err != nil {
			t.Fatal(err)
		}
		if got := count(t, db); got != 1 {
			t.Errorf("got %d values, want 1", got)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("second close: got %v, want nil", err)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "odd ?name%20#&mode=ro.db") {
			t.Errorf("got a file %q, want only those of the database", e.Name())
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	db := open(t)
	err := db.Write(t.Context(), func(tx *sql.Tx) error {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
			var got string
			if err := tx.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s: got %s, want %s", pragma, got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Read(t.Context(), put(t.Context(), "k"))
	if !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("write inside Read: got %v, want %v", err, session.ErrUnavailable)
	}
}

func TestFileModes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Write(t.Context(), put(t.Context(), "k")); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("mode of gateway.db%s: got %o, want 600", suffix, got)
		}
	}
}

func TestInUse(t *testing.T) {
	t.Parallel()
	db := open(t)
	if _, err := Open(t.Context(), db.path); !errors.Is(err, ErrInUse) {
		t.Errorf("second open: got %v, want %v", err, ErrInUse)
	}
}

// TestRefusedFileIsLeftAsItWas covers newer versions and foreign files, with
// and without a write-ahead log that was never checkpointed.
func TestRefusedFileIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	exec := func(path string, statements ...string) func(*testing.T) {
		return func(t *testing.T) {
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for _, s := range statements {
				if _, err := db.Exec(s); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	const newer = `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, 1)`
	tests := []struct {
		name string
		make func(t *testing.T, path string)
		want error
		text string
	}{
		{"newer", func(t *testing.T, path string) {
			made(t, path)
			exec(path, newer)(t)
		}, ErrNewer, "version 9000, this gateway knows versions up to"},
		{"newer in rollback mode", func(t *testing.T, path string) {
			made(t, path)
			exec(path, `PRAGMA journal_mode=delete`, newer)(t)
		}, ErrNewer, "version 9000"},
		{"newer in the log only", func(t *testing.T, path string) {
			other := path + ".other"
			made(t, other)
			db, err := sql.Open("sqlite", other)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(newer); err != nil {
				t.Fatal(err)
			}
			for _, suffix := range []string{"", "-wal"} { // as a crash would leave them
				b, err := os.ReadFile(other + suffix)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}, ErrNewer, "version 9000"},
		{"another program's", func(t *testing.T, path string) {
			exec(path, `CREATE TABLE t (x)`)(t)
		}, ErrForeign, "another program"},
		{"no database", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("hostname = \"files.example.com\"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, ErrForeign, "no SQLite database"},
		{"too short", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("SQL"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, ErrForeign, "no SQLite database"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "gateway.db")
			tt.make(t, path)
			before := contents(t, path)
			_, err := Open(t.Context(), path)
			if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.text)
			}
			for suffix, want := range before {
				if got := contents(t, path)[suffix]; !bytes.Equal(got, want) {
					t.Errorf("gateway.db%s was changed", suffix)
				}
			}
		})
	}
}

// made makes a database of this version and closes it.
func made(t *testing.T, path string) {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents returns the database and its log, by suffix.
func contents(t *testing.T, path string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		all[suffix] = b
	}
	return all
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), filepath.Join(t.TempDir(), "missing", "gateway.db"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: got %v, want %v", err, os.ErrNotExist)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	db := open(t)
	got := make(chan []byte, 8)
	for range cap(got) {
		go func() {
			b, err := db.Secret(t.Context(), "names", 32)
			if err != nil {
				t.Error(err)
			}
			got <- b
		}()
	}
	first := <-got
	if len(first) != 32 || bytes.Equal(first, make([]byte, 32)) {
		t.Fatalf("got %d bytes %x, want 32 random ones", len(first), first)
	}
	for range cap(got) - 1 {
		if b := <-got; !bytes.Equal(b, first) {
			t.Errorf("got %x, want %x", b, first)
		}
	}
	other, err := db.Secret(t.Context(), "other", 32)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(other, first) {
		t.Error("two names have one secret")
	}
	for _, n := range []int{0, 15, 16, 2000} {
		if _, err := db.Secret(t.Context(), "names", n); err == nil {
			t.Errorf("length %d: got no error, want one", n)
		}
	}
}

// What is kept under a name is there after the database was opened anew.
func TestKeep(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	for i, want := range []string{"", "first", "second", ""} {
		db, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.Kept(t.Context(), "name")
		if err != nil || string(got) != want {
			t.Errorf("kept %q, %v, want %q", got, err, want)
		}
		if got, err := db.Kept(t.Context(), "other"); err != nil || got != nil {
			t.Errorf("kept %q, %v under a name that was not used", got, err)
		}
		if err := db.Keep(t.Context(), "name", []byte([]string{"first", "second", "", "last"}[i])); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
