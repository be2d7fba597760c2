package store

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// applicationID stands in the header of the file (PRAGMA application_id). It is
// set by the first migration.
const applicationID = 0x47576179

// checkVersion looks at the database without changing it or what lies beside
// it, and says whether this program may open it.
func checkVersion(ctx context.Context, path string) error {
	empty, err := checkHeader(path)
	if err != nil || empty {
		return err
	}
	// Without a log there is nothing to recover, and an immutable open leaves not
	// even a shared-memory file. With one, SQLite has to read it.
	params := url.Values{"mode": {"ro"}}
	if info, err := os.Stat(path + "-wal"); err != nil || info.Size() == 0 {
		params.Set("immutable", "1")
	}
	c, err := connector(path, params)
	if err != nil {
		return err
	}
	db := sql.OpenDB(c)
	defer db.Close()
	return checkSchema(ctx, db)
}

// checkHeader tells a database from any other file by its first bytes, before
// SQLite sees it. It reports whether there is no file, or nothing in it.
func checkHeader(path string) (empty bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	magic := []byte("SQLite format 3\x00") // sqlite.org/fileformat.html, section 1.3.1
	head := make([]byte, len(magic))
	switch n, err := io.ReadFull(f, head); {
	case errors.Is(err, io.EOF):
		return true, nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return false, err
	case !bytes.Equal(head[:n], magic):
		return false, fmt.Errorf("%w: it is no SQLite database", ErrForeign)
	}
	return false, nil
}

func checkSchema(ctx context.Context, db *sql.DB) error {
	var id, tables int64
	if err := db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return fmt.Errorf("read application id: %w", temporary(err))
	}
	err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name <> $1 AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`,
		goose.DefaultTablename).Scan(&tables)
	if err != nil {
		return fmt.Errorf("read schema: %w", temporary(err))
	}
	if id == 0 && tables == 0 {
		return nil // made, and interrupted before the first migration was done
	}
	if id != applicationID {
		return fmt.Errorf("%w: it is a SQLite database of another program", ErrForeign)
	}
	var found int64
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM `+goose.DefaultTablename+` WHERE is_applied`).Scan(&found)
	if err != nil {
		return fmt.Errorf("%w: it has no version: %w", ErrForeign, temporary(err))
	}
	known, err := knownVersion()
	if err != nil {
		return err
	}
	if found > known {
		return fmt.Errorf("%w: it has version %d, this gateway knows versions up to %d; install the gateway that wrote it, or restore a backup made before it was upgraded",
			ErrNewer, found, known)
	}
	return nil
}

// knownVersion is the newest migration in this program.
func knownVersion() (int64, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return 0, err
	}
	var newest int64
	for _, name := range names {
		v, err := goose.NumericComponent(name)
		if err != nil {
			return 0, fmt.Errorf("migration %s: %w", name, err)
		}
		newest = max(newest, v)
	}
	return newest, nil
}

// migrate brings the schema up to date, each migration in a transaction of its
// own, and empties the log, so that the header of the file tells the truth
// about it from then on.
func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	var mode string
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode); err != nil {
		return fmt.Errorf("read journal mode: %w", err)
	}
	if mode != "wal" {
		return fmt.Errorf("journal mode is %s, want wal: does the file system support shared memory?", mode)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()),
		// Changes that were made side by side have numbers of their own, and a store may
		// have seen the higher one first. None of them needs another.
		goose.WithAllowOutofOrder(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if len(done) == 0 {
		return nil
	}
	if _, err := db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		return fmt.Errorf("checkpoint after migration: %w", err)
	}
	return nil
}
