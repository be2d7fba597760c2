package audit

import (
	"net/netip"
	"testing"
	"time"

	"gateway/session"
)

// benchLogin is a login as the gate records it.
func benchLogin() session.Event {
	remote := netip.MustParseAddrPort("192.0.2.7:53122")
	return session.Event{
		Event: session.EventLogin, Conn: "0123456789abcdef", Session: "fedcba9876543210", Listener: "sftp", Protocol: session.SFTP,
		Remote: remote, Local: remote, User: "alice", Groups: []string{"users", "mail"}, Method: session.MethodPassword,
		Channel: &session.Channel{Kind: session.SSH, SSHKex: "mlkem768x25519-sha256", SSHCipher: "aes128-gcm@openssh.com"},
		Client:  "SSH-2.0-OpenSSH_9.9", Outcome: session.OutcomeGranted, Rule: `allow "transfer" (policy.hcl:3)`,
		Stage: session.PhaseVerified, Credential: session.CredentialProtected, Policy: "sha256:0123456789abcdef",
		Facts: &session.Request{Phase: session.PhaseVerified, Time: time.Unix(1795000000, 123456789), Listener: "sftp",
			Protocol: session.SFTP, Remote: remote.Addr(), Channel: session.SSH, User: "alice", Known: true,
			Groups: []string{"users", "mail"}, Method: session.MethodPassword},
	}
}

// BenchmarkCommit is durable logins by 128 clients at once: ns/op is the time
// per login, each of which waited for its sync.
func BenchmarkCommit(b *testing.B) {
	l := open(b, config(b.TempDir()))
	e := benchLogin()
	b.SetParallelism(64) // times GOMAXPROCS
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Commit(b.Context(), e); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkCommitAlone is one client that waits for each sync.
func BenchmarkCommitAlone(b *testing.B) {
	l := open(b, config(b.TempDir()))
	e := benchLogin()
	for b.Loop() {
		if err := l.Commit(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppend includes the back-pressure of the disk.
func BenchmarkAppend(b *testing.B) {
	l := open(b, config(b.TempDir()))
	e := benchLogin()
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	l := open(b, config(dir))
	for range 10000 {
		if err := l.Append(benchLogin()); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		verified(b, dir)
	}
	b.ReportMetric(10000*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
