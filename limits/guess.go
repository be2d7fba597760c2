package limits

import (
	"net/netip"
	"time"
)

// maxPlaces bounds each table of names and places.
const maxPlaces = 65536

// A place is where a name was used from; the name is a keyed hash.
type place struct {
	name   uint64
	source netip.Prefix
}

// A budget counts failures within a window that begins with the first.
type budget struct {
	began time.Time
	spent int
}

// guesses counts failed logins by name. It is guarded by Limits.mu.
type guesses struct {
	most             int
	window, knownFor time.Duration

	names   bounded[uint64, budget]          // from all places that are not known
	places  bounded[place, budget]           // from each known place
	known   bounded[place, time.Time]        // to when it is forgotten
	sources bounded[netip.Prefix, time.Time] // known for anybody
}

func newGuesses(cfg Config) guesses {
	g := guesses{most: cfg.MaxGuesses, window: cfg.GuessWindow, knownFor: cfg.KnownFor}
	past := func(until time.Time, now time.Time) bool { return !until.After(now) }
	window := g.window
	over := func(b budget, now time.Time) bool { return now.Sub(b.began) >= window }
	less := func(a, b budget) bool { return a.spent < b.spent }
	g.names = newBounded[uint64](over, less)
	g.places = newBounded[place](over, less)
	g.known = newBounded[place](past, time.Time.Before)
	g.sources = newBounded[netip.Prefix](past, time.Time.Before)
	return g
}

func (g *guesses) exhausted(p place, now time.Time) bool {
	var b budget
	if _, known := g.known.get(p, now); known {
		b, _ = g.places.get(p, now)
	} else {
		b, _ = g.names.get(p.name, now)
	}
	return b.spent >= g.most
}

func (g *guesses) failed(p place, now time.Time) {
	if _, known := g.known.get(p, now); known {
		b, _ := g.places.get(p, now)
		g.places.put(p, b.spend(now), now)
		return
	}
	b, _ := g.names.get(p.name, now)
	g.names.put(p.name, b.spend(now), now)
}

func (b budget) spend(now time.Time) budget {
	if b.spent == 0 {
		b.began = now
	}
	b.spent++
	return b
}

// succeeded makes the place known and gives it its budget back. The budget of
// all other places stays: whoever guesses from there is not the owner.
func (g *guesses) succeeded(p place, now time.Time) {
	until := now.Add(g.knownFor)
	g.known.put(p, until, now)
	g.sources.put(p.source, until, now)
	g.places.remove(p)
}

func (g *guesses) knownSource(source netip.Prefix, now time.Time) bool {
	_, known := g.sources.get(source, now)
	return known
}

// bounded is a map of at most maxPlaces entries that end. Each step looks at a
// few entries only.
type bounded[K comparable, V any] struct {
	entries map[K]V
	over    func(v V, now time.Time) bool
	less    func(a, b V) bool // which to forget first
	room    int               // maxPlaces, less in tests
}

func newBounded[K comparable, V any](over func(V, time.Time) bool, less func(a, b V) bool) bounded[K, V] {
	return bounded[K, V]{make(map[K]V), over, less, maxPlaces}
}

// get returns the entry of k unless there is none or it is over.
func (t *bounded[K, V]) get(k K, now time.Time) (V, bool) {
	v, ok := t.entries[k]
	if ok && t.over(v, now) {
		delete(t.entries, k)
		ok = false
	}
	if !ok {
		var zero V
		return zero, false
	}
	return v, true
}

func (t *bounded[K, V]) remove(k K) { delete(t.entries, k) }

// put sets the entry of k, and forgets others to make room for it.
func (t *bounded[K, V]) put(k K, v V, now time.Time) {
	if _, there := t.entries[k]; !there {
		t.makeRoom(now)
	}
	t.entries[k] = v
}

func (t *bounded[K, V]) makeRoom(now time.Time) {
	var least K
	var leastValue V
	looked, found := 0, false
	for k, v := range t.entries {
		if t.over(v, now) {
			delete(t.entries, k)
		} else if !found || t.less(v, leastValue) {
			least, leastValue, found = k, v, true
		}
		if looked++; looked == sampled {
			break
		}
	}
	if len(t.entries) >= t.room {
		delete(t.entries, least)
	}
}
