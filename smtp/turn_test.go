package smtp

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

// TestTurns: go-smtp is there while an exchange or a transaction is under way, and not
// while the session is idle. It is not parallel, since it looks at all goroutines.
func TestTurns(t *testing.T) {
	bubble(t, anything, nil, func(t *testing.T, _ *fixture, dial func() *peer) {
		p := dial()
		for _, step := range []struct {
			send string // a line
			want string // the reply
			busy bool
		}{
			{"", "220 mx.test ESMTP Service Ready", false},
			{"EHLO client.test", "250", false},
			{"AUTH LOGIN", "334 ", true},
			{"*", "501 ", false},
			{"AUTH PLAIN " + alicePlain, "235 ", false},
			{"MAIL FROM:<>", "550 ", false},
			{"MAIL FROM:<alice@example.com>", "250 ", true},
			{"NOOP", "250 ", true},
			{"RCPT TO:<bob@remote.test>", "250 ", true},
			{"RSET", "250 ", false},
			{"RCPT TO:<bob@remote.test>", "503 ", false},
			{"MAIL FROM:<alice@example.com>", "250 ", true},
			{"RCPT TO:<bob@remote.test>", "250 ", true},
			{"DATA", "354 ", true},
			{aliceHeader + "\n.", "250 ", false},
			{"MAIL FROM:<alice@example.com>", "250 ", true},
			{"EHLO again.test", "250", false},
			{"QUIT", "221 ", false},
		} {
			if step.send != "" {
				p.send(step.send + "\n")
			}
			p.expect(step.want)
			synctest.Wait()
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			if busy := strings.Contains(string(stacks), "emersion/go-smtp"); busy != step.busy {
				t.Errorf("after %q: go-smtp is there: %v, want %v", step.send, busy, step.busy)
			}
		}
	})
}
