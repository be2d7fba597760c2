package main

import (
	"context"
	"sync"
	"time"
)

// reverting is when rules that are tried go back. The zero value is at no time.
type reverting struct {
	mu     sync.Mutex
	timer  *time.Timer
	closed bool
	// running is held while they go back.
	running sync.WaitGroup
}

// RevertAt implements admin.Node.
func (n *node) RevertAt(at time.Time) {
	r := &n.revert
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer = time.AfterFunc(time.Until(at), func() {
		if !r.begin() {
			return
		}
		defer r.running.Done()
		if err := n.commands.EndTrial(context.Background()); err != nil {
			n.log.Error("rules that were tried", "err", err)
		}
	})
}

// begin reports whether there is still a node to act on.
func (r *reverting) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.running.Add(1)
	}
	return !r.closed
}

// close waits for what is under way; nothing goes back afterwards.
func (r *reverting) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.running.Wait()
}
