package limits

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"gateway/session"
)

// HashingConfig is the budget for password hashes. The zero value of each field
// is its default.
type HashingConfig struct {
	// MaxAtOnce is how many hashes may be computed at once. Zero means as many as
	// there are processors.
	MaxAtOnce int
	// MaxMemory is the memory in KiB that they may use together. Zero means 262144
	// (256 MiB).
	MaxMemory int
	// MaxWaiting is how many may wait for their turn; beyond that the source with
	// the most waiting is refused. Zero means 64.
	MaxWaiting int
	// MaxWait is how long one waits before it is refused. Zero means 5s.
	MaxWait time.Duration
	// Spare is called when a heavy hash begins, to find it a processor beside those that
	// others use, and done when it ends. Nil finds none.
	Spare func() (done func())
}

const (
	defaultHashMemory  = 256 << 10
	defaultHashWaiting = 64
	defaultHashWait    = 5 * time.Second

	// maxRotation is how many sources are remembered to take them in rotation;
	// then the rotation begins anew.
	maxRotation = 4096
)

// Hashing hands out turns at computing a password hash. Turns go to the source
// that has the fewest, so that one that guesses cannot keep others waiting: while
// others wait, it has one. Its methods may be called from any goroutine.
type Hashing struct {
	cfg HashingConfig

	mu      sync.Mutex
	memory  int                  // KiB in use
	running map[netip.Prefix]int // by source
	busy    int                  // sum of running
	waiting []*turn              // in the order of arrival, at most MaxWaiting
	idle    []*turn              // for when nobody waits and none is computed
	served  uint64               // counts turns, to take sources in rotation
	last    map[netip.Prefix]uint64
	resting bool // nobody is given a turn until it ends

	heavy      *Hashing // for AcquireHeavy
	processors int
}

// A turn is one who waits.
type turn struct {
	source netip.Prefix
	memory int
	// ready is closed when the turn came or was refused; err says which.
	ready chan struct{}
	err   error
}

// Refusals of the hashing budget; all are temporary.
var (
	errHashFull = fmt.Errorf("too many password checks are waiting: %w", session.ErrUnavailable)
	errHashWait = fmt.Errorf("waited too long for a password check: %w", session.ErrUnavailable)
)

// NewHashing returns a budget of which nothing is used. Negative values count as
// zero.
func NewHashing(cfg HashingConfig) *Hashing {
	if cfg.MaxAtOnce <= 0 {
		cfg.MaxAtOnce = runtime.GOMAXPROCS(0)
	}
	if cfg.MaxMemory <= 0 {
		cfg.MaxMemory = defaultHashMemory
	}
	if cfg.MaxWaiting <= 0 {
		cfg.MaxWaiting = defaultHashWaiting
	}
	if cfg.MaxWait <= 0 {
		cfg.MaxWait = defaultHashWait
	}
	h := newHashing(cfg)
	h.processors = runtime.GOMAXPROCS(0)
	h.heavy = newHashing(HashingConfig{MaxAtOnce: 1, MaxMemory: heavyMemory, MaxWaiting: heavyWaiting, MaxWait: heavyWait})
	return h
}

func newHashing(cfg HashingConfig) *Hashing {
	return &Hashing{cfg: cfg, running: make(map[netip.Prefix]int), last: make(map[netip.Prefix]uint64)}
}

// Acquire waits for a turn to compute one hash that needs memKiB of memory, asked
// for by source. Whoever gets it must call release when done; further calls of
// release do nothing. It returns an error that is session.ErrUnavailable if there
// is no turn to be had in time, or never because the hash needs more memory than
// there may be; and one that also is ctx.Err() if ctx ended first.
func (h *Hashing) Acquire(ctx context.Context, source netip.Addr, memKiB int) (release func(), err error) {
	if memKiB < 0 || memKiB > h.cfg.MaxMemory {
		return nil, fmt.Errorf("a password hash needs %d KiB of %d: %w", memKiB, h.cfg.MaxMemory, session.ErrUnavailable)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wait for a password check: %w: %w", err, session.ErrUnavailable)
	}
	t := &turn{source: session.SourcePrefix(source), memory: memKiB, ready: make(chan struct{})}
	h.mu.Lock()
	if !h.enqueue(t) {
		h.mu.Unlock()
		return nil, errHashFull
	}
	h.dispatch()
	h.mu.Unlock()

	timer := time.NewTimer(h.cfg.MaxWait)
	defer timer.Stop()
	select {
	case <-t.ready:
		err = t.err
	case <-timer.C:
		err = h.giveUp(t, errHashWait)
	case <-ctx.Done():
		err = h.giveUp(t, fmt.Errorf("wait for a password check: %w: %w", ctx.Err(), session.ErrUnavailable))
	}
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { h.release(t) }), nil
}

// enqueue lets t wait, if need be in the place of the last of the source that has
// the most waiting. It reports whether t waits.
func (h *Hashing) enqueue(t *turn) bool {
	if len(h.waiting) >= h.cfg.MaxWaiting && !h.evictFor(t.source) {
		return false
	}
	h.waiting = append(h.waiting, t)
	return true
}

// evictFor refuses the last of the source that has the most waiting, unless
// source would then have as many.
func (h *Hashing) evictFor(source netip.Prefix) bool {
	counts := make(map[netip.Prefix]int)
	victim := -1
	for i, w := range h.waiting {
		counts[w.source]++
		if victim < 0 || counts[w.source] >= counts[h.waiting[victim].source] {
			victim = i
		}
	}
	if victim < 0 || counts[h.waiting[victim].source] <= counts[source]+1 {
		return false
	}
	h.refuse(victim, errHashFull)
	return true
}

func (h *Hashing) refuse(i int, err error) {
	t := h.waiting[i]
	h.waiting = slices.Delete(h.waiting, i, i+1)
	t.err = err
	close(t.ready)
}

// dispatch gives turns to those who wait while there is room. The one that is
// next is waited for even if another would fit beside those that run: a hash that
// needs much memory must get its turn too.
func (h *Hashing) dispatch() {
	if h.resting {
		return
	}
	for len(h.waiting) > 0 && h.busy < h.cfg.MaxAtOnce {
		i := h.next()
		t := h.waiting[i]
		if h.memory+t.memory > h.cfg.MaxMemory {
			return
		}
		h.waiting = slices.Delete(h.waiting, i, i+1)
		h.busy++
		h.memory += t.memory
		h.running[t.source]++
		h.served++
		if len(h.last) >= maxRotation {
			clear(h.last)
		}
		h.last[t.source] = h.served
		close(t.ready)
	}
	if len(h.waiting) > 0 || h.busy > 0 {
		return
	}
	clear(h.last) // nobody left to be fair to
	if len(h.idle) > 0 {
		t := h.idle[0]
		h.idle = slices.Delete(h.idle, 0, 1)
		h.busy++
		h.memory += t.memory
		h.running[t.source]++
		close(t.ready)
	}
}

// AcquireIdle waits, for as long as ctx goes on, for a moment at which no hash is
// computed and nobody waits for a turn, to compute one that nobody is in a hurry for.
// release is that of Acquire.
func (h *Hashing) AcquireIdle(ctx context.Context, memKiB int) (release func(), err error) {
	if memKiB < 0 || memKiB > h.cfg.MaxMemory {
		return nil, fmt.Errorf("a password hash needs %d KiB of %d: %w", memKiB, h.cfg.MaxMemory, session.ErrUnavailable)
	}
	t := &turn{memory: memKiB, ready: make(chan struct{})}
	h.mu.Lock()
	h.idle = append(h.idle, t)
	h.dispatch()
	h.mu.Unlock()
	select {
	case <-t.ready:
		return sync.OnceFunc(func() { h.release(t) }), nil
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(h.idle, t); i >= 0 {
		h.idle = slices.Delete(h.idle, i, i+1)
	} else {
		h.giveBack(t)
	}
	return nil, fmt.Errorf("wait for a password check: %w: %w", ctx.Err(), session.ErrUnavailable)
}

// next is the index of whose turn it is: the first of the source with the fewest
// turns now, and of those the source whose last turn is the longest ago.
func (h *Hashing) next() int {
	best := 0
	for i, t := range h.waiting[1:] {
		b := h.waiting[best]
		more := h.running[t.source] - h.running[b.source]
		if more < 0 || more == 0 && h.last[t.source] < h.last[b.source] {
			best = i + 1
		}
	}
	return best
}

// giveUp takes t out of those who wait and returns cause. If the turn came at the
// same moment, it is given back; if t was refused, that is the error.
func (h *Hashing) giveUp(t *turn, cause error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(h.waiting, t); i >= 0 {
		h.waiting = slices.Delete(h.waiting, i, i+1)
		h.dispatch() // t may have been the one that did not fit
		return cause
	}
	if t.err != nil {
		return t.err
	}
	h.giveBack(t)
	return cause
}

func (h *Hashing) release(t *turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.giveBack(t)
}

func (h *Hashing) giveBack(t *turn) {
	h.busy--
	h.memory -= t.memory
	if h.running[t.source]--; h.running[t.source] == 0 {
		delete(h.running, t.source)
	}
	h.dispatch()
}

// HashingLoad is how much of a hashing budget is in use.
type HashingLoad struct {
	Running   int `json:"running"`
	Waiting   int `json:"waiting"`
	MemoryKiB int `json:"memory_kib"`
}

// Load returns what is in use at this moment.
func (h *Hashing) Load() HashingLoad {
	h.mu.Lock()
	defer h.mu.Unlock()
	return HashingLoad{h.busy, len(h.waiting), h.memory}
}
