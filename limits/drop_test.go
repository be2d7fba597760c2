package limits

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// From DropFrom on, DropPercent of the connections are refused, then more, and all
// when it is full.
func TestEarlyDrop(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{MaxUnauthenticated: 20, DropFrom: 10, DropPercent: 30, MaxUnauthenticatedPerSource: 100})
	last := map[int]int{10: 29, 11: 36, 12: 43, 15: 64, 19: 92} // the last roll that is refused
	for n := range 20 {
		if want, looked := last[n]; looked {
			l.roll = func() int { return want }
			_, err := l.Admit(peer("192.0.2.1"))
			refused(t, err, "refused at random", false)
			l.roll = func() int { return want + 1 }
		} else {
			l.roll = func() int { return 99 }
		}
		mustAdmit(t, l, "192.0.2.1")
	}
	l.roll = func() int { return 99 }
	_, err := l.Admit(peer("192.0.2.1"))
	refused(t, err, "connections without a login", false)
}

// Who has logged in from somewhere, and who is trusted, is let in as long as there
// is room.
func TestEarlyDropSparesTheKnown(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{MaxUnauthenticated: 20, DropFrom: 1, Trusted: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
	l.roll = func() int { return 0 }
	mustAdmit(t, l, "192.0.2.1")
	_, err := l.Admit(peer("192.0.2.2"))
	refused(t, err, "refused at random", false)
	l.Succeeded(peer("192.0.2.2"), "alice")
	mustAdmit(t, l, "192.0.2.2")
	mustAdmit(t, l, "203.0.113.5")
	_, err = l.Admit(peer("192.0.2.3"))
	refused(t, err, "refused at random", false)
}

// A flood of strangers at the default settings leaves room to those who come now
// and then: by chance, here in turn.
func TestEarlyDropDefaults(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{})
	turn := 0
	l.roll = func() int { turn += 37; return turn % 100 }
	admitted := 0
	for i := range 600 {
		if _, err := l.Admit(peer(fmt.Sprintf("198.18.%d.%d", i/200, i%200))); err == nil {
			admitted++
		}
	}
	if admitted < 256 || admitted >= 512 {
		t.Errorf("%d of 600 strangers admitted, want more than 256 and less than 512", admitted)
	}
}

func TestEarlyDropIsChecked(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"DropPercent is 101":          {DropPercent: 101},
		"DropFrom (513) is more than": {DropFrom: 513},
		"DropFrom is -1":              {DropFrom: -1},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := New(Config{MaxUnauthenticated: 1}); err != nil {
		t.Error(err)
	}
}
