package main

import "testing"

// It is collected once when a burst is over, and not while work goes on, nor again for nothing.
func TestTidiedWhenAtRest(t *testing.T) {
	t.Parallel()
	var r tidying
	for _, step := range []struct {
		name  string
		bytes uint64
		want  bool
	}{
		{"starts", 1 << 20, false},
		{"a little, at rest", 1 << 20, false},
		{"works", 100 << 20, false},
		{"works on", 100 << 20, false},
		{"rests", 10 << 10, true},
		{"goes on resting", 10 << 10, false},
		{"trickles", 200 << 10, false},
		{"works", 20 << 20, false},
		{"rests again", 0, true},
	} {
		if got := r.due(r.before + step.bytes); got != step.want {
			t.Errorf("%s: got %v, want %v", step.name, got, step.want)
		}
	}
}
