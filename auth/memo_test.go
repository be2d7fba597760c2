package auth

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemo()
		name := m.name("joe")
		right, wrong := m.proof(name, 1, "right"), m.proof(name, 1, "wrong")
		known := func(proof mac, want bool) {
			t.Helper()
			got, ok := m.recall(name, proof, time.Now())
			if ok != want || ok && got != (proof == right) {
				t.Errorf("after %v: got %v, %v, want known %v", time.Since(start()), got, ok, want)
			}
		}
		known(right, false)
		m.remember(name, right, true, time.Now())
		m.remember(name, wrong, false, time.Now())
		for range 2 {
			time.Sleep(proofTime - 1)
			known(right, true) // used, so it lives on
			known(wrong, true)
		}
		time.Sleep(proofTime)
		known(right, false)
		known(wrong, false)

		m.remember(name, right, true, time.Now())
		m.remember(name, wrong, false, time.Now())
		for range int(memoTime/time.Minute) - 1 {
			time.Sleep(time.Minute)
			known(right, true)
			known(wrong, true)
		}
		time.Sleep(time.Minute) // however often it is used, not for ever
		known(right, false)
		known(wrong, false)
	})
}

// start is the time at which a synctest bubble begins.
func start() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func TestMemoKeepsEightWrong(t *testing.T) {
	t.Parallel()
	m := newMemo()
	name, now := m.name("joe"), time.Now()
	proof := func(i int) mac { return m.proof(name, 1, fmt.Sprint(i)) }
	known := func(i int) bool { _, ok := m.recall(name, proof(i), now); return ok }
	m.remember(name, m.proof(name, 1, "right"), true, now)
	for i := range maxWrong {
		m.remember(name, proof(i), false, now)
	}
	if !known(0) { // and so it was used last
		t.Error("the first of eight is forgotten")
	}
	for i := maxWrong; i < 2*maxWrong-1; i++ {
		m.remember(name, proof(i), false, now)
	}
	if !known(0) {
		t.Error("the one used last is forgotten")
	}
	if known(1) {
		t.Error("the one used first is remembered")
	}
	for range 100 {
		m.remember(name, proof(0), false, now)
	}
	if got := len(m.names[name].Value.(*remembered).wrong); got != maxWrong {
		t.Errorf("got %d wrong ones, want %d", got, maxWrong)
	}
	if right, ok := m.recall(name, m.proof(name, 1, "right"), now); !right || !ok {
		t.Error("wrong ones pushed out the right one")
	}
}

func TestMemoIsBounded(t *testing.T) {
	t.Parallel()
	m := newMemo()
	now := time.Now()
	first := m.name("first")
	m.remember(first, m.proof(first, 0, "x"), false, now)
	for i := range maxMemoNames + 100 {
		name := m.name(fmt.Sprint(i))
		m.remember(name, m.proof(name, 0, "x"), false, now)
	}
	if len(m.names) != maxMemoNames || m.order.Len() != maxMemoNames {
		t.Errorf("got %d names in the map and %d in the list, want %d", len(m.names), m.order.Len(), maxMemoNames)
	}
	if _, known := m.recall(first, m.proof(first, 0, "x"), now); known {
		t.Error("the oldest name is remembered")
	}
}

func TestMemoMACs(t *testing.T) {
	t.Parallel()
	m, other := newMemo(), newMemo()
	joe := m.name("joe")
	seen := map[mac]string{}
	for text, proof := range map[string]mac{
		"joe 1 x":       m.proof(joe, 1, "x"),
		"joe 2 x":       m.proof(joe, 2, "x"),
		"joe 1 y":       m.proof(joe, 1, "y"),
		"jim 1 x":       m.proof(m.name("jim"), 1, "x"),
		"other process": other.proof(other.name("joe"), 1, "x"),
	} {
		if before, ok := seen[proof]; ok {
			t.Errorf("%s and %s have one MAC", before, text)
		}
		seen[proof] = text
	}
	// The zero outcome is no proof.
	m.remember(joe, m.proof(joe, 1, "wrong"), false, time.Now())
	if right, _ := m.recall(joe, mac{}, time.Now()); right {
		t.Error("the zero MAC is right")
	}
}
