package ftp

import (
	"sync"
	"time"
)

// A bell ends a wait for the peer's next line by letting its deadline pass: so one
// goroutine waits for the peer and for everything else. The zero value with a conn
// is ready for use.
type bell struct {
	conn interface{ SetReadDeadline(time.Time) error }

	mu   sync.Mutex
	rung bool
}

// past is a deadline that is over, also in tests that own the clock.
func past() time.Time { return time.Unix(1, 0) }

// arm begins a wait that ends at the latest then. If the bell was rung since the
// last wait, it ends at once.
func (b *bell) arm(until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung {
		until = past()
	}
	b.rung = false
	_ = b.conn.SetReadDeadline(until)
}

// ring ends the wait, or the next one. It may be called from any goroutine.
func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung = true
	_ = b.conn.SetReadDeadline(past())
}
