package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// leastHeap is what the heap may grow to before it is collected. The usual rule, twice
// what lives, makes an idle process of a few megabytes collect for every few megabytes
// that an upload over SSH leaves behind, which costs a fifth of its processor time.
const leastHeap = 48 << 20

// collector keeps the garbage collector from running before there is leastHeap of heap.
// Above that twice what lives is allowed, as always.
type collector struct {
	// scanned is what the last collection found: the heap that lives, and the roots,
	// which are stacks and globals.
	scanned [3]metrics.Sample
}

// tuneCollector tunes from now on. It does nothing where the operator has chosen, by
// GOGC or GOMEMLIMIT (package runtime).
func tuneCollector() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	(&collector{[3]metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}}).tune()
}

// tune is called after each collection: what was made here is garbage at the next.
func (c *collector) tune() {
	metrics.Read(c.scanned[:])
	live, stacks, globals := c.scanned[0].Value.Uint64(), c.scanned[1].Value.Uint64(), c.scanned[2].Value.Uint64()
	debug.SetGCPercent(percentFor(live, stacks+globals))
	type cycle struct{ _ *byte }
	runtime.AddCleanup(new(cycle), (*collector).tune, c)
}

// percentFor is how much a heap may grow of which so many bytes live, in percent of what
// lives and of the roots (https://go.dev/doc/gc-guide, GOGC).
func percentFor(live, roots uint64) int {
	const (
		usual = 100
		// A heap is never collected before it has this much for each 100 percent.
		minimum = 4 << 20
	)
	if 2*live+roots >= leastHeap {
		return usual
	}
	return int(min((leastHeap-live)*100/(live+roots+1), leastHeap*100/minimum))
}
