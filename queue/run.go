package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"gateway/session"
)

const (
	// faultPause is the wait after a fault of the store, and the time for which a
	// message stays out of the way when its attempt could not even begin.
	faultPause = 5 * time.Second
	// maxSleep is the longest wait without a look at the store: the clock of the
	// machine may have been set.
	maxSleep = 10 * time.Minute
)

// errRunning is a second Run at the same time.
var errRunning = errors.New("queue: already running")

// runner is the state of one Run. Only its goroutine uses it.
type runner struct {
	q        *Queue
	work     context.Context // of the attempts; outlives that of Run by the grace time
	inFlight map[string]string
	perRoute map[string]int
	done     chan string
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
	r := &runner{
		q: q, work: work, inFlight: make(map[string]string), perRoute: make(map[string]int),
		done: make(chan string, q.cfg.Concurrency),
	}
	for ctx.Err() == nil {
		sleep := r.start(ctx)
		timer := time.NewTimer(sleep)
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-timer.C:
		case id := <-r.done:
			r.finished(id)
		}
		timer.Stop()
	}
	r.drain(cut)
	return nil
}

// start begins as many attempts as there is room for, and returns how long to
// sleep.
func (r *runner) start(ctx context.Context) time.Duration {
	now := r.q.now()
	err := r.fill(ctx, now)
	var next time.Time
	found := false
	if err == nil {
		next, found, err = r.q.nextDue(ctx, now)
	}
	switch {
	case ctx.Err() != nil:
		return 0
	case err != nil:
		r.q.cfg.Log.Error("queue not read", "err", err)
		return faultPause
	case found:
		return max(min(next.Sub(r.q.now()), maxSleep), 0)
	default:
		return maxSleep
	}
}

// fill starts what is due. A route that has all the attempts it may have is left
// out of the next look, so that its backlog does not hide the mail of others.
func (r *runner) fill(ctx context.Context, now time.Time) error {
	for {
		free := r.q.cfg.Concurrency - len(r.inFlight)
		if free <= 0 {
			return nil
		}
		busy := r.busyRoutes()
		list, err := r.q.findDue(ctx, now, busy, free+len(r.inFlight))
		if err != nil {
			return err
		}
		started := false
		for _, d := range list {
			if _, taken := r.inFlight[d.id]; taken || r.perRoute[r.routeKey(d.route)] >= r.q.cfg.PerDestination {
				continue
			}
			if len(r.inFlight) == r.q.cfg.Concurrency {
				return nil
			}
			r.attempt(d)
			started = true
		}
		if !started && len(busy) == len(r.busyRoutes()) {
			return nil
		}
	}
}

// busyRoutes lists the routes, as they stand in messages, that may have no
// further attempt now.
func (r *runner) busyRoutes() (list []string) {
	for route, n := range r.perRoute {
		if n < r.q.cfg.PerDestination {
			continue
		}
		list = append(list, route)
		if route == r.q.cfg.DefaultRoute.String() {
			list = append(list, "")
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (r *runner) routeKey(route string) string { return r.q.shownRoute(route) }

func (r *runner) attempt(d due) {
	key := r.routeKey(d.route)
	r.inFlight[d.id] = key
	r.perRoute[key]++
	go func() {
		defer func() {
			r.done <- d.id // never blocks: there is room for every attempt
			if r.q.attempted != nil {
				r.q.attempted()
			}
		}()
		defer func() {
			if v := recover(); v != nil {
				r.q.cfg.Log.Error("panic while delivering", "id", d.id, "panic", v, "stack", string(debug.Stack()))
				r.pause()
			}
		}()
		if err := r.q.deliver(r.work, d.id); err != nil && !errors.Is(err, session.ErrNotExist) {
			r.q.cfg.Log.Error("delivery not settled", "id", d.id, "err", err)
			r.pause()
		}
	}()
}

// pause keeps the slot of a message whose result could not be written, so that
// it is not tried again at once.
func (r *runner) pause() {
	timer := time.NewTimer(faultPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.work.Done():
	}
}

func (r *runner) finished(id string) {
	key := r.inFlight[id]
	delete(r.inFlight, id)
	if r.perRoute[key]--; r.perRoute[key] <= 0 {
		delete(r.perRoute, key)
	}
}

// drain waits for the attempts under way, and cuts them after the grace time.
func (r *runner) drain(cut context.CancelCauseFunc) {
	grace := time.AfterFunc(r.q.cfg.Grace, func() { cut(session.ErrShutdown) })
	defer grace.Stop()
	for len(r.inFlight) > 0 {
		r.finished(<-r.done)
	}
}

// settleUntilDone writes results until that succeeds: what was delivered must
// not be delivered again because the disk was full for a moment.
func (q *Queue) settleUntilDone(ctx context.Context, m message, results []recipient, next time.Time, bounce *message) (gone bool, err error) {
	for {
		// The write itself is not cut: an attempt that was cut still has results.
		gone, err = q.settle(context.WithoutCancel(ctx), m, results, next, bounce)
		if err == nil || errors.Is(err, session.ErrClosed) {
			return gone, err
		}
		q.cfg.Log.Error("result of a delivery not written", "id", m.id, "err", err)
		timer := time.NewTimer(faultPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false, fmt.Errorf("stopped before the result was written: %w", err)
		}
	}
}
