package store

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"gateway/session"
)

var (
	// ErrNewer is a database that a newer gateway has written. It was not touched.
	ErrNewer = errors.New("database is of a newer version")
	// ErrForeign is a file that is not a database of the gateway. It was not
	// touched.
	ErrForeign = errors.New("not a database of the gateway")
	// ErrInUse is a database that another process has open.
	ErrInUse = errors.New("database is in use by another process")
	// ErrNetworkFS is a folder on a network file system, where SQLite's locks and
	// shared memory cannot be trusted.
	ErrNetworkFS = errors.New("database may not lie on a network file system")
)

// temporary marks the faults of the database that are ours and may pass: a full
// disk, a failing one, a lock that somebody else holds. Other errors are
// returned as they are.
func temporary(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok || errors.Is(err, session.ErrUnavailable) {
		return err
	}
	const primary = 0xff // the low byte; the rest says more (sqlite.org/rescode.html)
	switch e.Code() & primary {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY,
		sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL:
		return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	default:
		return err
	}
}

// Conflict reports whether err is a UNIQUE or PRIMARY KEY constraint that a
// statement would have broken.
func Conflict(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}
