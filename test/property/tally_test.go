package property

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
)

// A tally counts what came of the situations.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	total  int
}

// add counts one situation under all that it was.
func (c *tally) add(what ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
	for _, w := range what {
		c.counts[w]++
	}
}

func (c *tally) report(t *testing.T) {
	t.Helper()
	t.Logf("%7d situations", c.total)
	for _, what := range slices.Sorted(maps.Keys(c.counts)) {
		t.Logf("%7d %s", c.counts[what], what)
	}
}

// demand looks whether the situations were of all kinds, without which the test would
// show nothing.
func (c *tally) demand(t *testing.T) {
	t.Helper()
	for _, k := range kinds() {
		for _, a := range []answerKind{granted, denied} {
			if what := came(k, a); c.counts[what] == 0 {
				t.Errorf("no situation was %q", what)
			}
		}
	}
	for _, what := range []string{
		came(kindFTP, insecure), came(kindMail, insecure), came(kindFTP, paused), came(kindMail, paused), came(kindSSH, more),
		"under assert no", "under assert only", "under assert same", "with a notice", "refused by place",
		"exempted", "resumed", "by certificate", "observed", "changed meanwhile",
	} {
		if c.counts[what] == 0 {
			t.Errorf("no situation was %q", what)
		}
	}
}

func came(k kind, a answerKind) string { return fmt.Sprintf("%s: %s", k, a) }
