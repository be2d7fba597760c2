package policies

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

const journalPolicy = `
allow "mail" { protocol = "submission" }
allow "files" { protocol = "sftp" }
require "own" {
  journal = "/sent/{date}"
  when { group = "mail" }
}
require "archive" {
  journal = "archive:/{user}"
  when { protocol = "submission" }
}
exempt "archive" "robot" {
  user = "robot"
  from = "10.0.0.0/8"
  until = "2027-06-30"
  owner = "it@example.com"
  because = "its reports are archived where they are made"
}
require "nothing" {
  journal = "/never"
  when { protocol = "ftp" }
}
`

// Every require that applies and is not exempted asks for its copy, and none
// refuses a login.
func TestJournals(t *testing.T) {
	t.Parallel()
	p := mustParse(t, journalPolicy)
	for _, c := range []struct {
		user, group string
		protocol    session.Protocol
		want        []string
	}{
		{"alice", "mail", session.Submission, []string{"/sent/{date}", "archive:/{user}"}},
		{"bob", "users", session.Submission, []string{"archive:/{user}"}},
		{"robot", "mail", session.Submission, []string{"/sent/{date}"}},
		{"robot", "users", session.Submission, nil},
		{"bob", "users", session.SFTP, nil},
	} {
		channel := session.TLS
		if c.protocol == session.SFTP {
			channel = session.SSH
		}
		v := p.Decide(session.Request{
			Phase: session.PhaseVerified, Time: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Protocol: c.protocol, Channel: channel,
			User: c.user, Known: true, Groups: []string{c.group}, Method: session.MethodPassword, Proven: session.MethodPassword.Factor(),
			Remote: netip.MustParseAddr("10.1.2.3"),
		})
		if got := v.Data.Journals(); !v.Allowed || !slices.Equal(got, c.want) {
			t.Errorf("%s by %s: got %v %v, want %v", c.user, c.protocol, v.Allowed, got, c.want)
		}
	}
}

func TestJournalIsExplainedAndLinted(t *testing.T) {
	t.Parallel()
	p := mustParse(t, journalPolicy)
	var text strings.Builder
	e := p.Explain(session.Request{
		Time: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Protocol: session.Submission, Channel: session.TLS, User: "alice", Known: true,
		Groups: []string{"mail"}, Method: session.MethodPassword, Remote: netip.MustParseAddr("192.0.2.1"),
	})
	if err := e.WriteText(&text); err != nil || !strings.Contains(text.String(), "demands journal /sent/{date}") {
		t.Errorf("got %v, want the journal in\n%s", err, &text)
	}
	var warned []string
	for _, w := range p.Warnings() {
		warned = append(warned, w.Text)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], `require "nothing" demands a journal and never applies to mail`) {
		t.Errorf("got %q, want one warning, of a journal of FTP", warned)
	}
}
