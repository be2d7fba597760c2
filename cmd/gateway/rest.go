package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// restPeriod is how often it is looked whether the process is at rest.
	restPeriod = time.Second
	// restBytes is what a process at rest allocates within a restPeriod at most.
	restBytes = 256 << 10
	// worthBytes is from how much garbage on it is worth to collect: what opening some
	// hundreds of sessions leaves behind.
	worthBytes = 8 << 20
	// restCycles is how often it is collected then. Each cycle halves the stacks that a
	// login made large, and that an idle session does not need.
	restCycles = 3
)

// tidying notices that a process has come to rest.
type tidying struct {
	before uint64 // bytes allocated in all at the last look
	tidied uint64 // and when it was collected last
}

// due reports whether there is something to collect and nothing else to do; allocated is how
// many bytes were allocated in all.
func (t *tidying) due(allocated uint64) bool {
	atRest := allocated-t.before < restBytes
	t.before = allocated
	if !atRest || allocated-t.tidied < worthBytes {
		return false
	}
	t.tidied = allocated
	return true
}

// tidy gives back what a burst of work left behind, once it is over: else that would stay until
// the heap has grown as much again, or for two minutes, and a gateway with thousands of idle
// sessions would hold twice what it needs. It does nothing where the operator has chosen
// (tuneCollector).
func tidy(ctx context.Context) error {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var t tidying
	tick := time.NewTicker(restPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		metrics.Read(allocated)
		if !t.due(allocated[0].Value.Uint64()) {
			continue
		}
		for range restCycles {
			runtime.GC()
		}
		debug.FreeOSMemory()
	}
}
