package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/session"
)

// held occupies the writer until release is called, so that what is written
// meanwhile shares the next commit.
func held(t *testing.T, db *DB) (release func()) {
	t.Helper()
	began, end, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- db.Write(t.Context(), func(*sql.Tx) error {
			close(began)
			<-end
			return nil
		})
	}()
	<-began
	return sync.OnceFunc(func() {
		close(end)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// queued waits until n writes wait for the writer.
func queued(t *testing.T, db *DB, n int) {
	t.Helper()
	for len(db.requests) < n {
		if t.Context().Err() != nil {
			t.Fatal("writes did not arrive")
		}
		runtime.Gosched()
	}
}

func TestGroupCommit(t *testing.T) {
	t.Parallel()
	db := open(t)
	release := held(t, db)
	defer release()
	fault := errors.New("fault")
	errs := make([]error, 30)
	transactions := make(map[*sql.Tx]bool) // touched by the writer goroutine only
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = db.Write(t.Context(), func(tx *sql.Tx) error {
				transactions[tx] = true
				if err := put(t.Context(), fmt.Sprint("k", i))(tx); err != nil {
					return err
				}
				switch i % 10 {
				case 3:
					return fault
				case 5:
					panic("boom")
				case 7:
					return put(t.Context(), fmt.Sprint("k", i))(tx) // breaks the primary key
				}
				return nil
			})
		})
	}
	queued(t, db, len(errs))
	release()
	wg.Wait()
	for i, err := range errs {
		switch i % 10 {
		case 3:
			if !errors.Is(err, fault) {
				t.Errorf("write %d: got %v, want %v", i, err, fault)
			}
		case 5:
			if err == nil || !strings.Contains(err.Error(), "boom") {
				t.Errorf("write %d: got %v, want the panic", i, err)
			}
		case 7:
			if !Conflict(err) {
				t.Errorf("write %d: got %v, want a conflict", i, err)
			}
		default:
			if err != nil {
				t.Errorf("write %d: got %v, want nil", i, err)
			}
		}
	}
	if got, want := count(t, db), len(errs)*7/10; got != want {
		t.Errorf("got %d values, want %d", got, want)
	}
	if len(transactions) != 1 {
		t.Errorf("got %d transactions for %d writes, want 1", len(transactions), len(errs))
	}
}

func TestWriteSeesContext(t *testing.T) {
	t.Parallel()
	db := open(t)
	release := held(t, db)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Write(ctx, put(t.Context(), "abandoned")) }()
	queued(t, db, 1)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	release()
	if err := db.Write(t.Context(), put(t.Context(), "next")); err != nil {
		t.Fatal(err)
	}
	if got := count(t, db); got != 1 {
		t.Errorf("got %d values, want 1: an abandoned write must not run", got)
	}
}

// TestHangUpUndoesNobody: a context that ends inside a statement would make
// SQLite undo the whole transaction, if it reached it.
func TestHangUpUndoesNobody(t *testing.T) {
	t.Parallel()
	db := open(t)
	release := held(t, db)
	defer release()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if err := db.Write(t.Context(), put(t.Context(), fmt.Sprint("k", i))); err != nil {
				t.Errorf("bystander: got %v, want nil", err)
			}
		})
	}
	queued(t, db, 4)
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		_ = db.Write(t.Context(), func(tx *sql.Tx) error {
			timer := time.AfterFunc(time.Millisecond, cancel)
			defer timer.Stop()
			_, err := tx.ExecContext(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 100000)
				INSERT INTO meta (key, value) SELECT 'n' || i, x'00' FROM n`)
			return errors.Join(err, errors.New("undo"))
		})
	})
	queued(t, db, 5)
	release()
	wg.Wait()
	if got := count(t, db); got != 4 {
		t.Errorf("got %d values, want 4", got)
	}
}

func TestTransactionEndedInside(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*sql.Tx) error{
		"rollback": func(tx *sql.Tx) error { return tx.Rollback() },
		"sql":      func(tx *sql.Tx) error { _, err := tx.Exec(`ROLLBACK`); return err },
		"goexit":   func(*sql.Tx) error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			if err := db.Write(t.Context(), end); !errors.Is(err, errLost) && !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("got %v, want %v", err, errLost)
			}
			if err := db.Write(t.Context(), put(t.Context(), "after")); err != nil {
				t.Errorf("next write: got %v, want nil", err)
			}
			if got := count(t, db); got != 1 {
				t.Errorf("got %d values, want 1", got)
			}
		})
	}
}

func TestWriteAfterClose(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			err := db.Write(t.Context(), put(t.Context(), fmt.Sprint("k", i)))
			if err != nil && !errors.Is(err, session.ErrClosed) {
				t.Errorf("got %v, want nil or %v", err, session.ErrClosed)
			}
		})
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := db.Write(t.Context(), put(t.Context(), "late")); !errors.Is(err, session.ErrClosed) {
		t.Errorf("got %v, want %v", err, session.ErrClosed)
	}
	if err := db.Read(t.Context(), func(*sql.Tx) error { return nil }); !errors.Is(err, session.ErrClosed) {
		t.Errorf("read: got %v, want %v", err, session.ErrClosed)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, parallel := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(parallel), func(b *testing.B) {
			db := open(b)
			b.SetParallelism(parallel)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					err := db.Write(b.Context(), func(tx *sql.Tx) error {
						_, err := tx.Exec(`INSERT INTO meta (key, value) VALUES (hex(randomblob(16)), x'00')`)
						return err
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkRead(b *testing.B) {
	db := open(b)
	if _, err := db.Secret(b.Context(), "k", 32); err != nil {
		b.Fatal(err)
	}
	var value []byte
	for b.Loop() {
		err := db.Read(b.Context(), func(tx *sql.Tx) error {
			return tx.QueryRow(`SELECT value FROM meta WHERE key = 'secret/k'`).Scan(&value)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
