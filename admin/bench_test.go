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

// A benchmark is over a record of 100,000 logins of a thousand accounts, among as many
// connections.
const benchLogins, benchAccounts = 100_000, 1000

func benchPolicies(b *testing.B) (old, changed *policies.Policy) {
	parse := func(src string) *policies.Policy {
		p, err := policies.Parse([]byte(src), "policy.hcl", policies.Options{})
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	return parse(replayedOld), parse(replayedNew)
}

func benchRecord(b *testing.B, old *policies.Policy) *audit.Log {
	log, err := audit.Open(b.Context(), audit.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = log.Close() })
	for i := range benchLogins {
		facts := session.Request{
			Phase: session.PhaseVerified, Time: time.Now().UTC(), Listener: "ftp", Protocol: session.FTP, Channel: session.ChannelKind(i % 2),
			Remote: netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}), User: fmt.Sprint("user", i%benchAccounts), Known: true,
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
	return log
}

// BenchmarkReplay decides the logins again.
func BenchmarkReplay(b *testing.B) {
	old, changed := benchPolicies(b)
	log := benchRecord(b, old)
	for range b.N {
		r, err := ReplayPolicy(b.Context(), log.Reader(), changed, ReplayQuery{InForce: func(string) (*policies.Policy, error) { return old, nil }})
		if err != nil || r.Logins != benchLogins || r.Differing != 0 {
			b.Fatalf("%d logins, %d otherwise, %v", r.Logins, r.Differing, err)
		}
	}
	b.ReportMetric(benchLogins*float64(b.N)/b.Elapsed().Seconds(), "logins/s")
}

// BenchmarkReports makes the reports about the logins.
func BenchmarkReports(b *testing.B) {
	old, _ := benchPolicies(b)
	log := benchRecord(b, old)
	since, until := time.Now().Add(-24*time.Hour), time.Now().Add(time.Hour)
	for name, make := range map[string]func() error{
		"plaintext": func() error {
			_, err := Plaintext(b.Context(), log.Reader(), PlaintextQuery{Since: since, Until: until})
			return err
		},
		"exemptions": func() error {
			_, err := Exemptions(b.Context(), log.Reader(), old, nil, since, until)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				if err := make(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(benchLogins*float64(b.N)/b.Elapsed().Seconds(), "logins/s")
		})
	}
}
