package sftp

import (
	"sync"
	"time"
)

// activity counts what is under way on a connection: requests that run and
// handles that are open. It is safe for use by any goroutine.
type activity struct {
	mu      sync.Mutex
	last    time.Time // when a request last began or ended
	running int
	handles int
	ending  bool // the server stops: nothing more is opened
}

func (a *activity) begin() {
	a.mu.Lock()
	a.running++
	a.last = time.Now()
	a.mu.Unlock()
}

func (a *activity) end() {
	a.mu.Lock()
	a.running--
	a.last = time.Now()
	a.mu.Unlock()
}

// touch is a request that took no time.
func (a *activity) touch() {
	a.mu.Lock()
	a.last = time.Now()
	a.mu.Unlock()
}

// opened counts a handle; it returns false when none may be opened any more.
func (a *activity) opened() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending {
		return false
	}
	a.handles++
	return true
}

func (a *activity) closed() {
	a.mu.Lock()
	a.handles--
	a.mu.Unlock()
}

// stop lets no handle be opened any more.
func (a *activity) stop() {
	a.mu.Lock()
	a.ending = true
	a.mu.Unlock()
}

// quiet is for how long no request has been running, zero if one is, and
// whether no handle is open.
func (a *activity) quiet(now time.Time) (idle time.Duration, free bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running > 0 {
		return 0, false
	}
	return now.Sub(a.last), a.handles == 0
}
