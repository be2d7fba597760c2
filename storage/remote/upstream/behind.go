package upstream

import (
	"sync"
)

// maxBehind is how many bytes of an upload wait while others are on their way, and how many
// are sent at once.
const maxBehind = 1 << 20

// Behind writes to a server behind whoever brings content, so that the next piece can come
// while the one before is on its way. What comes in sequence is sent together; all is sent
// in the order in which it came. Its methods may be called at the same time from any
// goroutine.
type Behind struct {
	write func(p []byte, off int64) error

	mu      sync.Mutex
	changed *sync.Cond
	waiting []byte // to be written at off
	off     int64
	spare   []byte
	running bool
	err     error
}

// NewBehind writes by write, which is called by one goroutine at a time.
func NewBehind(write func(p []byte, off int64) error) *Behind {
	b := &Behind{write: write}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// WriteAt takes p, and returns the error of what was taken before, if there was one.
func (b *Behind) WriteAt(p []byte, off int64) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n < len(p) && b.err == nil {
		at := off + int64(n)
		if len(b.waiting) == maxBehind || len(b.waiting) > 0 && b.off+int64(len(b.waiting)) != at {
			b.changed.Wait()
			continue
		}
		if len(b.waiting) == 0 {
			b.off = at
		}
		m := min(len(p)-n, maxBehind-len(b.waiting))
		b.waiting = append(b.waiting, p[n:n+m]...)
		n += m
		if !b.running {
			b.running = true
			go b.run()
		}
	}
	return n, b.err
}

// run writes until nothing waits.
func (b *Behind) run() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.waiting) > 0 && b.err == nil {
		p, off := b.waiting, b.off
		b.waiting = b.spare[:0]
		b.changed.Broadcast()
		b.mu.Unlock()
		err := b.write(p, off)
		b.mu.Lock()
		b.spare, b.err = p, err
	}
	b.running = false
	b.changed.Broadcast()
}

// Flush waits until all that came is written, and returns nil if it is.
func (b *Behind) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.running {
		b.changed.Wait()
	}
	return b.err
}
