package main

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

func TestSmallHeapsGrowBeforeTheyAreCollected(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		live uint64
		want int
	}{{0, 4700}, {8 << 20, 500}, {24 << 20, 100}, {1 << 30, 100}} {
		if got := percentFor(tc.live); got != tc.want {
			t.Errorf("%d bytes live: %d %%, want %d", tc.live, got, tc.want)
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
