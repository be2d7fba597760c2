package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/auth"
	"gateway/auth/hashes"
	"gateway/ftp"
	"gateway/internal/gatewaytest"
	"gateway/policies"
	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/sftp"
	"gateway/smtp"
	"gateway/store"
	"gateway/transfer"
)

// oracleNames is how many names that exist, and how many that do not, are asked for.
func oracleNames() int {
	if gatewaytest.Race {
		return 200
	}
	return 2000
}

// unequalRules treat accounts otherwise by name, by group and by cohort, within a
// network.
func unequalRules(place string) string {
	var users strings.Builder
	for i := range oracleNames() / 10 {
		fmt.Fprintf(&users, "%q, ", knownName(i*7%oracleNames()))
	}
	now := time.Now().UTC()
	day := func(n int) string { return now.AddDate(0, 0, n).Format(time.DateOnly) }
	return fmt.Sprintf(`
network "place" { cidrs = [%q] }
allow "all" { protocol = ["ftp", "sftp", "submission"] }
require "encrypted-login" {
  channel = "encrypted"
  reply   = "Use TLS."
  rollout "office" {
    from    = "place"
    group   = "office"
    observe = %q
    enforce = "%s 30%%"
  }
  rollout "legacy" {
    from  = "place"
    group = "legacy"
    brownout %q {
      every = "168h"
      for   = "167h59m"
    }
  }
}
require "office has keys" {
  method = "publickey"
  when { group = "office" }
}
exempt "encrypted-login" "some" {
  from    = "place"
  user    = [%s]
  until   = %q
  owner   = "o"
  because = "b"
}
`, place, day(-20), day(-10), day(-1), strings.TrimSuffix(users.String(), ", "), day(90))
}

func knownName(i int) string   { return fmt.Sprintf("known-%04d", i) }
func unknownName(i int) string { return fmt.Sprintf("naught%04d", i) } // as long

// oracle is a gateway with that many accounts, of which a peer asks for names.
type oracle struct {
	accounts *auth.Accounts
	gate     *session.Gate
	asked    countedBudget
}

// countedBudget counts what is asked for and gives nothing: two thousand hashes would take
// minutes.
type countedBudget struct {
	mu    sync.Mutex
	asked map[place]int
}

// A place is one to hash in.
type place struct {
	memKiB int
	heavy  bool
}

func (b *countedBudget) refuse(p place) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked == nil {
		b.asked = make(map[place]int)
	}
	b.asked[p]++
	return session.ErrUnavailable
}

func (b *countedBudget) take() map[place]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := b.asked
	b.asked = nil
	return asked
}

// Acquire implements auth.Budget.
func (b *countedBudget) Acquire(_ context.Context, _ netip.Addr, memKiB int) (func(), error) {
	return nil, b.refuse(place{memKiB: memKiB})
}

// AcquireHeavy implements auth.Budget.
func (b *countedBudget) AcquireHeavy(_ context.Context, _ netip.Addr, memKiB int) (func(bool), error) {
	return nil, b.refuse(place{memKiB: memKiB, heavy: true})
}

// AcquireIdle implements auth.Budget.
func (b *countedBudget) AcquireIdle(context.Context, int) (func(), error) {
	return nil, session.ErrUnavailable
}

func newOracle(t *testing.T) *oracle {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	o := &oracle{}
	if o.accounts, err = auth.Open(t.Context(), db, auth.Config{Budget: &o.asked}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.accounts.Close(context.Background()) })
	stored := someHashes(t)
	var adding sync.WaitGroup
	for part := range 64 {
		adding.Go(func() {
			for i := part; i < oracleNames(); i += 64 {
				group := []string{"office", "legacy", "others"}[i%3]
				if _, err := o.accounts.Add(t.Context(), knownName(i), auth.New{Groups: []string{group}}); err != nil {
					t.Error(err)
				}
				if i%4 > 0 { // some have none
					continue
				}
				if _, err := o.accounts.SetHash(t.Context(), knownName(i), stored[i/4%len(stored)]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	adding.Wait()
	o.gate = session.NewGate(session.Config{
		Auth: o.accounts, Policy: sessiontest.Rules(nil), Recorder: &sessiontest.Record{}, Limiter: &sessiontest.Limits{},
		History: o.accounts, CohortKey: []byte("cohorts"), NameKey: []byte("names"), FailureTime: time.Millisecond,
	})
	return o
}

// someHashes are a new password, and one that came from another server.
func someHashes(t *testing.T) []hashes.Hash {
	t.Helper()
	old, err := hashes.Foreign("$1$saltsalt$" + strings.Repeat("a", 22))
	if err != nil {
		t.Fatal(err)
	}
	return []hashes.Hash{hashes.New("right"), old}
}

func (o *oracle) use(t *testing.T, rules string) {
	t.Helper()
	p, err := policies.Parse([]byte(rules), "policy.hcl", policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.gate.SetPolicy(p)
}

// serve runs a front-end on loopback and returns its address.
func (o *oracle) serve(t *testing.T, front frontend) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = front.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = front.Shutdown(ctx)
		<-served
	})
	return ln.Addr().String()
}

// fronts are one server of each protocol, with what a peer hears there who asks for a
// name.
func (o *oracle) fronts(t *testing.T) map[string]func(name string) (string, error) {
	t.Helper()
	ftpAddr, smtpAddr, sftpAddr := o.addresses(t)
	stranger := newSigner(t)
	return map[string]func(string) (string, error){
		"ftp": func(name string) (string, error) {
			return dialogue(ftpAddr, "", "USER "+name, "USER "+name, "QUIT")
		},
		"submission": func(name string) (string, error) {
			return dialogue(smtpAddr, "", "EHLO client", "AUTH LOGIN", base64.StdEncoding.EncodeToString([]byte(name)), "*", "QUIT")
		},
		"sftp": func(name string) (string, error) { return sshDialogue(sftpAddr, name, ssh.PublicKeys(stranger)) },
	}
}

// addresses are those of one server of each protocol.
func (o *oracle) addresses(t *testing.T) (ftpAddr, smtpAddr, sftpAddr string) {
	t.Helper()
	files := func(context.Context, *session.Session) (*transfer.Files, error) { return nil, errors.New("no files") }
	log := slog.New(slog.DiscardHandler)
	ftpAddr = o.serve(t, ftp.New(ftp.Config{Gate: o.gate, Name: "ftp", Files: files, Log: log}))
	smtpAddr = o.serve(t, smtp.New(smtp.Config{
		Gate: o.gate, Name: "submission", Protocol: session.Submission, Hostname: "mx.example.com", Log: log,
		Queue: smtp.QueueFunc(func() smtp.Draft { return nil }),
	}))
	sftpAddr = o.serve(t, sftp.New(sftp.Config{Gate: o.gate, Name: "sftp", Files: files, HostKeys: []ssh.Signer{newSigner(t)}, Log: log}))
	return ftpAddr, smtpAddr, sftpAddr
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// dialogue says lines, each after the reply to the one before, and returns what was
// heard.
func dialogue(addr string, lines ...string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	var heard strings.Builder
	r := bufio.NewReader(conn)
	for _, line := range lines {
		if line != "" {
			if _, err := fmt.Fprintf(conn, "%s\r\n", line); err != nil {
				break // hung up on, which was heard
			}
		}
		for {
			got, err := r.ReadString('\n')
			heard.WriteString(got)
			if err != nil {
				return heard.String() + "end", nil
			}
			if len(got) < 4 || got[3] != '-' {
				break
			}
		}
	}
	return heard.String(), nil
}

// sshDialogue tries to log in with what is wrong.
func sshDialogue(addr, name string, wrong ssh.AuthMethod) (string, error) {
	var heard strings.Builder
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _, _, err = ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
		User: name, Auth: []ssh.AuthMethod{wrong}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		BannerCallback: func(m string) error { heard.WriteString(m); return nil },
	})
	if err == nil {
		return "", errors.New("logged in")
	}
	return heard.String() + err.Error(), nil
}

// askFor asks for all names of a kind and counts what was heard.
func askFor(t *testing.T, n int, name func(int) string, hear func(string) (string, error)) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	var mu sync.Mutex
	var asking sync.WaitGroup
	const parts = 8
	for part := range parts {
		asking.Go(func() {
			for i := part; i < n; i += parts {
				heard, err := hear(name(i))
				if err != nil && !errors.Is(err, io.EOF) {
					t.Error(err)
					return
				}
				mu.Lock()
				counts[heard]++
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	return counts
}

// Nobody can find out which names exist: on no protocol do names that do not exist
// hear other words, codes or an other order of them, or hear them more or less often,
// than names that do. Where rules treat accounts otherwise by name, group or cohort,
// it is so within their network, and outside of it all hear the same.
func TestUnknownNamesHearWhatAccountsHear(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	fronts := o.fronts(t)
	for _, scope := range []struct {
		name, place string
	}{{"inside", "127.0.0.0/8"}, {"outside", "192.0.2.0/24"}} {
		o.use(t, unequalRules(scope.place))
		for protocol, hear := range fronts {
			known, unknown := askFor(t, oracleNames(), knownName, hear), askFor(t, oracleNames(), unknownName, hear)
			all := make(map[string]bool)
			for text := range known {
				all[text] = true
			}
			for text := range unknown {
				all[text] = true
			}
			switch {
			case scope.name == "outside" && len(all) != 1:
				t.Errorf("%s, %s: %d answers, want one", scope.name, protocol, len(all))
			case scope.name == "inside" && protocol != "sftp" && len(all) < 3:
				t.Errorf("%s, %s: %d answers, want several: the test shows nothing", scope.name, protocol, len(all))
			}
			for text := range all {
				n := float64(oracleNames())
				p, q := float64(known[text])/n, float64(unknown[text])/n
				mean := (p + q) / 2
				// The two samples, and the places of the accounts by which unknown names are
				// spread over them, are each as good as random.
				if far := 5 * math.Sqrt(3*mean*(1-mean)/n); math.Abs(p-q) > far {
					t.Errorf("%s, %s: of those who exist %.3f hear this, of the others %.3f:\n%s", scope.name, protocol, p, q, text)
				}
			}
		}
	}
}

// A wrong password costs as many hashes, of the same price, whether or not the name
// exists, has a password, and however that is stored; on each protocol and each channel
// on which it is asked for.
func TestUnknownNamesCostWhatAccountsCost(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	o.use(t, `allow "all" { protocol = ["ftp", "sftp", "submission"] }`)
	for way, try := range o.wrongPasswords(t) {
		heard, known := askFor(t, oracleNames(), knownName, try), o.asked.take()
		others, unknown := askFor(t, oracleNames(), unknownName, try), o.asked.take()
		if len(heard) != 1 || !maps.Equal(heard, others) {
			t.Errorf("%s: names that exist hear %v, others %v, want one answer", way, heard, others)
		}
		if len(known) != 1 || !maps.Equal(known, unknown) || !slices.Contains(slices.Collect(maps.Values(known)), oracleNames()) {
			t.Errorf("%s: hashes are %v for names that exist, %v for others, want %d of one price for each", way, known, unknown, oracleNames())
		}
	}
}

// wrongPasswords are ways to try one for a name. Each tries another, since what was
// hashed once is remembered.
func (o *oracle) wrongPasswords(t *testing.T) map[string]func(name string) (string, error) {
	t.Helper()
	ftpAddr, smtpAddr, sftpAddr := o.addresses(t)
	plain := func(name, password string) string {
		return base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00" + password))
	}
	return map[string]func(string) (string, error){
		"ftp": func(name string) (string, error) {
			return dialogue(ftpAddr, "", "USER "+name, "PASS wrong over ftp")
		},
		"submission": func(name string) (string, error) {
			return dialogue(smtpAddr, "", "EHLO client", "AUTH PLAIN "+plain(name, "wrong by PLAIN"), "QUIT")
		},
		"submission by LOGIN": func(name string) (string, error) {
			return dialogue(smtpAddr, "", "EHLO client", "AUTH LOGIN "+base64.StdEncoding.EncodeToString([]byte(name)),
				base64.StdEncoding.EncodeToString([]byte("wrong by LOGIN")), "QUIT")
		},
		"sftp": func(name string) (string, error) { return sshDialogue(sftpAddr, name, ssh.Password("wrong over SSH")) },
		"sftp by question": func(name string) (string, error) {
			return sshDialogue(sftpAddr, name, ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) {
				return []string{"wrong when asked"}, nil
			}))
		},
	}
}
