package ftp

import (
	"errors"
	"net/netip"
	"testing"
)

func TestPassiveStats(t *testing.T) {
	t.Parallel()
	p, err := NewPassivePorts(41200, 41201)
	if err != nil {
		t.Fatal(err)
	}
	check := func(wantFree, wantBusy int, wantExhausted int64) {
		t.Helper()
		if free, busy, exhausted := p.Stats(); free != wantFree || busy != wantBusy || exhausted != wantExhausted {
			t.Errorf("got %d free, %d busy, %d exhausted, want %d, %d, %d", free, busy, exhausted, wantFree, wantBusy, wantExhausted)
		}
	}
	check(2, 0, 0)
	if _, ok := p.take(); !ok {
		t.Fatal("no port")
	}
	check(1, 1, 0)
	last, _ := p.take()
	if _, _, err := p.listen(netip.MustParseAddr("127.0.0.1")); !errors.Is(err, errNoPort) {
		t.Errorf("got %v", err)
	}
	check(0, 2, 1)
	p.give(last)
	check(1, 1, 1)
}
