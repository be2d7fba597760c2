package session

import (
	"net/netip"
	"sync"
	"time"
)

// bannedTally folds the connections of a banned source into one record a
// minute, so that a flood costs neither disk nor the record its readability.
// The counts always add up to the connections that were accepted.
type bannedTally struct {
	record func(Event)

	mu     sync.Mutex
	counts map[netip.Prefix]*bannedCount
	closed bool
}

type bannedCount struct {
	event Event
	timer *time.Timer
}

const (
	bannedInterval = time.Minute
	// maxBannedSources bounds the table; beyond it each connection has its own record.
	maxBannedSources = 65536
)

// add counts one connection; e is its record.
func (t *bannedTally) add(e Event) {
	source := SourcePrefix(e.Remote.Addr())
	t.mu.Lock()
	if c := t.counts[source]; c != nil {
		c.event.Count += e.Count
		t.mu.Unlock()
		return
	}
	if t.closed || len(t.counts) >= maxBannedSources {
		t.mu.Unlock()
		t.record(e)
		return
	}
	if t.counts == nil {
		t.counts = make(map[netip.Prefix]*bannedCount)
	}
	t.counts[source] = &bannedCount{event: e, timer: time.AfterFunc(bannedInterval, func() { t.flush(source) })}
	t.mu.Unlock()
}

func (t *bannedTally) flush(source netip.Prefix) {
	t.mu.Lock()
	c := t.counts[source]
	delete(t.counts, source)
	t.mu.Unlock()
	if c != nil {
		t.record(c.event)
	}
}

func (t *bannedTally) close() {
	t.mu.Lock()
	t.closed = true
	left := t.counts
	t.counts = nil
	t.mu.Unlock()
	for _, c := range left {
		c.timer.Stop()
		t.record(c.event)
	}
}
