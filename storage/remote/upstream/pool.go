package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gateway/session"
)

// A Conn is a connection to a server.
type Conn interface {
	comparable
	// Ping asks whether the server is there. It ends with ctx.
	Ping(ctx context.Context) error
	// Broken reports whether nothing can be done over it any more.
	Broken() bool
	// Close ends it at once. What is under way fails.
	Close() error
}

// PoolConfig says how many connections there are, and for how long.
type PoolConfig struct {
	// Connections is how many there are at most. Zero means DefaultConnections.
	Connections int
	// Exclusive lends a connection to one at a time, for protocols that do one thing at a
	// time on it.
	Exclusive bool
	// Timeout is how long a connection may take to be made, and to answer, and how long
	// somebody waits for one.
	Timeout time.Duration
	// Idle is how long a connection stays that nobody has. Zero means DefaultIdle.
	Idle time.Duration
}

const (
	DefaultConnections = 4
	MaxConnections     = 64
	DefaultIdle        = 5 * time.Minute
	// DefaultTimeout is for a Timeout that is not set.
	DefaultTimeout = 20 * time.Second
	// maxDialing is how many connections are made at the same time: logins cost servers more
	// than anything else.
	maxDialing = 2
	// restedFor is after how long a server may have ended a connection unheard.
	restedFor = 2 * time.Second
	// crowdedFor is how long a server that did not let in another is not asked for more.
	crowdedFor = time.Minute
)

// Work is what a connection is wanted for.
type Work int

const (
	// Brief is a question and its answer.
	Brief Work = iota
	// Lasting is a transfer. Of exclusive connections it is left one less than there are,
	// so that questions are answered while files move.
	Lasting
)

// Pool keeps connections to one server: opened when wanted, lent to those who want one,
// asked now and then whether they still answer, and closed when they do not, or when nobody
// wants them.
type Pool[C Conn] struct {
	cfg  PoolConfig
	dial func(context.Context) (C, error)

	mu      sync.Mutex
	members []*member[C]
	dialing int
	lasting int
	freed   chan struct{} // closed and made anew when somebody who waits may look again
	closed  bool
	over    chan struct{} // closed by Close
	tending bool
	tender  sync.WaitGroup
	// crowded is until when the server is taken at its word that it wants no more connections
	// than there are.
	crowded time.Time
}

type member[C Conn] struct {
	conn C
	lent int
	used time.Time // when it was given back last
}

// NewPool returns a pool without connections; dial makes one.
func NewPool[C Conn](cfg PoolConfig, dial func(context.Context) (C, error)) *Pool[C] {
	if cfg.Connections == 0 {
		cfg.Connections = DefaultConnections
	}
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	return &Pool[C]{cfg: cfg, dial: dial, freed: make(chan struct{}), over: make(chan struct{})}
}

// A Lease is a connection that somebody has. Return it once.
type Lease[C Conn] struct {
	Conn   C
	pool   *Pool[C]
	member *member[C]
	work   Work
	rested time.Duration // how long nobody had it
	once   sync.Once
}

// Return gives the connection back. A broken one is closed.
func (l *Lease[C]) Return() { l.once.Do(func() { l.pool.giveBack(l.member, l.work) }) }

// errFull is the cause of waiting in vain.
var errFull = errors.New("all connections to it are in use: raise connections, if the server can do with more")

// Get lends the connection that has the least under way, or a new one if each has something,
// there may be more, and not too many are being made. It waits no longer than
// PoolConfig.Timeout for one; errors of the server and of waiting wrap
// session.ErrUnavailable.
func (p *Pool[C]) Get(ctx context.Context, work Work) (*Lease[C], error) {
	wait, cancel := context.WithTimeoutCause(ctx, p.cfg.Timeout, errFull)
	defer cancel()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		lease, dial, freed := p.look(work)
		switch {
		case lease != nil && p.fresh(ctx, lease):
			return lease, nil
		case lease != nil:
			continue
		case dial:
			lease, others, err := p.connect(ctx, work)
			if err == nil || !others {
				return lease, err
			}
			continue // with those that there are
		}
		select {
		case <-freed:
		case <-wait.Done():
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return nil, unavailable(context.Cause(wait))
		case <-p.over:
			return nil, unavailable(session.ErrClosed)
		}
	}
}

// fresh reports whether a connection is there still. Of an exclusive one nobody hears that
// the server ended it, so that one that rested is asked.
func (p *Pool[C]) fresh(ctx context.Context, l *Lease[C]) bool {
	if !p.cfg.Exclusive || l.rested < restedFor {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	if l.Conn.Ping(ctx) == nil {
		return true
	}
	_ = l.Conn.Close()
	l.Return()
	return false
}

func unavailable(err error) error {
	return fmt.Errorf("connect to the server of the files: %w: %w", session.ErrUnavailable, err)
}

// look finds a connection, or says that one may be made, or when to look again.
func (p *Pool[C]) look(work Work) (lease *Lease[C], dial bool, freed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(func(m *member[C]) bool { return m.lent == 0 && m.conn.Broken() })
	most := p.most()
	if p.closed || p.cfg.Exclusive && work == Lasting && p.lasting >= max(1, most-1) {
		return nil, false, p.freed
	}
	var least *member[C]
	for _, m := range p.members {
		if !m.conn.Broken() && (least == nil || m.lent < least.lent) {
			least = m
		}
	}
	switch {
	case least != nil && least.lent == 0:
	case len(p.members)+p.dialing < most && p.dialing < maxDialing:
		p.dialing++
		p.count(work, 1)
		return nil, true, nil
	case least == nil || p.cfg.Exclusive:
		return nil, false, p.freed
	}
	p.count(work, 1)
	return p.lend(least, work), false, nil
}

// most is how many connections there may be: for a while no more than there are, where the
// server did not let in another.
func (p *Pool[C]) most() int {
	if len(p.members) > 0 && time.Now().Before(p.crowded) {
		return min(len(p.members), p.cfg.Connections)
	}
	return p.cfg.Connections
}

func (p *Pool[C]) count(work Work, n int) {
	if work == Lasting {
		p.lasting += n
	}
}

func (p *Pool[C]) lend(m *member[C], work Work) *Lease[C] {
	m.lent++
	return &Lease[C]{Conn: m.conn, pool: p, member: m, work: work, rested: time.Since(m.used)}
}

// connect makes a connection, for which look has made room. If it fails, others says that
// there are some nevertheless.
func (p *Pool[C]) connect(ctx context.Context, work Work) (lease *Lease[C], others bool, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, p.cfg.Timeout, errors.New("it does not answer in time"))
	defer cancel()
	conn, err := p.dial(limited)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	if err == nil && p.closed {
		_ = conn.Close()
		err = session.ErrClosed
	}
	if err != nil {
		p.count(work, -1)
		if ctx.Err() == nil {
			p.crowded = time.Now().Add(crowdedFor)
		}
		p.wake()
		return nil, len(p.members) > 0, unavailable(err)
	}
	m := &member[C]{conn: conn, used: time.Now()}
	p.members = append(p.members, m)
	p.wake()
	if !p.tending {
		p.tending = true
		p.tender.Go(p.tend)
	}
	return p.lend(m, work), true, nil
}

func (p *Pool[C]) giveBack(m *member[C], work Work) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.lent--
	m.used = time.Now()
	p.count(work, -1)
	p.sweep(func(m *member[C]) bool { return m.lent == 0 && m.conn.Broken() })
	p.wake()
}

// wake lets those look again who wait.
func (p *Pool[C]) wake() {
	close(p.freed)
	p.freed = make(chan struct{})
}

// sweep closes the connections that are over by what it is told.
func (p *Pool[C]) sweep(over func(*member[C]) bool) {
	kept := p.members[:0]
	for _, m := range p.members {
		if over(m) {
			_ = m.conn.Close()
		} else {
			kept = append(kept, m)
		}
	}
	clear(p.members[len(kept):])
	p.members = kept
}

// Close ends all connections. What is under way fails, and nothing is lent any more.
func (p *Pool[C]) Close() error {
	err := p.end()
	p.tender.Wait()
	return err
}

func (p *Pool[C]) end() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	close(p.over)
	var errs []error
	for _, m := range p.members {
		errs = append(errs, m.conn.Close())
	}
	p.members = nil
	return errors.Join(errs...)
}
