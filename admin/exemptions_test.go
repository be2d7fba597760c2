package admin

import (
	"net/netip"
	"testing"
	"time"

	"gateway/policies"
	"gateway/session"
)

func TestExemptionReport(t *testing.T) {
	t.Parallel()
	const src = `
allow "files" { protocol = "ftp" }
require "encrypted" { channel = "encrypted" }
exempt "encrypted" "cnc" {
  user    = "cnc-7"
  from    = "10.20.0.0/16"
  until   = "2027-12-31"
  owner   = "o"
  because = "b"
}
exempt "encrypted" "ends" {
  user    = "old"
  from    = "10.20.0.0/16"
  until   = "2027-03-20"
  owner   = "o"
  because = "b"
}
exempt "encrypted" "ended" {
  user    = "older"
  from    = "10.20.0.0/16"
  until   = "2027-02-20"
  owner   = "o"
  because = "b"
}
exempt "encrypted" "spare" {
  user    = "nobody"
  from    = "10.20.0.0/16"
  until   = "2027-12-31"
  owner   = "o"
  because = "b"
}
device "mfp" {
  from       = "10.20.3.17"
  allow      = "no-auth"
  sender     = "scan@example.com"
  recipients = "example.com"
  expires    = "2027-06-30"
  owner      = "facilities@example.com"
  because    = "b"
}
`
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	p, err := policies.Parse([]byte(src), "policy.hcl", policies.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	s := &story{first: 100}
	login := func(user string, channel session.ChannelKind, from, outcome string) {
		facts := session.Request{
			Phase: session.PhaseVerified, Time: now, Protocol: session.FTP, Channel: channel, Remote: netip.MustParseAddr(from),
			User: user, Known: true, Method: session.MethodPassword,
		}
		if user == "" {
			facts.Protocol, facts.Method, facts.Local = session.Relay, session.MethodDevice, netip.MustParseAddr("10.0.0.1")
		}
		s.add(session.Event{Event: session.EventLogin, Outcome: outcome, Facts: &facts})
	}
	login("cnc-7", session.Plain, "10.20.0.1", session.OutcomeGranted)
	login("cnc-7", session.Plain, "10.20.0.1", session.OutcomeGranted)
	login("cnc-7", session.TLS, "10.20.0.1", session.OutcomeGranted)
	login("cnc-7", session.Plain, "10.21.0.1", session.OutcomeRefused)
	login("old", session.Plain, "10.20.0.1", session.OutcomeGranted)
	login("", session.Plain, "10.20.3.17", session.OutcomeGranted)
	s.add(session.Event{Event: session.EventLogin, Outcome: session.OutcomeGranted})
	r, err := exemptionReport(s.read(), p, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		name, state string
		logins      int64
	}{{"cnc", "used", 2}, {"ended", "ended", 0}, {"ends", "ending", 1}, {"spare", "unused", 0}, {"mfp", "used", 1}} {
		if row := r.Rows[i]; row.Name != want.name || row.State != want.state || row.Logins != want.logins || row.LastSeen.IsZero() != (want.logins == 0) {
			t.Errorf("got %+v, want %+v", row, want)
		}
	}
}
