package property

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/ftp"
	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/sftp"
	"gateway/smtp"
	"gateway/storage"
	"gateway/transfer"
)

// A gateway is the real front-ends with the real gate and policy, on networks in
// memory.
type gateway struct {
	world    *world
	rules    ruleset
	record   *record
	networks map[string]*network
	caches   map[string]tls.ClientSessionCache
}

// frontend is what the servers have in common.
type frontend interface {
	Serve(context.Context, net.Listener) error
	Shutdown(context.Context) error
}

// failureTime is the grid of refusals. The clock is not real.
const failureTime = time.Millisecond

// start runs a gateway until the test is over.
func start(t *testing.T, w *world, rules ruleset) *gateway {
	t.Helper()
	g := &gateway{world: w, rules: rules, record: newRecord(), networks: make(map[string]*network), caches: make(map[string]tls.ClientSessionCache)}
	log := slog.New(slog.DiscardHandler)
	gate := session.NewGate(session.Config{
		Auth: w, Policy: rules.policy, Recorder: g.record, Limiter: &sessiontest.Limits{}, History: w,
		CohortKey: []byte(cohortKey), NameKey: []byte(nameKey), FailureTime: failureTime, Log: log,
	})
	t.Cleanup(gate.Close)
	files := func(_ context.Context, s *session.Session) (*transfer.Files, error) {
		return transfer.New(s, noFiles{}, transfer.Limits{}), nil
	}
	secured := func() *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{certificates()["server"]}, ClientAuth: tls.RequestClientCert}
	}
	for _, implicit := range []bool{false, true} {
		name := map[bool]string{true: "s"}[implicit]
		g.serve(t, "ftp"+name, ftp.New(ftp.Config{
			Gate: gate, Name: "ftp" + name, Files: files, TLS: secured(), Implicit: implicit, Hostname: hostname, Log: log,
		}))
		g.serve(t, "submission"+name, smtp.New(smtp.Config{
			Gate: gate, Name: "submission" + name, Queue: smtp.QueueFunc(func() smtp.Draft { return nil }),
			TLS: secured(), Implicit: implicit, Hostname: hostname, Log: log,
		}))
	}
	g.serve(t, "sftp", sftp.New(sftp.Config{
		Gate: gate, Name: "sftp", Files: files, HostKeys: []ssh.Signer{signerOf("host")}, Log: log,
	}))
	return g
}

func (g *gateway) serve(t *testing.T, name string, f frontend) {
	ln, served := newNetwork(), make(chan error, 1)
	g.networks[name] = ln
	go func() { served <- f.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		_ = f.Shutdown(context.Background())
		if err := <-served; err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: Serve returned %v", name, err)
		}
	})
}

// dial connects to a listener. Who shows the same certificate, or none, is the same client
// of TLS, which resumes what it finds.
func (g *gateway) dial(s *situation) *client {
	who := s.Listener + s.TLS.Certificate
	if g.caches[who] == nil {
		g.caches[who] = tls.NewLRUClientSessionCache(8)
	}
	return newClient(g.networks[s.Listener].dial(s.addr()), g.caches[who])
}

// noFiles is the tree of everybody: nobody does anything with it.
type noFiles struct{ storage.FS }

func (noFiles) Close() error { return nil }
