package hashes

import (
	"fmt"
	"time"
)

// The limits of a hash that is accepted. pure-pw's "m=8192,t=1023" is within them.
const (
	maxWork      = 5 * time.Second
	maxMemoryKiB = 128 << 10
	// normalWork is the most of a hash of the normal class: three times that of a new one.
	normalWork = 100 * time.Millisecond
)

// Price is what it takes to compare one password with a hash.
type Price struct {
	// Work is the time of one processor of a machine on which a new hash takes some
	// 30 ms, as BenchmarkPrices shows. It is the same on every machine, so that a hash
	// has one class on all nodes.
	Work time.Duration
	// MemoryKiB is what is needed meanwhile.
	MemoryKiB int
}

// Class says among which hashes one waits for its turn.
type Class int

const (
	// Normal hashes take about as long as a new one.
	Normal Class = iota
	// Heavy ones are computed one at a time.
	Heavy
)

// Class of a price.
func (p Price) Class() Class {
	if p.Work > normalWork {
		return Heavy
	}
	return Normal
}

// And is the price of doing both, one after the other.
func (p Price) And(q Price) Price {
	return Price{Work: p.Work + q.Work, MemoryKiB: max(p.MemoryKiB, q.MemoryKiB)}
}

// priced returns the price of so many steps of that many nanoseconds, with that
// memory, unless it is too much. It takes floating-point numbers, which do not wrap
// around however absurd the parameters are.
func priced(steps, nanoseconds, memoryKiB float64) (Price, error) {
	switch work := steps * nanoseconds; {
	case memoryKiB > maxMemoryKiB:
		return Price{}, fmt.Errorf("%w: it needs over %d MiB of memory", ErrCost, maxMemoryKiB>>10)
	case work > float64(maxWork):
		return Price{}, fmt.Errorf("%w: it takes over %v", ErrCost, maxWork)
	default:
		return Price{Work: time.Duration(work), MemoryKiB: int(memoryKiB)}, nil
	}
}
