package upstream

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

// fakeConn is a connection of a test.
type fakeConn struct {
	mu     sync.Mutex
	broken bool
	closed bool
	hangs  bool
	pings  int
}

func (c *fakeConn) Ping(ctx context.Context) error {
	c.mu.Lock()
	c.pings++
	hangs := c.hangs
	c.mu.Unlock()
	if c.Broken() {
		return errors.New("broken")
	}
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (c *fakeConn) Broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken || c.closed
}

func (c *fakeConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

// state is how often it was asked, and whether it was closed.
func (c *fakeConn) state() (pings int, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pings, c.closed
}

func (c *fakeConn) isClosed() bool {
	_, closed := c.state()
	return closed
}

// hang lets it answer no more.
func (c *fakeConn) hang() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hangs = true
}

// server makes connections and remembers them.
type server struct {
	mu    sync.Mutex
	conns []*fakeConn
	err   error
	slow  time.Duration
}

func (s *server) dial(ctx context.Context) (*fakeConn, error) {
	select {
	case <-time.After(s.slow):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	c := &fakeConn{}
	s.conns = append(s.conns, c)
	return c, nil
}

func (s *server) pool(t *testing.T, cfg PoolConfig) *Pool[*fakeConn] {
	t.Helper()
	p := NewPool(cfg, s.dial)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func lend(t *testing.T, p *Pool[*fakeConn], work Work) *Lease[*fakeConn] {
	t.Helper()
	l, err := p.Get(t.Context(), work)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestPoolLendsTheLeastBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		p := s.pool(t, PoolConfig{Connections: 2})
		a, b := lend(t, p, Brief), lend(t, p, Brief)
		if a.Conn == b.Conn {
			t.Error("the second one shares, though there may be two")
		}
		c := lend(t, p, Brief)
		if d := lend(t, p, Brief); c.Conn == d.Conn || len(s.conns) != 2 {
			t.Errorf("not shared evenly, of %d", len(s.conns))
		}
		a.Return()
		a.Return() // does nothing
		c.Return()
		free := a.Conn
		if c.Conn != a.Conn {
			free = nil // one of each is lent: no matter
		}
		if e := lend(t, p, Brief); free != nil && e.Conn != free {
			t.Error("the idle one is not taken")
		}
	})
}

func TestPoolExclusive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		p := s.pool(t, PoolConfig{Connections: 3, Exclusive: true, Timeout: time.Minute})
		transfers := []*Lease[*fakeConn]{lend(t, p, Lasting), lend(t, p, Lasting)}
		began := time.Now()
		_, err := p.Get(t.Context(), Lasting)
		if !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "raise connections") || time.Since(began) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		question := lend(t, p, Brief) // for which one is left
		waited := make(chan *Lease[*fakeConn])
		go func() {
			l, err := p.Get(context.Background(), Lasting)
			if err != nil {
				t.Error(err)
			}
			waited <- l
		}()
		synctest.Wait()
		question.Return()
		synctest.Wait()
		select {
		case <-waited:
			t.Error("a transfer got the one that is left for questions")
		default:
		}
		transfers[0].Return()
		if l := <-waited; l.Conn == transfers[1].Conn {
			t.Error("lent to two")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Get(ctx, Brief); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if len(s.conns) != 3 {
			t.Errorf("%d connections", len(s.conns))
		}
	})
}

// Logins are made a few at a time, and who waits takes what comes first.
func TestPoolDialsFewAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{slow: time.Second}
		p := s.pool(t, PoolConfig{Connections: 8})
		began := time.Now()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				l, err := p.Get(t.Context(), Brief)
				if err != nil {
					t.Error(err)
					return
				}
				l.Return()
			})
		}
		wg.Wait()
		if len(s.conns) != maxDialing || time.Since(began) != time.Second {
			t.Errorf("%d connections after %v", len(s.conns), time.Since(began))
		}
	})
}

func TestPoolReplacesWhatBroke(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		p := s.pool(t, PoolConfig{Connections: 1})
		l := lend(t, p, Brief)
		l.Conn.broken = true
		l.Return()
		if !l.Conn.isClosed() {
			t.Error("not closed")
		}
		if again := lend(t, p, Brief); again.Conn == l.Conn {
			t.Error("lent again")
		}
		s.err = errors.New("no route")
		p = s.pool(t, PoolConfig{Connections: 1, Exclusive: true})
		for range 3 { // the room of what failed is given back
			if _, err := p.Get(t.Context(), Lasting); !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "no route") {
				t.Errorf("got %v", err)
			}
		}
		s.slow = time.Hour
		began := time.Now()
		if _, err := p.Get(t.Context(), Brief); !errors.Is(err, session.ErrUnavailable) || time.Since(began) != DefaultTimeout {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}

// A connection that rested, and that the server has ended meanwhile, is not lent.
func TestPoolLendsNoneThatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		p := s.pool(t, PoolConfig{Connections: 1, Exclusive: true})
		l := lend(t, p, Brief)
		l.Return()
		time.Sleep(restedFor)
		if again := lend(t, p, Brief); again.Conn != l.Conn {
			t.Error("one that is there is not lent again")
		} else {
			again.Return()
		}
		l.Conn.hang()
		time.Sleep(restedFor)
		if again := lend(t, p, Brief); again.Conn == l.Conn || !l.Conn.isClosed() {
			t.Error("one that does not answer is lent")
		}
	})
}

// A server that lets in fewer than there may be is used with those.
func TestPoolOfCrowdedServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		p := s.pool(t, PoolConfig{Connections: 8, Exclusive: true, Timeout: crowdedFor / 2})
		a, b := lend(t, p, Lasting), lend(t, p, Brief)
		s.err = errors.New("421 too many connections")
		go func() {
			time.Sleep(time.Second)
			b.Return()
		}()
		began := time.Now()
		if c := lend(t, p, Brief); c.Conn != b.Conn || time.Since(began) != time.Second {
			t.Errorf("another one after %v", time.Since(began))
		} else {
			c.Return()
		}
		if _, err := p.Get(t.Context(), Lasting); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("the last one is not left for questions: %v", err)
		}
		s.err = nil
		time.Sleep(crowdedFor) // then it is asked again
		if d := lend(t, p, Lasting); d.Conn == a.Conn {
			t.Error("lent to two")
		}
	})
}

func TestPoolTends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		p := s.pool(t, PoolConfig{Connections: 2, Exclusive: true, Timeout: 10 * time.Second, Idle: time.Minute})
		idle, busy := lend(t, p, Brief), lend(t, p, Brief)
		idle.Return()
		time.Sleep(35 * time.Second)
		asked, _ := idle.Conn.state()
		if other, _ := busy.Conn.state(); asked != 3 || other != 0 {
			t.Errorf("asked %d and %d times", asked, other)
		}
		time.Sleep(30 * time.Second)
		if !idle.Conn.isClosed() || busy.Conn.isClosed() {
			t.Error("after a minute: the idle one is not closed, or the other is")
		}
		busy.Return()
		busy.Conn.hang()
		time.Sleep(25 * time.Second)
		if !busy.Conn.isClosed() {
			t.Error("one that does not answer is not closed")
		}
		time.Sleep(time.Minute)
		if next := lend(t, p, Brief); next.Conn == busy.Conn || next.Conn == idle.Conn {
			t.Error("a closed one is lent")
		}
	})
}

// A shared connection that does not answer is closed although it is lent: who waits for it
// hears of that.
func TestPoolAsksSharedOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := (&server{}).pool(t, PoolConfig{Connections: 1, Timeout: 10 * time.Second})
		l := lend(t, p, Lasting)
		l.Conn.hang()
		time.Sleep(25 * time.Second)
		if !l.Conn.isClosed() {
			t.Error("not closed")
		}
		l.Return()
	})
}

func TestPoolCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(PoolConfig{Connections: 1, Exclusive: true}, (&server{}).dial)
		l := lend(t, p, Brief)
		failed := make(chan error)
		go func() {
			_, err := p.Get(context.Background(), Brief)
			failed <- err
		}()
		synctest.Wait()
		if err := errors.Join(p.Close(), p.Close()); err != nil || !l.Conn.isClosed() {
			t.Errorf("Close: %v", err)
		}
		if err := <-failed; !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("who waits: %v", err)
		}
		l.Return()
		if _, err := p.Get(t.Context(), Brief); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("afterwards: %v", err)
		}
	})
}
