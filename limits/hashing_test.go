package limits

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

func source(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }

func mustAcquire(t *testing.T, h *Hashing, from int, memory int) func() {
	t.Helper()
	release, err := h.Acquire(t.Context(), source(from), memory)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	return release
}

func TestHashingTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHashing(HashingConfig{MaxAtOnce: 1})
		release := mustAcquire(t, h, 1, 19456)
		began := time.Now()
		_, err := h.Acquire(t.Context(), source(2), 19456)
		if !errors.Is(err, session.ErrUnavailable) || time.Since(began) != 5*time.Second {
			t.Errorf("got %v after %v, want unavailable after 5s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = h.Acquire(ctx, source(2), 19456)
		if !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want unavailable because of the context", err)
		}
		release()
		release()
		mustAcquire(t, h, 2, 19456)()
		if got := h.Load(); got != (HashingLoad{}) {
			t.Errorf("got %+v, want nothing", got)
		}
	})
}

func TestHashingMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHashing(HashingConfig{MaxAtOnce: 8, MaxMemory: 100})
		if _, err := h.Acquire(t.Context(), source(1), 101); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("too much: got %v, want unavailable", err)
		}
		if _, err := h.Acquire(t.Context(), source(1), -1); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("negative: got %v, want unavailable", err)
		}
		release := mustAcquire(t, h, 1, 60)
		var served atomic.Int32
		go func() {
			r := mustAcquire(t, h, 2, 50)
			served.Add(1)
			r()
		}()
		synctest.Wait()
		go func() { // would fit, and must not overtake
			r := mustAcquire(t, h, 1, 10)
			served.Add(1)
			r()
		}()
		synctest.Wait()
		if got := h.Load(); got != (HashingLoad{Running: 1, Waiting: 2, MemoryKiB: 60}) {
			t.Errorf("got %+v", got)
		}
		release()
		synctest.Wait()
		if served.Load() != 2 || h.Load() != (HashingLoad{}) {
			t.Errorf("got %d and %+v, want both served", served.Load(), h.Load())
		}
	})
}

// A source that asks without pause does not keep others waiting.
func TestHashingIsFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHashing(HashingConfig{MaxAtOnce: 2})
		var mu sync.Mutex
		var order []int
		worker := func(from int) {
			r := mustAcquire(t, h, from, 1)
			mu.Lock()
			order = append(order, from)
			mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			r()
		}
		for range 20 {
			go worker(1)
		}
		synctest.Wait()
		for from := 2; from <= 4; from++ {
			go worker(from)
		}
		time.Sleep(250 * time.Millisecond)
		synctest.Wait()
		// Two of source 1 ran before anybody else came; of the next four turns the
		// others have all three.
		mu.Lock()
		others := 0
		for _, from := range order[:6] {
			if from != 1 {
				others++
			}
		}
		mu.Unlock()
		if others != 3 {
			t.Errorf("got order %v, want the others served among the next four", order)
		}
		time.Sleep(time.Minute)
	})
}

// When the queue is full, the greediest source gives way.
func TestHashingQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHashing(HashingConfig{MaxAtOnce: 1, MaxWaiting: 4})
		release := mustAcquire(t, h, 1, 1)
		var refused atomic.Int32
		wait := func(from int) {
			r, err := h.Acquire(t.Context(), source(from), 1)
			if err != nil {
				if !errors.Is(err, session.ErrUnavailable) {
					t.Errorf("got %v, want unavailable", err)
				}
				refused.Add(1)
				return
			}
			r()
		}
		for range 5 {
			go wait(1)
			synctest.Wait()
		}
		if got := refused.Load(); got != 1 {
			t.Errorf("full: got %d refused, want 1", got)
		}
		go wait(2)
		synctest.Wait()
		if got := refused.Load(); got != 2 {
			t.Errorf("another source: got %d refused, want 2", got)
		}
		if got := h.Load().Waiting; got != 4 {
			t.Errorf("got %d waiting, want 4", got)
		}
		h.mu.Lock()
		if last := h.waiting[3].source; last != session.SourcePrefix(source(2)) {
			t.Errorf("got %v last, want the other source", last)
		}
		h.mu.Unlock()
		release()
		synctest.Wait()
		if got := h.Load(); got != (HashingLoad{}) {
			t.Errorf("got %+v, want nothing", got)
		}
	})
}

func TestHashingLimitsHoldUnderLoad(t *testing.T) {
	t.Parallel()
	h := NewHashing(HashingConfig{MaxAtOnce: 3, MaxMemory: 100, MaxWaiting: 10, MaxWait: time.Millisecond})
	var running, memory atomic.Int64
	var wg sync.WaitGroup
	for worker := range 30 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(worker)))
			for range 200 {
				need := random.IntN(60)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(2000))*time.Microsecond)
				release, err := h.Acquire(ctx, source(worker%5), need)
				if err == nil {
					if r, m := running.Add(1), memory.Add(int64(need)); r > 3 || m > 100 {
						t.Errorf("got %d running with %d KiB", r, m)
					}
					running.Add(-1)
					memory.Add(int64(-need))
					release()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if got := h.Load(); got != (HashingLoad{}) {
		t.Errorf("got %+v, want nothing", got)
	}
}

// Work that can wait gets its turn only when nobody else has any.
func TestHashingWhenIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHashing(HashingConfig{MaxAtOnce: 2})
		release := mustAcquire(t, h, 1, 1)
		got := make(chan func())
		go func() {
			done, err := h.AcquireIdle(t.Context(), 1)
			if err != nil {
				t.Error(err)
			}
			got <- done
		}()
		synctest.Wait()
		other := mustAcquire(t, h, 2, 1)
		release()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("got a turn while another computes")
		default:
		}
		other()
		done := <-got
		mustAcquire(t, h, 1, 1)() // beside it
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := h.AcquireIdle(ctx, 1); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("got %v, want unavailable", err)
		}
		done()
		done()
		if got := h.Load(); got != (HashingLoad{}) {
			t.Errorf("got %+v, want nothing", got)
		}
		if _, err := h.AcquireIdle(t.Context(), 1<<30); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("too much: got %v, want unavailable", err)
		}
	})
}
