package upstream

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What came is written in the order in which it came, whatever that is.
func TestBehind(t *testing.T) {
	t.Parallel()
	content := random(3*maxBehind + 17)
	got, want := make([]byte, len(content)), make([]byte, len(content))
	var writes atomic.Int64
	b := NewBehind(func(p []byte, off int64) error {
		writes.Add(1)
		copy(got[off:], p)
		return nil
	})
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		off := r.IntN(len(content))
		p := content[off:min(len(content), off+r.IntN(50_000))]
		if r.IntN(4) == 0 {
			p = content[:len(content)-off] // other bytes, and more than is sent at once
		}
		copy(want[off:], p)
		if n, err := b.WriteAt(p, int64(off)); n != len(p) || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
	}
	if err := b.Flush(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Flush: %v; same: %v", err, bytes.Equal(got, want))
	}
	if err := b.Flush(); err != nil {
		t.Error(err)
	}
}

// What comes in sequence while something is on its way goes together.
func TestBehindGathers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		b := NewBehind(func(p []byte, _ int64) error {
			time.Sleep(time.Second)
			sizes = append(sizes, len(p))
			return nil
		})
		for i := range int64(100) {
			if _, err := b.WriteAt(make([]byte, 10), 10*i); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if err := b.Flush(); err != nil || len(sizes) != 2 || sizes[0] != 10 || sizes[1] != 990 {
			t.Errorf("%v, %v", sizes, err)
		}
	})
}

// An error ends it: nothing more is written, and everybody hears of it.
func TestBehindFails(t *testing.T) {
	t.Parallel()
	failed := errors.New("gone")
	writes := 0
	b := NewBehind(func([]byte, int64) error {
		writes++
		return failed
	})
	var err error
	for i := int64(0); err == nil; i++ {
		_, err = b.WriteAt(make([]byte, maxBehind), i*maxBehind)
	}
	if _, again := b.WriteAt([]byte("x"), 0); !errors.Is(err, failed) || !errors.Is(again, failed) || !errors.Is(b.Flush(), failed) || writes != 1 {
		t.Errorf("got %v, %v, %d writes", err, again, writes)
	}
}
