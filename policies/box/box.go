// Package box computes with sets of points in a space of few values on each of many axes,
// as unions of boxes: what a set of rules says is such a union, and whether two of them say
// the same is a matter of taking one away from the other.
package box

import (
	"errors"
	"math/bits"
	"slices"
)

// ErrBudget is a computation that would take more boxes than it may.
var ErrBudget = errors.New("it takes too many boxes")

// Space is the axes, each with how many values it has.
type Space struct {
	Sizes []int
	// Budget is the most boxes that a region may have. Zero means 100,000.
	Budget int
}

const defaultBudget = 100_000

// Set is a set of values of one axis. Nil stands for all of them.
type Set []uint64

// Box is, for each axis, a set of values; the points in it have a value of each.
type Box []Set

// Region is a union of boxes, which may overlap. None is the empty set.
type Region []Box

// All is the whole space.
func (s *Space) All() Box { return make(Box, len(s.Sizes)) }

// Where is the points that have one of the values on an axis. Without a value there is none.
func (s *Space) Where(axis int, values ...int) Region {
	set := make(Set, (s.Sizes[axis]+63)/64)
	for _, v := range values {
		set[v/64] |= 1 << (v % 64)
	}
	return s.of(axis, set)
}

// WhereNot is the points that have none of the values.
func (s *Space) WhereNot(axis int, values ...int) Region {
	set := s.full(axis)
	for _, v := range values {
		set[v/64] &^= 1 << (v % 64)
	}
	return s.of(axis, set)
}

func (s *Space) of(axis int, set Set) Region {
	if set.empty() {
		return nil
	}
	b := s.All()
	if b[axis] = set; slices.Equal(set, s.full(axis)) {
		b[axis] = nil
	}
	return Region{b}
}

// full is the set of all values of an axis, written out.
func (s *Space) full(axis int) Set {
	n := s.Sizes[axis]
	set := make(Set, (n+63)/64)
	for i := range set {
		set[i] = ^uint64(0)
	}
	if rest := n % 64; rest != 0 {
		set[len(set)-1] = 1<<rest - 1
	}
	return set
}

func (a Set) empty() bool {
	return a != nil && !slices.ContainsFunc(a, func(w uint64) bool { return w != 0 })
}

// Has reports whether a value is in the set.
func (a Set) Has(v int) bool { return a == nil || a[v/64]&(1<<(v%64)) != 0 }

// Values lists what is in a set that is not nil.
func (a Set) Values() []int {
	var out []int
	for i, w := range a {
		for ; w != 0; w &= w - 1 {
			out = append(out, i*64+bits.TrailingZeros64(w))
		}
	}
	return out
}

func and(a, b Set) Set {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	out := make(Set, len(a))
	for i := range a {
		out[i] = a[i] & b[i]
	}
	return out
}

func (s *Space) without(axis int, a, b Set) Set {
	if b == nil {
		return Set{}
	}
	if a == nil {
		a = s.full(axis)
	}
	out := make(Set, len(a))
	for i := range a {
		out[i] = a[i] &^ b[i]
	}
	return out
}

// meet is the box of the points in both, if there are any.
func meet(a, b Box) (Box, bool) {
	out := make(Box, len(a))
	for i := range a {
		if out[i] = and(a[i], b[i]); out[i].empty() {
			return nil, false
		}
	}
	return out, true
}

// Intersect is the points that are in both.
func (s *Space) Intersect(a, b Region) (Region, error) {
	var out Region
	for _, x := range a {
		for _, y := range b {
			if z, some := meet(x, y); some {
				out = append(out, z)
			}
			if s.over(out) {
				return nil, ErrBudget
			}
		}
	}
	return out, nil
}

// Subtract is the points of a that are not in b. Its boxes overlap only where those of a
// do.
func (s *Space) Subtract(a, b Region) (Region, error) {
	for _, y := range b {
		var rest Region
		for _, x := range a {
			rest = s.cut(rest, x, y)
			if s.over(rest) {
				return nil, ErrBudget
			}
		}
		a = rest
	}
	return a, nil
}

// cut appends to out the parts of x that are not in y.
func (s *Space) cut(out Region, x, y Box) Region {
	if _, some := meet(x, y); !some {
		return append(out, x)
	}
	x = slices.Clone(x)
	for i := range x {
		if part := s.without(i, x[i], y[i]); len(part) > 0 && !part.empty() {
			piece := slices.Clone(x)
			piece[i] = part
			out = append(out, piece)
		}
		x[i] = and(x[i], y[i])
	}
	return out
}

func (s *Space) over(r Region) bool {
	budget := s.Budget
	if budget == 0 {
		budget = defaultBudget
	}
	return len(r) > budget
}

// Project forgets axes: the points that have, with some other value on them, one in r.
func (s *Space) Project(r Region, axes ...int) Region {
	out := make(Region, len(r))
	for i, b := range r {
		out[i] = slices.Clone(b)
		for _, a := range axes {
			out[i][a] = nil
		}
	}
	return out
}

// Merge joins boxes that differ on one axis only, and drops those within another. The
// points stay the same.
func (s *Space) Merge(r Region) Region {
	r = slices.Clone(r)
	for changed := true; changed; {
		changed = false
		for i := 0; i < len(r); i++ {
			for j := i + 1; j < len(r); j++ {
				if joined, ok := s.join(r[i], r[j]); ok {
					r[i] = joined
					r = slices.Delete(r, j, j+1)
					changed = true
					j--
				}
			}
		}
	}
	return r
}

// join is one box of the points of both, if there is one.
func (s *Space) join(a, b Box) (Box, bool) {
	differ := -1
	aIn, bIn := true, true // a is within b, and the other way round
	for i := range a {
		if slices.Equal(a[i], b[i]) && (a[i] == nil) == (b[i] == nil) {
			continue
		}
		if differ >= 0 {
			differ = len(a)
		} else {
			differ = i
		}
		aIn, bIn = aIn && within(a[i], b[i]), bIn && within(b[i], a[i])
	}
	switch {
	case aIn:
		return b, true
	case bIn:
		return a, true
	case differ == len(a):
		return nil, false
	}
	out := slices.Clone(a)
	out[differ] = slices.Clone(a[differ])
	for i := range out[differ] {
		out[differ][i] |= b[differ][i]
	}
	if slices.Equal(out[differ], s.full(differ)) {
		out[differ] = nil
	}
	return out, true
}

func within(a, b Set) bool {
	switch {
	case b == nil:
		return true
	case a == nil:
		return false
	}
	for i := range a {
		if a[i]&^b[i] != 0 {
			return false
		}
	}
	return true
}
