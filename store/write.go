package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"gateway/session"
)

// maxBatch bounds both the writes that wait and those that share a commit.
const maxBatch = 256

// request is one call of Write on its way through the writer.
type request struct {
	f    func(*sql.Tx) error
	took atomic.Bool // by the writer, or by a caller that gave up: whoever comes first
	err  error       // set before done is closed
	done chan struct{}
}

func (r *request) finish(err error) {
	r.err = err
	close(r.done)
}

// errLost is a transaction that SQLite rolled back on its own.
var errLost = errors.New("transaction was rolled back by the database")

// Write runs f in a transaction and returns nil only when what f wrote is on
// stable storage. f runs once, in the writer's goroutine, inside a savepoint of
// a transaction that it shares with other writes: it must be short, must not
// call Read or Write, must not end the transaction, and must not keep it.
//
// If f returns an error or panics, only its own changes are undone and the
// error is returned. session.ErrUnavailable means that nothing was kept because
// the disk is full or failing. If ctx ends before f was begun, f does not run
// and the context's error is returned; after that the outcome is waited for.
func (db *DB) Write(ctx context.Context, f func(*sql.Tx) error) error {
	r := &request{f: f, done: make(chan struct{})}
	select {
	case <-db.closing: // asked first: select has no order
		return fmt.Errorf("write: %w", session.ErrClosed)
	default:
	}
	select {
	case db.requests <- r:
	case <-ctx.Done():
		return fmt.Errorf("write: %w", context.Cause(ctx))
	case <-db.closing:
		return fmt.Errorf("write: %w", session.ErrClosed)
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		if r.took.CompareAndSwap(false, true) {
			return fmt.Errorf("write: %w", context.Cause(ctx))
		}
	case <-db.written: // it came too late to be taken, or was the last to be
		if r.took.CompareAndSwap(false, true) {
			return fmt.Errorf("write: %w", session.ErrClosed)
		}
	}
	<-r.done
	return r.err
}

// writer takes whatever waits, commits it together, and does so again until
// Close. It is the only user of the write connection.
func (db *DB) writer() {
	var batch []*request
	ended := false
	defer func() {
		if ended {
			close(db.written)
			return
		}
		// f ended the goroutine (runtime.Goexit, as t.FailNow does in a test).
		for _, r := range batch {
			select {
			case <-r.done:
			default:
				r.finish(fmt.Errorf("write: %w: a write ended its goroutine", session.ErrUnavailable))
			}
		}
		go db.writer()
	}()
	for {
		first, ok := db.next()
		if !ok {
			ended = true
			return
		}
		batch = db.gather(batch[:0], first)
		for rest := batch; len(rest) > 0; {
			rest = db.commit(rest)
		}
		clear(batch) // so that what was written can be freed
		batch = batch[:0]
	}
}

// next waits for a write; false means that the database is closing and none is
// left.
func (db *DB) next() (*request, bool) {
	select {
	case r := <-db.requests:
		return r, true
	case <-db.closing:
	}
	select {
	case r := <-db.requests:
		return r, true
	default:
		return nil, false
	}
}

// gather appends first and what else waits, without waiting for more. Writes
// whose callers gave up are left out.
func (db *DB) gather(batch []*request, first *request) []*request {
	for r := first; ; {
		if r.took.CompareAndSwap(false, true) {
			batch = append(batch, r)
		}
		if len(batch) == maxBatch {
			return batch
		}
		select {
		case r = <-db.requests:
		default:
			return batch
		}
	}
}

// commit runs batch in one transaction and finishes each request. Should SQLite
// undo the transaction while it is being filled, the writes that were in it are
// finished with the reason, and those that had not begun are returned.
func (db *DB) commit(batch []*request) (rest []*request) {
	tx, err := db.write.BeginTx(context.Background(), nil)
	if err != nil {
		finishAll(batch, fmt.Errorf("begin write: %w", temporary(err)))
		return nil
	}
	defer tx.Rollback() // after a commit it does nothing
	kept := make([]*request, 0, len(batch))
	for i, r := range batch {
		err := inSavepoint(tx, r.f)
		switch {
		case errors.Is(err, errLost):
			r.finish(err)
			finishAll(kept, fmt.Errorf("write: %w: %w", session.ErrUnavailable, errLost))
			return batch[i+1:]
		case err != nil:
			r.finish(err)
		default:
			kept = append(kept, r)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	if err := tx.Commit(); err != nil {
		finishAll(kept, fmt.Errorf("commit: %w: %w", session.ErrUnavailable, err))
		return nil
	}
	finishAll(kept, nil)
	return nil
}

func finishAll(batch []*request, err error) {
	for _, r := range batch {
		r.finish(err)
	}
}

// inSavepoint runs f so that its changes can be undone alone. The error is
// errLost, besides its cause, if there is no transaction any more.
func inSavepoint(tx *sql.Tx, f func(*sql.Tx) error) error {
	if _, err := tx.Exec(`SAVEPOINT one`); err != nil {
		return fmt.Errorf("begin write: %w: %w", errLost, temporary(err))
	}
	if cause := guarded(tx, f); cause != nil {
		cause = temporary(cause)
		if _, err := tx.Exec(`ROLLBACK TO one; RELEASE one`); err != nil {
			return fmt.Errorf("%w: %w", cause, errLost)
		}
		return cause
	}
	if _, err := tx.Exec(`RELEASE one`); err != nil {
		return fmt.Errorf("end write: %w: %w: %w", session.ErrUnavailable, errLost, err)
	}
	return nil
}

// guarded runs f and turns a panic into an error: the writer serves everybody
// and must go on.
func guarded(tx *sql.Tx, f func(*sql.Tx) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("write panicked: %v\n%s", v, debug.Stack())
		}
	}()
	return f(tx)
}
