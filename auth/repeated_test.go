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
	for _, c := range []struct {
		user, password string
		want           error
	}{{"joe", "stale", session.ErrDenied}, {"jim", "stale", session.ErrDenied}, {"joe", "right", nil}, {"joe", "other", session.ErrDenied}} {
		for i := range 3 {
			proof, err := a.Verify(t.Context(), source, session.Password(c.user, c.password))
			if err != c.want || proof.Again != (i > 0) {
				t.Errorf("%s with %q, login %d: got %v, %v; want %v, %v", c.user, c.password, i+1, proof.Again, err, i > 0, c.want)
			}
		}
	}
}
