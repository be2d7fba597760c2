package upstream

import (
	"context"
	"sync"
	"time"
)

// tend sees to the connections every PoolConfig.Timeout, as long as there are any.
func (p *Pool[C]) tend() {
	tick := time.NewTicker(p.cfg.Timeout)
	defer tick.Stop()
	for {
		select {
		case <-p.over:
			return
		case <-tick.C:
		}
		asked, some := p.toAsk()
		if !some {
			return
		}
		var wg sync.WaitGroup
		for _, m := range asked {
			wg.Go(func() { p.ask(m) })
		}
		wg.Wait()
	}
}

// toAsk closes what nobody wants any more, and takes out those that are to be asked whether
// they answer. One of an exclusive pool that somebody has is left alone: what he does has
// time-outs of its own.
func (p *Pool[C]) toAsk() (asked []*member[C], some bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(func(m *member[C]) bool {
		return m.lent == 0 && (m.conn.Broken() || time.Since(m.used) >= p.cfg.Idle)
	})
	for _, m := range p.members {
		if m.lent == 0 || !p.cfg.Exclusive {
			m.lent++
			asked = append(asked, m)
		}
	}
	p.tending = len(p.members) > 0
	return asked, p.tending
}

// ask closes a connection that does not answer: whoever waits for it then hears of that.
func (p *Pool[C]) ask(m *member[C]) {
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.Timeout)
	defer cancel()
	err := m.conn.Ping(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	m.lent--
	p.sweep(func(other *member[C]) bool { return other == m && err != nil || other.lent == 0 && other.conn.Broken() })
	p.wake()
}
