package main

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

func TestSmallHeapsGrowBeforeTheyAreCollected(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		live, roots uint64
		want        int
	}{{0, 0, 1200}, {2 << 20, 0, 1200}, {8 << 20, 0, 499}, {8 << 20, 8 << 20, 249}, {24 << 20, 0, 100}, {16 << 20, 16 << 20, 100}, {1 << 30, 1 << 20, 100}} {
		if got := percentFor(tc.live, tc.roots); got != tc.want {
			t.Errorf("%d bytes live, %d of roots: %d %%, want %d", tc.live, tc.roots, got, tc.want)
		}
	}
}

// Not parallel: the collector is that of the whole process.
func TestCollectorFollowsTheHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	tuneCollector()
	held := make([]byte, 2*leastHeap)
	setting := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	for { // the test times out if the setting does not come
		runtime.GC()
		if metrics.Read(setting); setting[0].Value.Uint64() == 100 {
			break
		}
		runtime.Gosched()
	}
	runtime.KeepAlive(held)
	held = nil
	for {
		runtime.GC()
		if metrics.Read(setting); setting[0].Value.Uint64() > 100 {
			break
		}
		runtime.Gosched()
	}
}
