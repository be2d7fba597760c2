package relay

import (
	"slices"
	"sync"
	"time"
)

// pool keeps connections between messages. The zero pool is empty.
type pool struct {
	mu      sync.Mutex
	kept    map[Target][]*conn
	count   int
	closed  bool
	leaving sync.WaitGroup // connections that say goodbye

	buffers buffers
}

// take returns the connection to t that was used last, or nil. With requireTLS it
// has to be one to which that may be said.
func (p *pool) take(t Target, requireTLS bool) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range slices.Backward(p.kept[t]) {
		if requireTLS && !c.trusted {
			continue
		}
		p.drop(t, c)
		c.timer.Stop()
		return c
	}
	return nil
}

// drop takes c out of the lists and reports whether it was there.
func (p *pool) drop(t Target, c *conn) bool {
	list := p.kept[t]
	i := slices.Index(list, c)
	if i < 0 {
		return false
	}
	if len(list) == 1 {
		delete(p.kept, t)
	} else {
		p.kept[t] = slices.Delete(list, i, i+1)
	}
	p.count--
	return true
}

// put keeps c for a while, or lets it go.
func (p *pool) put(client *Client, t Target, c *conn) {
	idle, most, messages := client.IdleTimeout, client.MaxIdle, client.MaxMessages
	if idle == 0 {
		idle = defaultIdleTimeout
	}
	if most <= 0 {
		most = defaultMaxIdle
	}
	if messages <= 0 {
		messages = defaultMaxMessages
	}
	c.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || idle < 0 || p.count >= most || c.messages >= messages || time.Since(c.opened) >= maxConnectionAge {
		p.leaving.Go(c.farewell)
		return
	}
	if p.kept == nil {
		p.kept = make(map[Target][]*conn)
	}
	p.kept[t] = append(p.kept[t], c)
	p.count++
	if c.timer == nil {
		c.timer = time.AfterFunc(idle, func() { p.expire(t, c) })
	} else {
		c.timer.Reset(idle)
	}
}

// expire lets go of a connection that nobody took.
func (p *pool) expire(t Target, c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drop(t, c) {
		p.leaving.Go(c.farewell)
	}
}

// close lets go of all and waits until they are gone.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for t, list := range p.kept {
		for _, c := range list {
			c.timer.Stop()
			p.leaving.Go(c.farewell)
		}
		delete(p.kept, t)
	}
	p.count = 0
	p.mu.Unlock()
	p.leaving.Wait()
}
