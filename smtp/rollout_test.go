package smtp

import (
	"strings"
	"testing"
	"time"

	"gateway/session"
	"gateway/session/sessiontest"
)

// In a brownout AUTH is announced, since its absence would be taken for final, and
// refused for the moment before any password is asked for.
func TestBrownout(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(q session.Request) session.Verdict {
		v := sessiontest.Encrypted(q)
		v.Retry = time.Date(2027, 3, 1, 10, 5, 0, 0, time.UTC)
		if q.Channel.Encrypted() {
			v.Retry = time.Time{}
		}
		return v
	}, nil)
	p := dialPeer(t, f.listen(t), false)
	p.expect("220 ")
	p.send("EHLO client.test\n")
	if got := p.reply(); !strings.Contains(got, "AUTH SCRAM-SHA-256 PLAIN LOGIN") {
		t.Errorf("got %q, want AUTH announced", got)
	}
	const closed = "454 4.7.0 Closed until 10:05 UTC. Use TLS."
	p.send("AUTH PLAIN\n")
	p.expect(closed)
	p.send("AUTH LOGIN\n")
	p.expect(closed)
	p.send("AUTH PLAIN " + alicePlain + "\n")
	p.expect(closed)
	if n := f.Accounts.Verified(); n != 0 {
		t.Errorf("%d proofs were checked, want none", n)
	}
	p.send("STARTTLS\n")
	p.expect("220 ")
	p.startTLS()
	p.send("EHLO client.test\nAUTH PLAIN " + alicePlain + "\n")
	p.expect("250-", "235 2.7.0 ")
}
