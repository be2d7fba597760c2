package transfer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// moving is the part of a Reader or Writer that bandwidth is about.
type moving interface {
	Allow(ctx context.Context, want int64) (int64, error)
	Count(n int64)
}

// move moves n bytes and says in how many pieces.
func move(t *testing.T, m moving, n int64) (pieces int) {
	t.Helper()
	for ; n > 0; pieces++ {
		now, err := m.Allow(t.Context(), n)
		if err != nil || now <= 0 || now > n {
			t.Errorf("Allow(%d): got %d, %v", n, now, err)
			return pieces
		}
		m.Count(now)
		n -= now
	}
	return pieces
}

func limited(perSecond int64) session.Access {
	a := session.FullAccess()
	a.Bandwidth = perSecond
	return a
}

// wantTime checks how long something took, but for the bytes that a limit lets
// through at once after a pause.
func wantTime(t *testing.T, what string, since time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(since); got > want || got < want-300*time.Millisecond {
		t.Errorf("%s took %v, want %v", what, got, want)
	}
}

func create(t *testing.T, f *transfer.Files, name string) *transfer.Writer {
	t.Helper()
	w, err := f.Create(t.Context(), name, storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Abort(context.WithoutCancel(t.Context()), nil, false) })
	return w
}

func open(t *testing.T, f *transfer.Files, name string) *transfer.Reader {
	t.Helper()
	r, err := f.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.WithoutCancel(t.Context()), nil) })
	return r
}

// The sessions of an account share its bandwidth, each direction for itself, and
// pieces are small enough to go on smoothly.
func TestBandwidthOfAnAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		one := h.enter(t, "alice", limited(100<<10), transfer.Limits{})
		two := h.enter(t, "alice", limited(100<<10), transfer.Limits{})
		wantErr(t, "put", put(t, one, "/f", ""), nil)
		time.Sleep(time.Second)
		began := time.Now()
		var wg sync.WaitGroup
		for _, m := range []moving{create(t, one, "/a"), create(t, two, "/b"), open(t, one, "/f")} {
			wg.Go(func() {
				size := int64(500 << 10)
				if _, reads := m.(*transfer.Reader); reads {
					size *= 2
				}
				if pieces := move(t, m, size); pieces < 20 {
					t.Errorf("%d bytes came in %d pieces", size, pieces)
				}
			})
		}
		wg.Wait()
		wantTime(t, "1000 KiB in each direction", began, 10*time.Second)
	})
}

// The connections of a listener share its bandwidth, whoever they are.
func TestBandwidthOfAListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		limits := transfer.Limits{Bandwidth: transfer.NewBandwidth(50 << 10)}
		alice := h.enter(t, "alice", limited(10<<20), limits)
		bob := h.enter(t, "bob", session.FullAccess(), limits)
		elsewhere := h.enter(t, "bob", session.FullAccess(), transfer.Limits{})
		time.Sleep(time.Second)
		began := time.Now()
		move(t, create(t, elsewhere, "/c"), 1<<30)
		wantTime(t, "without a limit", began, 0)
		var wg sync.WaitGroup
		for _, m := range []moving{create(t, alice, "/a"), create(t, bob, "/b")} {
			wg.Go(func() { move(t, m, 250<<10) })
		}
		wg.Wait()
		wantTime(t, "500 KiB", began, 10*time.Second)
	})
}

// Who waits for bandwidth is woken when it is over.
func TestWaitIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		f := h.enter(t, "alice", limited(1), transfer.Limits{})
		w := create(t, f, "/a")
		if n, err := w.Allow(t.Context(), 1<<20); n != 4<<10 || err != nil {
			t.Errorf("Allow: got %d, %v", n, err)
		}
		aborted := errors.New("aborted by the peer")
		for name, wait := range map[string]func(context.Context) error{
			"Allow": func(ctx context.Context) error { _, err := w.Allow(ctx, 1<<20); return err },
			"Pace":  func(ctx context.Context) error { return w.Pace(ctx, 1<<20) },
		} {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Minute, func() { cancel(aborted) })
			began := time.Now()
			wantErr(t, name, wait(ctx), aborted)
			if took := time.Since(began); took != time.Minute {
				t.Errorf("%s: woken after %v", name, took)
			}
		}
	})
}

func BenchmarkAllow(b *testing.B) {
	h := newHouse(b)
	f := h.enter(b, "alice", session.FullAccess(), transfer.Limits{})
	w, err := f.Create(b.Context(), "/a", storage.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = w.Abort(b.Context(), nil, false) }()
	for b.Loop() {
		_, _ = w.Allow(b.Context(), 1<<20)
	}
}
