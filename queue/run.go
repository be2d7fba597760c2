package queue

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"gateway/session"
)

const (
	// faultPause is the wait after a fault of the disk, and the time for which a
	// message stays out of the way when its attempt could not even begin.
	faultPause = 5 * time.Second
	// maxSleep is the longest wait without a look at what is due: the clock of the
	// machine may have been set.
	maxSleep = 10 * time.Minute
)

// errRunning is a second Run at the same time.
var errRunning = errors.New("queue: already running")

// runner is one Run.
type runner struct {
	q        *Queue
	work     context.Context // of the attempts; outlives that of Run by the grace time
	attempts sync.WaitGroup
	running  int // guarded by the queue's lock
}

// Run delivers until ctx is done; then it starts nothing more, gives the
// attempts under way Config.Grace, cuts those that are left and returns nil. What
// was cut is tried again by the next Run. It sleeps until mail arrives or is due.
func (q *Queue) Run(ctx context.Context) error {
	if !q.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer q.running.Store(false)
	work, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	r := &runner{q: q, work: work}
	for ctx.Err() == nil {
		timer := time.NewTimer(r.start())
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	grace := time.AfterFunc(q.cfg.Grace, func() { cut(session.ErrShutdown) })
	defer grace.Stop()
	r.attempts.Wait()
	return nil
}

// start begins as many attempts as there is room for, and returns how long to
// sleep.
func (r *runner) start() time.Duration {
	q := r.q
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for r.running < q.cfg.Concurrency {
		d := q.schedule.take(micros(now))
		if d == nil {
			at, ok := q.schedule.nextDue()
			if !ok {
				return maxSleep
			}
			return max(min(fromMicros(at).Sub(now), maxSleep), 0)
		}
		r.running++
		r.attempts.Go(func() { r.attempt(d) })
	}
	return maxSleep // until one of them ends
}

// attempt makes one attempt and lets the delivery wait again, if it must.
func (r *runner) attempt(d *delivery) {
	q := r.q
	next := micros(q.now().Add(faultPause)) // after a panic
	defer func() {
		if v := recover(); v != nil {
			q.cfg.Log.Error("panic while delivering", "id", d.entry.ID(), "panic", v, "stack", string(debug.Stack()))
		}
		q.mu.Lock()
		r.running--
		d.next = max(next, 0)
		q.schedule.finished(d, next >= 0)
		q.mu.Unlock()
		q.rouse()
		if q.attempted != nil {
			q.attempted()
		}
	}()
	again, err := q.deliver(r.work, d)
	switch {
	case errors.Is(err, session.ErrNotExist), errors.Is(err, session.ErrClosed):
		again = over
	case err != nil:
		q.cfg.Log.Error("delivery not settled", "id", d.entry.ID(), "err", err)
		again = micros(q.now().Add(faultPause))
	}
	next = again
}

// over is the next time of a delivery that has none.
const over = -1
