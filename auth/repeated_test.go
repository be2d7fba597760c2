package auth

import (
	"testing"

	"gateway/session"
)

// A device that retries a stale password makes no further guess: it must not
// lock its owner out. For a name that does not exist the answer is the same.
func TestStalePasswordIsToldFromAGuess(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "right")
	for _, user := range []string{"joe", "jim"} {
		for i, want := range []error{session.ErrDenied, session.ErrRepeated, session.ErrRepeated} {
			if got := login(t, a, user, "stale"); got != want {
				t.Errorf("%s, login %d: got %v, want %v", user, i+1, got, want)
			}
		}
		if got := login(t, a, user, "another"); got != session.ErrDenied {
			t.Errorf("%s, another password: got %v, want ErrDenied alone", user, got)
		}
	}
}
