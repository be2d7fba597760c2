package limits

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

const (
	// heavyMemory in KiB is for the dearest hash that auth/hashes accepts.
	heavyMemory = 128 << 10
	// heavyWaiting is how many wait for the one slot of heavy hashes.
	heavyWaiting = 16
	// heavyWait leaves a hash of 5s within the time that clients, and the front-ends
	// here, give a login.
	heavyWait = 20 * time.Second
	// heavyShare is the part of the processors, one of so many, that wrong passwords may
	// have for heavy hashes.
	heavyShare = 5
)

// AcquireHeavy is Acquire for a hash that takes seconds. There is one slot, beside those
// of Acquire, with those who wait for it apart: so nobody else waits behind such hashes,
// and whoever has one waits for few others. After a wrong password the slot rests until
// the hash has taken no more than a fifth of the processors, so that who guesses slows
// down nobody much; after a right one, which will be replaced by a hash that is
// cheaper, it goes on at once. release is called with whether the password was right.
func (h *Hashing) AcquireHeavy(ctx context.Context, source netip.Addr, memKiB int) (release func(right bool), err error) {
	free, err := h.heavy.Acquire(ctx, source, memKiB)
	if err != nil {
		return nil, fmt.Errorf("costly hash: %w", err)
	}
	done := func() {}
	if h.cfg.Spare != nil {
		done = h.cfg.Spare()
	}
	began := time.Now()
	var once sync.Once
	return func(right bool) {
		once.Do(func() {
			done()
			if !right {
				h.heavy.rest(heavyRest(time.Since(began), h.processors))
			}
			free()
		})
	}, nil
}

// heavyRest is how long to rest after having used one of so many processors.
func heavyRest(used time.Duration, processors int) time.Duration {
	return max(used*heavyShare/time.Duration(processors)-used, 0)
}

// rest gives nobody a turn for that long.
func (h *Hashing) rest(d time.Duration) {
	if d <= 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resting = true
	time.AfterFunc(d, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.resting = false
		h.dispatch()
	})
}
