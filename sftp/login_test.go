package sftp

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/session/sessiontest"
)

// answerPrompt is a client that answers every prompt with the text given.
func answerPrompt(t testing.TB, text string) ssh.AuthMethod {
	return ssh.KeyboardInteractive(func(_, _ string, questions []string, echos []bool) ([]string, error) {
		answers := make([]string, len(questions))
		for i := range questions {
			if questions[i] != "Password: " || echos[i] {
				t.Errorf("asked %q with echo %v", questions[i], echos[i])
			}
			answers[i] = text
		}
		return answers, nil
	})
}

func TestMethods(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil, nil)
			key := newSigner(t, kind)
			f.core.Accounts.Add("alice", "right", string(key.PublicKey().Marshal()))
			for method, how := range map[session.Method]ssh.AuthMethod{
				session.MethodPassword:            ssh.Password("right"),
				session.MethodPublicKey:           ssh.PublicKeys(key),
				session.MethodKeyboardInteractive: answerPrompt(t, "right"),
			} {
				c, err := f.dial(t, "alice", how)
				if err != nil {
					t.Errorf("%s: %v", method, err)
					continue
				}
				_ = c.Close()
				logins := f.core.Record.Events(session.EventLogin)
				e := logins[len(logins)-1]
				if e.Method != method || e.Outcome != session.OutcomeGranted || e.Credential != session.CredentialProtected {
					t.Errorf("%s: recorded %s method %q", method, sessiontest.String(e), e.Method)
				}
				if e.Channel.Kind != session.SSH || e.Channel.SSHKex != "mlkem768x25519-sha256" ||
					!strings.HasPrefix(e.Channel.SSHCipher, "aes") && !strings.HasPrefix(e.Channel.SSHCipher, "chacha") {
					t.Errorf("%s: channel %+v", method, *e.Channel)
				}
				if e.Client != "SSH-2.0-Go" {
					t.Errorf("%s: client %q", method, e.Client)
				}
			}
		})
	}
}

func TestWrongProofsAreAlike(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	for _, c := range []struct{ user, password string }{{"alice", "wrong"}, {"nobody", "x"}, {"", ""}, {strings.Repeat("x", 5000), "x"}} {
		_, err := f.dial(t, c.user, ssh.Password(c.password), answerPrompt(t, c.password))
		if err == nil || !strings.Contains(err.Error(), "unable to authenticate, attempted methods [none password keyboard-interactive]") {
			t.Errorf("%.20q: %v", c.user, err)
		}
	}
	for _, e := range f.core.Record.Events(session.EventLogin) {
		if e.Outcome != session.OutcomeRefused {
			t.Errorf("recorded %s", sessiontest.String(e))
		}
	}
}

// dialConn is a connection on which the test speaks for itself.
func (f *fixture) dialConn(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// forger signs with one key and claims another.
type forger struct {
	ssh.AlgorithmSigner
	claimed ssh.PublicKey
}

func (f forger) PublicKey() ssh.PublicKey { return f.claimed }

// A signature that was not made with the key it names is recorded and charged,
// and ends the connection.
func TestWrongSignature(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil, nil)
			key, other := newSigner(t, kind), newSigner(t, kind)
			f.core.Accounts.Add("alice", "right", string(key.PublicKey().Marshal()))
			if _, err := f.dial(t, "alice", ssh.PublicKeys(forger{other.(ssh.AlgorithmSigner), key.PublicKey()})); err == nil {
				t.Fatal("logged in with another's key")
			}
			e := f.connection(t)
			if e.Outcome != session.OutcomeNoLogin || e.Reason != "wrong signature" {
				t.Errorf("connection %s", sessiontest.String(e))
			}
			logins := f.core.Record.Events(session.EventLogin)
			if len(logins) != 1 || logins[0].Outcome != session.OutcomeRefused || logins[0].User != "alice" ||
				logins[0].Reason != "wrong signature" || logins[0].Method != session.MethodPublicKey {
				t.Errorf("logins %v", logins)
			}
			if got := f.core.Limits.Offences(); !slices.Equal(got, []session.Offence{session.WrongProof}) {
				t.Errorf("charged %q, want one wrong proof", got)
			}
			if n := f.core.Accounts.Verified(); n != 0 {
				t.Errorf("%d proofs were checked, want none", n)
			}
		})
	}
}

// A key that is only asked about proves nothing and is not recorded, where a
// proof of another kind follows.
func TestKeyQueryRecordsNothing(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	if _, err := f.dial(t, "alice", ssh.PublicKeys(newSigner(t, "ed25519"), newSigner(t, "rsa")), ssh.Password("right")); err != nil {
		t.Fatal(err)
	}
	if logins := f.core.Record.Events(session.EventLogin); len(logins) != 1 || logins[0].Outcome != session.OutcomeGranted {
		t.Errorf("recorded %d logins, want the one granted", len(logins))
	}
}

// The account is that of the name which the proof came with: a key known for
// bob does not help alice, who was named before.
func TestUserChangesBetweenAttempts(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	key := newSigner(t, "ed25519")
	f.core.Accounts.Add("bob", "bob", string(key.PublicKey().Marshal()))
	if _, err := f.dial(t, "alice", ssh.PublicKeys(key), ssh.Password("bob")); err == nil {
		t.Fatal("alice logged in with what is bob's")
	}
	c, err := f.dial(t, "bob", ssh.PublicKeys(key))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	logins := f.core.Record.Events(session.EventLogin)
	if e := logins[len(logins)-1]; e.User != "bob" || e.Outcome != session.OutcomeGranted {
		t.Errorf("recorded %s", sessiontest.String(e))
	}
}

// Methods that the rules do not allow are not offered.
func TestOfferFollowsTheRules(t *testing.T) {
	t.Parallel()
	f := start(t, func(q session.Request) session.Verdict {
		return session.Verdict{Allowed: q.Method == "" || q.Method == session.MethodPublicKey, Reason: "keys only"}
	}, nil)
	_, err := f.dial(t, "alice", ssh.Password("right"), answerPrompt(t, "right"))
	if err == nil || !strings.Contains(err.Error(), "attempted methods [none]") {
		t.Errorf("got %v, want no password tried", err)
	}
	if n := f.core.Accounts.Verified(); n != 0 {
		t.Errorf("%d proofs were checked, want none", n)
	}
}

func TestNoMethods(t *testing.T) {
	t.Parallel()
	f := start(t, func(q session.Request) session.Verdict {
		return session.Verdict{Allowed: q.Phase == session.PhaseConnect, Reason: "nobody"}
	}, nil)
	if _, err := f.dial(t, "alice", ssh.Password("right")); err == nil {
		t.Fatal("logged in although nothing is allowed")
	}
	if e := f.connection(t); e.Outcome != session.OutcomeNoLogin || e.Reason != errNoMethod.Error() {
		t.Errorf("connection %s", sessiontest.String(e))
	}
}

// What is too much or cannot be said now ends the connection, so that the client
// does not go on asking.
func TestFinalRefusalsDisconnect(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		fault      func(*sessiontest.Core)
		want       error
	}{
		{"too many", "Too many attempts", func(c *sessiontest.Core) { c.Limits.Refuse("Guess", session.ErrTooMany) }, session.ErrTooMany},
		{"banned", "Too many attempts", func(c *sessiontest.Core) { c.Limits.Refuse("Guess", session.ErrBanned) }, session.ErrBanned},
		{"store away", "Service not available", func(c *sessiontest.Core) { c.Accounts.Fail(errors.New("away")) }, session.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil, nil)
			c.fault(f.core)
			asked, banner := 0, ""
			_, err := ssh.Dial("tcp", f.addr, &ssh.ClientConfig{
				User: "alice", HostKeyCallback: ssh.FixedHostKey(f.host),
				Auth: []ssh.AuthMethod{ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
					asked++
					return "right", nil
				}), 5)},
				BannerCallback: func(m string) error { banner = m; return nil },
			})
			if err == nil || asked != 1 {
				t.Errorf("asked %d times, %v; want once", asked, err)
			}
			if !strings.HasPrefix(banner, c.text) {
				t.Errorf("banner %q, want %q", banner, c.text)
			}
			if e := f.connection(t); e.Reason != c.want.Error() {
				t.Errorf("reason %q, want %q", e.Reason, c.want)
			}
		})
	}
}

// The gate's own limit decides how often a connection may be wrong.
func TestAttemptsAreBoundedByTheGate(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	tries := 0
	_, err := f.dial(t, "alice", ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
		tries++
		return "wrong", nil
	}), 100))
	if err == nil || tries != 7 {
		t.Errorf("%d tries, %v; want 6 answered and the seventh cut", tries, err)
	}
	if e := f.connection(t); e.Reason != session.ErrTooMany.Error() {
		t.Errorf("connection %s", sessiontest.String(e))
	}
}

func TestRefusedConnectionIsToldWhy(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	f.core.Limits.Refuse("Admit", session.ErrTooMany)
	got, err := io.ReadAll(f.dialConn(t))
	if err != nil || string(got) != "Too many connections.\r\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLoginGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		f := startOn(t, ln, nil, nil)
		began := time.Now()
		c := ln.dial(t)
		go func() { _, _ = c.Write([]byte("SSH-2.0-slow\r\n")) }()
		_, _ = io.Copy(io.Discard, c)
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("cut off after %v, want 30s", took)
		}
		if e := f.connection(t); e.Reason != session.ErrGrace.Error() {
			t.Errorf("connection %s", sessiontest.String(e))
		}
	})
}

func TestStrangersAreRecorded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, send, outcome string }{
		{"port scan", "", session.OutcomeNoLogin},
		{"http", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", session.OutcomeHandshakeFailed},
		{"garbage", "SSH-2.0-x\r\n\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", session.OutcomeHandshakeFailed},
		{"long line", strings.Repeat("x", 70000), session.OutcomeHandshakeFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil, nil)
			conn := f.dialConn(t)
			_, _ = conn.Write([]byte(c.send))
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			if e := f.connection(t); e.Outcome != c.outcome {
				t.Errorf("connection %s, want %s", sessiontest.String(e), c.outcome)
			}
		})
	}
}
