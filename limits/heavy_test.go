package limits

import (
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

// TestHeavyIsApart is that nobody waits behind a hash that takes seconds but who has one
// too.
func TestHeavyIsApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHashing(HashingConfig{MaxAtOnce: 1})
		release, err := h.AcquireHeavy(t.Context(), source(1), 65536)
		if err != nil {
			t.Fatal(err)
		}
		mustAcquire(t, h, 2, 19456)()
		began, second := time.Now(), make(chan time.Duration)
		go func() {
			r, err := h.AcquireHeavy(t.Context(), source(2), 65536)
			if err != nil {
				t.Error(err)
				close(second)
				return
			}
			second <- time.Since(began)
			r(true)
		}()
		time.Sleep(4 * time.Second)
		release(true)
		release(false) // does nothing more
		if got := <-second; got != 4*time.Second {
			t.Errorf("got the turn after %v, want 4s, at once after a right one", got)
		}
	})
}

// After a wrong password the slot rests, so that guesses take a fifth of the
// processors.
func TestHeavyRestsAfterAWrongPassword(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHashing(HashingConfig{})
		const work = 4 * time.Second
		began := time.Now()
		var turns int
		for time.Since(began) < 10*time.Minute {
			release, err := h.AcquireHeavy(t.Context(), source(turns), 65536)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(work)
			release(false)
			turns++
		}
		used := float64(work) * float64(turns) / (float64(time.Since(began)) * float64(runtime.GOMAXPROCS(0)))
		if limit := 1.05 / heavyShare; used > limit && runtime.GOMAXPROCS(0) <= heavyShare {
			t.Errorf("guesses used %.2f of the processors, want at most %.2f", used, limit)
		}
		mustAcquire(t, h, 1, 19456)() // which does not rest
	})
}

func TestHeavyRest(t *testing.T) {
	t.Parallel()
	for processors, want := range map[int]time.Duration{1: 16 * time.Second, 2: 6 * time.Second, 4: time.Second, 5: 0, 64: 0} {
		if got := heavyRest(4*time.Second, processors); got != want {
			t.Errorf("%d processors: got %v, want %v", processors, got, want)
		}
	}
}

// Who waits too long, or finds too many waiting, is put off for the moment.
func TestHeavyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHashing(HashingConfig{})
		release, err := h.AcquireHeavy(t.Context(), source(0), 1)
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error, heavyWaiting+1)
		for i := range heavyWaiting + 1 {
			go func() {
				_, err := h.AcquireHeavy(t.Context(), source(i), 1)
				results <- err
			}()
		}
		synctest.Wait()
		if err := <-results; !errors.Is(err, session.ErrUnavailable) || len(results) != 0 {
			t.Errorf("one too many: got %v, want unavailable", err)
		}
		time.Sleep(heavyWait)
		synctest.Wait()
		for range heavyWaiting {
			if err := <-results; !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("waited: got %v, want unavailable", err)
			}
		}
		if _, err := h.AcquireHeavy(t.Context(), source(1), heavyMemory+1); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("too much memory: got %v, want unavailable", err)
		}
		release(true)
	})
}
