package limits

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Config{})
		rate := session.Rate{N: 3, Per: time.Minute}
		tries := func(from string, r session.Rate) (let int) {
			for l.Throttle(peer(from), r) == nil {
				let++
			}
			return let
		}
		if got := tries("192.0.2.1", rate); got != 3 {
			t.Errorf("at once: got %d, want 3", got)
		}
		if err := l.Throttle(peer("192.0.2.1"), rate); !errors.Is(err, session.ErrTooMany) {
			t.Errorf("got %v, want too many", err)
		}
		if got := tries("192.0.2.2", rate); got != 3 {
			t.Errorf("from elsewhere: got %d, want 3", got)
		}
		if got := tries("192.0.2.1", session.Rate{N: 5, Per: time.Hour}); got != 5 {
			t.Errorf("by another rule: got %d, want 5", got)
		}
		time.Sleep(20 * time.Second)
		if got := tries("192.0.2.1", rate); got != 1 {
			t.Errorf("after a third of the time: got %d, want 1", got)
		}
		time.Sleep(time.Hour)
		if got := tries("192.0.2.1", rate); got != 3 {
			t.Errorf("after a rest: got %d, want 3", got)
		}
	})
}
