package box

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// small is a space that can be gone through point by point.
func small() *Space { return &Space{Sizes: []int{2, 3, 70, 1}} }

func points(s *Space) [][]int {
	out := [][]int{nil}
	for _, n := range s.Sizes {
		var next [][]int
		for _, p := range out {
			for v := range n {
				next = append(next, append(slices.Clone(p), v))
			}
		}
		out = next
	}
	return out
}

func (r Region) has(p []int) bool {
	return slices.ContainsFunc(r, func(b Box) bool {
		for i, v := range p {
			if !b[i].Has(v) {
				return false
			}
		}
		return true
	})
}

func random(s *Space, r *rand.Rand) Region {
	var out Region
	for range r.IntN(4) {
		b := s.All()
		for i, n := range s.Sizes {
			if r.IntN(2) == 0 {
				continue
			}
			var values []int
			for v := range n {
				if r.IntN(2) == 0 {
					values = append(values, v)
				}
			}
			if some := s.Where(i, values...); len(some) > 0 {
				b[i] = some[0][i]
			}
		}
		out = append(out, b)
	}
	return out
}

// What is computed with boxes is what is found by going through all points.
func FuzzAlgebra(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		s, r := small(), rand.New(rand.NewPCG(seed, 1))
		a, b := random(s, r), random(s, r)
		both, err1 := s.Intersect(a, b)
		less, err2 := s.Subtract(a, b)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		flat, merged := s.Project(a, 1, 2), s.Merge(append(slices.Clone(a), b...))
		if len(merged) > len(a)+len(b) {
			t.Errorf("%d and %d boxes are merged into %d", len(a), len(b), len(merged))
		}
		for _, p := range points(s) {
			inA, inB := a.has(p), b.has(p)
			if both.has(p) != (inA && inB) || less.has(p) != (inA && !inB) || merged.has(p) != (inA || inB) {
				t.Fatalf("%v: in a %v, in b %v, in both %v, in a less b %v, in the merged %v", p, inA, inB, both.has(p), less.has(p), merged.has(p))
			}
			above := slices.ContainsFunc(points(s), func(q []int) bool { return q[0] == p[0] && q[3] == p[3] && a.has(q) })
			if flat.has(p) != above {
				t.Fatalf("%v: in the projection %v, want %v", p, flat.has(p), above)
			}
		}
	})
}

func TestWhere(t *testing.T) {
	t.Parallel()
	s := small()
	if r := s.Where(1, 0, 1, 2); len(r) != 1 || r[0][1] != nil {
		t.Errorf("all values: %v", r)
	}
	if r := s.Where(1); r != nil {
		t.Errorf("no value: %v", r)
	}
	if r := s.WhereNot(2, 69); !slices.Contains(r[0][2].Values(), 68) || r[0][2].Has(69) {
		t.Errorf("all but one: %v", r)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	s := &Space{Sizes: []int{64, 64, 64}, Budget: 10}
	var b Region
	for i := range 20 {
		some, _ := s.Intersect(s.Where(0, i), s.Where(1, i))
		b = append(b, some...)
	}
	if _, err := s.Subtract(Region{s.All()}, b); !errors.Is(err, ErrBudget) {
		t.Errorf("got %v", err)
	}
}
