package sftp

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

// Who will be refused from a day on is told in a banner before the login is granted.
func TestNoticeIsABanner(t *testing.T) {
	t.Parallel()
	f := start(t, func(session.Request) session.Verdict {
		return session.Verdict{Allowed: true, Notice: "From 2027-04-01 on, use a key."}
	}, nil)
	var banner string
	c, err := ssh.Dial("tcp", f.addr, &ssh.ClientConfig{
		User: "alice", Auth: []ssh.AuthMethod{ssh.Password("right")}, HostKeyCallback: ssh.FixedHostKey(f.host),
		BannerCallback: func(m string) error { banner = m; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if banner != "From 2027-04-01 on, use a key.\r\n" {
		t.Errorf("got banner %q", banner)
	}
}

// A method that is refused for a while is offered, and who has proven who they are is
// told until when.
func TestBrownoutIsABanner(t *testing.T) {
	t.Parallel()
	f := start(t, func(q session.Request) session.Verdict {
		if q.Phase == session.PhaseConnect {
			return session.Verdict{Allowed: true}
		}
		return session.Verdict{Retry: time.Date(2027, 3, 1, 10, 5, 0, 0, time.UTC), Hint: "Use a key."}
	}, nil)
	for password, want := range map[string]string{"right": "Closed until 10:05 UTC. Use a key.\r\n", "wrong": ""} {
		var banner string
		_, err := ssh.Dial("tcp", f.addr, &ssh.ClientConfig{
			User: "alice", Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.FixedHostKey(f.host),
			BannerCallback: func(m string) error { banner += m; return nil },
		})
		if err == nil || banner != want {
			t.Errorf("%s: got %v and banner %q, want %q", password, err, banner, want)
		}
	}
	if got := f.core.Record.Events(session.EventLogin); len(got) != 2 || !strings.HasPrefix(got[0].Outcome, "refused") {
		t.Errorf("recorded %d logins, want two refused", len(got))
	}
}
