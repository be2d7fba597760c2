package admin

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"gateway/audit"
	"gateway/policies"
	"gateway/session"
)

// BenchmarkReplay decides a record of 100,000 logins again, of a thousand accounts, among
// as many connections.
func BenchmarkReplay(b *testing.B) {
	const logins, accounts = 100_000, 1000
	parse := func(src string) *policies.Policy {
		p, err := policies.Parse([]byte(src), "policy.hcl", policies.Options{})
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	old, changed := parse(replayedOld), parse(replayedNew)
	log, err := audit.Open(b.Context(), audit.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	for i := range logins {
		facts := session.Request{
			Phase: session.PhaseVerified, Time: time.Now().UTC(), Listener: "ftp", Protocol: session.FTP, Channel: session.ChannelKind(i % 2),
			Remote: netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}), User: fmt.Sprint("user", i%accounts), Known: true,
			Groups: []string{"users", "mail"}, Method: session.MethodPassword, Proven: session.FactorPassword, Client: session.ClientWinSCP,
			PasswordSet: time.Now().UTC(),
		}
		v := old.Decide(facts)
		e := session.Event{
			Event: session.EventLogin, Conn: "4222b1d0b3a54c1e", Session: "1c5982aa2fe100d4", Listener: "ftp", Protocol: session.FTP,
			Remote: netip.AddrPortFrom(facts.Remote, 40000), Local: netip.AddrPortFrom(facts.Remote, 21), Channel: &session.Channel{Kind: facts.Channel},
			Client: "WinSCP release 6.3", User: facts.User, Groups: facts.Groups, Method: facts.Method, Outcome: session.OutcomeGranted,
			Rule: v.Rule, Reason: v.Reason, Stage: session.PhaseVerified, Credential: session.CredentialProtected, Facts: &facts, Policy: old.Hash(),
		}
		for _, e := range []session.Event{e, {Event: session.EventConnection, Conn: e.Conn, Remote: e.Remote, Outcome: "session", Count: 1, DurationMS: 12, Logins: 1}} {
			for log.Append(e) != nil { // full: what is there is written meanwhile
				time.Sleep(time.Millisecond)
			}
		}
	}
	if err := log.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		r, err := ReplayPolicy(b.Context(), log.Reader(), changed, ReplayQuery{InForce: func(string) (*policies.Policy, error) { return old, nil }})
		if err != nil || r.Logins != logins || r.Differing != 0 {
			b.Fatalf("%d logins, %d otherwise, %v", r.Logins, r.Differing, err)
		}
	}
	b.ReportMetric(float64(logins)*float64(b.N)/b.Elapsed().Seconds(), "logins/s")
}
