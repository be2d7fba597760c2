package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"gateway/session"
)

const (
	// readers is how many Reads run at once; more wait.
	readers = 4
	// busyTimeout is how long a statement waits for a lock. With one process and
	// one writer there is none to wait for, save when someone looks into the file
	// with another tool.
	busyTimeout = 5 * time.Second
	// maxLogBytes is the size to which the write-ahead log is cut back after it
	// had to grow beyond it.
	maxLogBytes = 64 << 20
	// fileMode of the database: it holds password hashes.
	fileMode = 0o600
)

// DB is an open database. Its methods may be called from any goroutine.
type DB struct {
	path  string
	lock  *os.File
	write *sql.DB // one connection, used by the writer goroutine only
	read  *sql.DB

	requests chan *request
	closing  chan struct{} // closed by Close: no new writes
	written  chan struct{} // closed when the writer has ended

	closeOnce sync.Once
	closeErr  error
}

// Open opens the database at path, makes it if there is none, and brings its
// schema up to date. The folder must exist. The file and its companions
// (path-wal, path-shm, path.lock) are readable by the owner only.
//
// Errors: ErrNewer, ErrForeign, ErrInUse, ErrNetworkFS, or what the file system
// says. A file that is refused is left as it was.
func Open(ctx context.Context, path string) (_ *DB, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open database %s: %w", path, err)
		}
	}()
	if err := refuseNetworkFS(filepath.Dir(path)); err != nil {
		return nil, err
	}
	db := &DB{
		path:     path,
		requests: make(chan *request, maxBatch),
		closing:  make(chan struct{}),
		written:  make(chan struct{}),
	}
	if db.lock, err = lockFile(path + ".lock"); err != nil {
		return nil, err
	}
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(err, db.release())
	}
	go db.writer()
	return db, nil
}

// open does what Open does once the lock is held.
func (db *DB) open(ctx context.Context) error {
	if err := checkVersion(ctx, db.path); err != nil {
		return err
	}
	if err := secureFiles(db.path); err != nil {
		return err
	}
	writer, err := connector(db.path, url.Values{
		"mode":    {"rwc"},
		"_txlock": {"immediate"},
		"_pragma": {
			pragma("busy_timeout", busyTimeout.Milliseconds()), "journal_mode(wal)", "synchronous(full)",
			"foreign_keys(on)", "trusted_schema(off)", pragma("journal_size_limit", maxLogBytes),
		},
	})
	if err != nil {
		return err
	}
	db.write = sql.OpenDB(uninterrupted{writer})
	db.write.SetMaxOpenConns(1)
	if err := migrate(ctx, db.write); err != nil {
		return temporary(err)
	}
	if err := syncFolder(filepath.Dir(db.path)); err != nil {
		return err
	}
	reader, err := connector(db.path, url.Values{
		"mode":    {"ro"},
		"_pragma": {pragma("busy_timeout", busyTimeout.Milliseconds()), "query_only(on)", "trusted_schema(off)"},
	})
	if err != nil {
		return err
	}
	db.read = sql.OpenDB(reader)
	db.read.SetMaxOpenConns(readers)
	db.read.SetMaxIdleConns(readers)
	return temporary(db.read.PingContext(ctx))
}

// Read runs f in a read-only transaction: f sees one state of the database,
// whatever is written meanwhile, and must not keep what it was given. An error
// of f is returned as it is; a fault of the database that may pass is
// session.ErrUnavailable, and after Close it is session.ErrClosed.
func (db *DB) Read(ctx context.Context, f func(*sql.Tx) error) error {
	select {
	case <-db.closing:
		return fmt.Errorf("read: %w", session.ErrClosed)
	default:
	}
	tx, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin read: %w", temporary(err))
	}
	defer tx.Rollback() // nothing to keep, whether f succeeds, fails or panics
	return temporary(f(tx))
}

// Close waits for the writes that were accepted, then closes the database.
// Later calls of Write return session.ErrClosed. Close may be called again.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		close(db.closing)
		<-db.written
		db.closeErr = db.release()
	})
	return db.closeErr
}

// release closes what is open, the lock last.
func (db *DB) release() error {
	var errs []error
	if db.read != nil {
		errs = append(errs, db.read.Close())
	}
	if db.write != nil {
		errs = append(errs, db.write.Close()) // the last connection checkpoints
	}
	errs = append(errs, unlockFile(db.lock))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// lockFile makes sure that one process has the database open. The lock is the
// kernel's and ends with the process, however it ends; the file stays.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: stop it first, or use the commands that talk to the running gateway", ErrInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

// unlockFile gives the lock back. To close the file is not enough: a process that is being
// started at this moment has it open, too, until it becomes another program.
func unlockFile(f *os.File) error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}

// secureFiles makes the database file if there is none, and takes it and its
// companions away from group and others.
func secureFiles(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 == 0 {
			continue
		}
		if err := os.Chmod(name, fileMode); err != nil {
			return err
		}
	}
	return nil
}

// syncFolder makes the names of new files survive a power cut.
func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// connector returns SQLite connections to the file. The path is escaped, so
// that no letter of it is taken for a parameter.
func connector(path string, params url.Values) (driver.Connector, error) {
	u := url.URL{Scheme: "file", Path: path, RawQuery: params.Encode()}
	return sqlite.NewConnector(u.String())
}

func pragma(name string, value int64) string { return fmt.Sprintf("%s(%d)", name, value) }
