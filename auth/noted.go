package auth

import (
	"sync"
	"time"
)

// noted gathers what logins show until all of it is stored at once, a little later: no
// login waits for the disk, and whoever tries many does not make it work for each. The
// zero value is empty. Who crashes before it is stored loses it.
type noted[K comparable, V any] struct {
	mu      sync.Mutex
	entries map[K]V
	timer   *time.Timer // set while there are any
	closed  bool

	storing sync.Mutex
}

// note has change note something; store, which is to call take, is called that much
// later. Nothing is noted after close. It does nothing that takes time.
func (n *noted[K, V]) note(later time.Duration, store func(), change func(entries map[K]V)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	if n.entries == nil {
		n.entries = make(map[K]V)
	}
	change(n.entries)
	if n.timer == nil && len(n.entries) > 0 {
		n.timer = time.AfterFunc(later, store)
	}
}

// take gives write what is noted, and forgets it, unless there is nothing. One call
// goes on at a time, so that what was noted first is written first.
func (n *noted[K, V]) take(write func(entries map[K]V) error) error {
	n.storing.Lock()
	defer n.storing.Unlock()
	n.mu.Lock()
	entries := n.entries
	n.entries = nil
	if n.timer != nil {
		n.timer.Stop()
		n.timer = nil
	}
	n.mu.Unlock()
	if len(entries) == 0 {
		return nil
	}
	return write(entries)
}

func (n *noted[K, V]) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
}
