package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/audit"
	"gateway/session"
)

// story is a record that was made up: each event is a minute after the one before.
type story struct {
	events []session.Event
	first  int64 // seq of the first event
}

func dawn() time.Time { return time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC) }

func (s *story) add(e session.Event) {
	n := len(s.events)
	e.Seq, e.Time = s.first+int64(n), dawn().Add(time.Duration(n)*time.Minute)
	s.events = append(s.events, e)
}

// connection is what one peer does; its methods write the events.
type connection struct {
	*story
	session.Event
}

func (s *story) connect(id, remote string, protocol session.Protocol, kind session.ChannelKind) *connection {
	return &connection{s, session.Event{
		Conn: id, Protocol: protocol, Remote: netip.MustParseAddrPort(remote), Channel: &session.Channel{Kind: kind},
	}}
}

func (c *connection) login(user, outcome, credential string) *connection {
	e := c.Event
	e.Event, e.User, e.Outcome, e.Credential = session.EventLogin, user, outcome, credential
	c.add(e)
	return c
}

func (c *connection) file(user string, verb session.Verb, outcome string, carrier session.Channel) *connection {
	e := c.Event
	e.Event, e.User, e.Outcome, e.Verb, e.Channel, e.Client = session.EventFile, user, outcome, verb, &carrier, ""
	c.add(e)
	return c
}

func (c *connection) end(client string) {
	e := c.Event
	e.Event, e.Outcome, e.Client, e.Count = session.EventConnection, session.OutcomeSession, client, 1
	c.add(e)
}

func (s *story) read() iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		for _, e := range s.events {
			if !yield(audit.Record{Event: e}, nil) {
				return
			}
		}
	}
}

func (s *story) report(t *testing.T, all bool) PlaintextReport {
	t.Helper()
	r, err := plaintext(s.read(), PlaintextQuery{Since: dawn().Add(-time.Hour), Until: dawn().AddDate(0, 1, 0), All: all})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The data connections of a record.
func bound() session.Channel {
	return session.Channel{Kind: session.TLS, Version: "TLS 1.3", Resumed: true}
}
func unbound() session.Channel { return session.Channel{Kind: session.TLS, Version: "TLS 1.3"} }
func none() session.Channel    { return session.Channel{Kind: session.TLS} } // the session's own
func inClear() session.Channel { return session.Channel{Kind: session.Plain} }

// lines writes the rows to compare them.
func lines(r PlaintextReport) string {
	var b strings.Builder
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "%s %s %q %s plain=%d refused=%d exposed=%d bound=%d unbound=%d clear=%d %s\n", row.User, row.Protocol, row.Client, row.Remote,
			row.PlainLogins, row.Refused, row.Exposed, row.DataBound, row.DataUnbound, row.DataClear, row.LastSeen.Format("15:04"))
	}
	return b.String()
}

func TestPlaintextReport(t *testing.T) {
	t.Parallel()
	const (
		ftp      = session.FTP
		plain    = session.Plain
		overTLS  = session.TLS
		granted  = session.OutcomeGranted
		refused  = session.OutcomeRefused
		open     = session.CredentialPlaintext
		hidden   = session.CredentialProtected
		nothing  = session.CredentialNone
		done     = session.OutcomeDone
		failed   = session.OutcomeFailed
		begun    = session.OutcomeBegun
		stranger = "unknown:0123456789abcdef"
	)
	for _, tc := range []struct {
		name     string
		write    func(s *story)
		want     string
		accounts int
		unknown  int
	}{
		{"nothing", func(*story) {}, "", 0, 0},
		{"plain login", func(s *story) {
			s.connect("c1", "10.20.0.7:1", ftp, plain).login("scanner", granted, open).end("")
		}, "scanner ftp \"\" 10.20.0.7 plain=1 refused=0 exposed=0 bound=0 unbound=0 clear=0 08:00\n", 1, 0},
		{"refused, then upgraded", func(s *story) {
			c := s.connect("c1", "192.0.2.7:1", ftp, plain).login("alice", refused, nothing)
			c.Channel = &session.Channel{Kind: overTLS}
			c.login("alice", granted, hidden).file("alice", session.Read, done, bound()).file("alice", session.List, done, bound()).end("FileZilla 3.68")
		}, "alice ftp \"FileZilla 3.68\" 192.0.2.7 plain=0 refused=1 exposed=0 bound=2 unbound=0 clear=0 08:00\n", 1, 0},
		{"sent although refused", func(s *story) {
			s.connect("c1", "192.0.2.7:1", session.Submission, plain).login("alice", refused, nothing).login("alice", refused, open).
				login(stranger, refused, open).end("laptop")
		}, stranger + " submission \"laptop\" 192.0.2.7 plain=0 refused=0 exposed=1 bound=0 unbound=0 clear=0 08:02\n" +
			"alice submission \"laptop\" 192.0.2.7 plain=0 refused=1 exposed=1 bound=0 unbound=0 clear=0 08:01\n", 1, 1},
		{"data connections", func(s *story) {
			s.connect("c1", "192.0.2.7:1", ftp, overTLS).login("java", granted, hidden).
				file("java", session.List, done, bound()).
				file("java", session.Read, done, unbound()).
				file("java", session.Write, begun, none()).
				file("java", session.Write, failed, unbound()).
				file("java", session.Append, done, inClear()).
				file("java", session.Read, failed, none()).    // never came to a data connection
				file("java", session.Stat, failed, unbound()). // has none
				end("")
		}, "java ftp \"\" 192.0.2.7 plain=0 refused=0 exposed=0 bound=1 unbound=2 clear=1 08:05\n", 1, 0},
		{"clear data of a clear session is no news", func(s *story) {
			s.connect("c1", "192.0.2.7:1", ftp, plain).login("old", granted, open).file("old", session.Read, done, inClear()).end("")
		}, "old ftp \"\" 192.0.2.7 plain=1 refused=0 exposed=0 bound=0 unbound=0 clear=0 08:00\n", 1, 0},
		{"who protects all is left out", func(s *story) {
			s.connect("c1", "192.0.2.7:1", ftp, overTLS).login("alice", granted, hidden).file("alice", session.Read, done, bound()).end("")
			s.connect("c2", "192.0.2.7:1", session.SFTP, session.SSH).login("alice", granted, hidden).file("alice", session.Read, done, session.Channel{Kind: session.SSH}).end("")
			s.connect("c3", "192.0.2.7:1", ftp, overTLS).login("alice", refused, hidden).end("")
		}, "", 0, 0},
		{"rows are added up", func(s *story) {
			for i := range 3 {
				s.connect(fmt.Sprint("c", i), fmt.Sprintf("[2001:db8::%d]:1", i), ftp, plain).login("dev", granted, open).end("curl")
			}
			s.connect("d", "[2001:db8:1::1]:1", ftp, plain).login("dev", granted, open).end("curl")
			s.connect("e", "[::ffff:192.0.2.9]:1", ftp, plain).login("dev", granted, open).end("curl")
		}, "dev ftp \"curl\" 192.0.2.9 plain=1 refused=0 exposed=0 bound=0 unbound=0 clear=0 08:08\n" +
			"dev ftp \"curl\" 2001:db8:1::/64 plain=1 refused=0 exposed=0 bound=0 unbound=0 clear=0 08:06\n" +
			"dev ftp \"curl\" 2001:db8::/64 plain=3 refused=0 exposed=0 bound=0 unbound=0 clear=0 08:04\n", 1, 0},
		{"still connected", func(s *story) {
			c := s.connect("c1", "192.0.2.7:1", ftp, overTLS)
			c.Client = "lftp"
			c.login("alice", granted, hidden).file("alice", session.Read, done, unbound())
		}, "alice ftp \"lftp\" 192.0.2.7 plain=0 refused=0 exposed=0 bound=0 unbound=1 clear=0 08:01\n", 1, 0},
		{"killed and started", func(s *story) {
			s.connect("c1", "192.0.2.7:1", ftp, plain).login("alice", granted, open)
			s.add(session.Event{Event: session.EventAudit, Verb: session.Start})
		}, "alice ftp \"\" 192.0.2.7 plain=1 refused=0 exposed=0 bound=0 unbound=0 clear=0 08:00\n", 1, 0},
		{"logged in before", func(s *story) {
			s.connect("c1", "192.0.2.7:1", ftp, overTLS).file("alice", session.Read, done, unbound()).file("alice", session.Read, done, inClear()).end("lftp")
		}, "alice ftp \"\" 192.0.2.7 plain=0 refused=0 exposed=0 bound=0 unbound=1 clear=0 08:00\n", 1, 0},
		{"two users of a connection", func(s *story) {
			c := s.connect("c1", "192.0.2.7:1", ftp, plain).login("alice", granted, open)
			c.Channel = &session.Channel{Kind: overTLS}
			c.login("bob", granted, hidden).file("bob", session.Read, done, inClear()).end("x")
		}, "bob ftp \"x\" 192.0.2.7 plain=0 refused=0 exposed=0 bound=0 unbound=0 clear=1 08:02\n" +
			"alice ftp \"x\" 192.0.2.7 plain=1 refused=0 exposed=0 bound=0 unbound=0 clear=0 08:00\n", 2, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := &story{first: 100}
			tc.write(s)
			r := s.report(t, false)
			if got := lines(r); got != tc.want {
				t.Errorf("got\n%swant\n%s", got, tc.want)
			}
			if r.Accounts != tc.accounts || r.Unknown != tc.unknown || len(r.Notes) > 0 {
				t.Errorf("got %d accounts, %d others, notes %q; want %d, %d, none", r.Accounts, r.Unknown, r.Notes, tc.accounts, tc.unknown)
			}
		})
	}
}

func TestPlaintextReportOfAll(t *testing.T) {
	t.Parallel()
	s := &story{first: 100}
	s.connect("c1", "192.0.2.7:1", session.SFTP, session.SSH).login("alice", session.OutcomeGranted, session.CredentialProtected).end("OpenSSH_9.9")
	c := s.connect("c2", "192.0.2.8:1", session.FTP, session.TLS).login("bob", session.OutcomeGranted, session.CredentialProtected)
	c.file("bob", session.Read, session.OutcomeDone, bound()).end("")
	r := s.report(t, true)
	const want = "bob ftp \"\" 192.0.2.8 plain=0 refused=0 exposed=0 bound=1 unbound=0 clear=0 08:03\n" +
		"alice sftp \"OpenSSH_9.9\" 192.0.2.7 plain=0 refused=0 exposed=0 bound=0 unbound=0 clear=0 08:00\n"
	if got := lines(r); got != want || r.Accounts != 0 {
		t.Errorf("got %d accounts and\n%swant none and\n%s", r.Accounts, got, want)
	}
}

// Devices are listed over any channel, since all of them would be refused.
func TestPlaintextReportOfDevices(t *testing.T) {
	t.Parallel()
	s := &story{first: 100}
	for i, kind := range []session.ChannelKind{session.Plain, session.TLS} {
		c := s.connect(fmt.Sprint("c", i), "10.20.3.17:1", session.Relay, kind)
		c.Client, c.WouldRefuse = "mfp", []string{`device "mfp" (policy.hcl:3)`}
		c.login("device:mfp", session.OutcomeGranted, session.CredentialNone).end("mfp")
	}
	s.connect("c9", "10.20.3.18:1", session.Relay, session.TLS).login("scanner", session.OutcomeGranted, session.CredentialProtected).end("x")
	r := s.report(t, false)
	if len(r.Rows) != 1 || r.Accounts != 1 {
		t.Fatalf("got %+v, want one row", r)
	}
	if row := r.Rows[0]; row.User != "device:mfp" || row.PlainLogins != 1 || row.Ending != 2 {
		t.Errorf("got %+v, want two logins that end, of which one in clear", row)
	}
}

// Strangers cannot crowd out accounts, and what is left out is said.
func TestPlaintextReportIsBounded(t *testing.T) {
	t.Parallel()
	tally := newPlaintextTally(false)
	tally.limits, tally.open = [2]int{2, 3}, 4
	s := &story{first: 100}
	for i := range 20 {
		s.connect(fmt.Sprint("x", i), "203.0.113.9:1", session.FTP, session.Plain).
			login(fmt.Sprintf("unknown:%016d", i), session.OutcomeRefused, session.CredentialNone) // and stays
		if len(tally.conns) > 4 {
			t.Fatalf("got %d connections in memory, want at most 4", len(tally.conns))
		}
	}
	for _, user := range []string{"alice", "bob", "carol"} {
		s.connect(user, "192.0.2.7:1", session.FTP, session.Plain).login(user, session.OutcomeGranted, session.CredentialPlaintext).end("")
	}
	for _, e := range s.events {
		tally.add(e)
		if tally.pending > 4 || len(tally.rows) > 5 {
			t.Fatalf("got %d uses and %d rows in memory, want at most 4 and 5", tally.pending, len(tally.rows))
		}
	}
	tally.forget()
	r := tally.report()
	if r.Accounts != 2 || r.Unknown != 3 || len(r.Rows) != 5 || len(r.Notes) != 2 {
		t.Errorf("got %d accounts, %d others, notes %q; want 2, 3 and two notes", r.Accounts, r.Unknown, r.Notes)
	}
	if tally.pending != 0 {
		t.Errorf("got %d uses left, want none", tally.pending)
	}
}

func TestPlaintextReportNotes(t *testing.T) {
	t.Parallel()
	s := &story{first: 1}
	s.add(session.Event{Event: session.EventAudit, Verb: session.Start})
	s.add(session.Event{Event: session.EventAudit, Verb: session.Gap})
	r := s.report(t, false)
	if got := strings.Join(r.Notes, "; "); !strings.Contains(got, "the record begins at 2026-11-02 08:00 UTC") || !strings.Contains(got, "has 1 gaps") {
		t.Errorf("got notes %q, want where the record begins, and the gap", got)
	}
	broken := func(err error) iter.Seq2[audit.Record, error] {
		return func(yield func(audit.Record, error) bool) { yield(audit.Record{}, err) }
	}
	if r, err := plaintext(broken(&audit.LineError{Err: errors.New("x")}), PlaintextQuery{}); err != nil || r.Unread != 1 {
		t.Errorf("a bad line: got %+v, %v; want it counted", r, err)
	}
	if _, err := plaintext(broken(errors.New("x")), PlaintextQuery{}); err == nil {
		t.Error("no record: got no error")
	}
	text, err := json.Marshal(PlaintextReport{Rows: []PlaintextRow{{}}})
	const want = `{"since":"0001-01-01T00:00:00Z","until":"0001-01-01T00:00:00Z","accounts":0,"unknown":0,"rows":[` +
		`{"user":"","protocol":"","client":"","remote":"","plain_logins":0,"ending":0,"refused":0,"exposed":0,"data_bound":0,"data_unbound":0,"data_clear":0,"last_seen":"0001-01-01T00:00:00Z"}]}`
	if err != nil || string(text) != want {
		t.Errorf("got %s, %v; want %s", text, err, want)
	}
}

// The report reads what the record really writes.
func TestPlaintextReportOfARecord(t *testing.T) {
	t.Parallel()
	log, err := audit.Open(t.Context(), audit.Config{Dir: filepath.Join(t.TempDir(), "audit")})
	if err != nil {
		t.Fatal(err)
	}
	s := &story{}
	s.connect("c1", "192.0.2.7:1", session.FTP, session.Plain).login("alice", session.OutcomeRefused, session.CredentialNone).end("curl")
	for _, e := range s.events {
		if err := log.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Plaintext(t.Context(), log.Reader(), PlaintextQuery{Since: time.Now().Add(-time.Hour)})
	if err != nil || len(r.Rows) != 1 || r.Rows[0].Refused != 1 || r.Rows[0].Client != "curl" {
		t.Errorf("got %+v, %v; want one row", r, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}
