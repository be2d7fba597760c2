package limits

import (
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

// A device that retries a stale password every ten seconds, day and night, keeps
// neither its owner out of the account nor its neighbours behind the same
// address out of theirs.
func TestStaleDeviceLocksNobodyOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Config{})
		device, elsewhere := peer("192.0.2.7"), peer("198.51.100.9")
		for range 24 * 360 {
			l.Offend(device, "joe", session.RepeatedProof)
			time.Sleep(10 * time.Second)
		}
		if err := l.Guess(elsewhere, "joe", session.MethodPassword); err != nil {
			t.Errorf("the owner from a new place: %v", err)
		}
		if err := l.Guess(device, "ann", session.MethodPassword); err != nil {
			t.Errorf("a neighbour of the device: %v", err)
		}
	})
}
