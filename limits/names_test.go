package limits

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

// A source may name so many accounts in a minute; others are not held up by it, nor is one
// that is trusted.
func TestNamesOfASource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Config{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		flood, other, trusted := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.8"), netip.MustParseAddr("10.1.2.3")
		for i := range maxNames {
			if err := l.Name(flood); err != nil {
				t.Fatalf("name %d: %v", i, err)
			}
		}
		for range 3 {
			if err := l.Name(flood); !errors.Is(err, session.ErrTooMany) {
				t.Errorf("one more: got %v, want %v", err, session.ErrTooMany)
			}
		}
		for range maxNames + 1 {
			if err := l.Name(trusted); err != nil {
				t.Fatalf("a trusted one: %v", err)
			}
		}
		if err := l.Name(other); err != nil {
			t.Errorf("another: %v", err)
		}
		time.Sleep(nameWindow)
		if err := l.Name(flood); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}
