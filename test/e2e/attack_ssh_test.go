package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// TestAttackSSH runs them all against one gateway, one after the other.
func TestAttackSSH(t *testing.T) {
	g := attacked(t)
	t.Run("ForgedSignature", func(t *testing.T) { forgedSignature(t, g) })
	t.Run("ManyKeyQueries", func(t *testing.T) { manyKeyQueries(t, g) })
	t.Run("GuessesOnOneConnection", func(t *testing.T) { guessesOnOneConnection(t, g) })
	t.Run("SSHChannels", func(t *testing.T) { sshChannels(t, g) })
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// forger shows one key and signs with another.
type forger struct{ shown, own ssh.Signer }

func (f forger) PublicKey() ssh.PublicKey { return f.shown.PublicKey() }

func (f forger) Sign(r io.Reader, data []byte) (*ssh.Signature, error) { return f.own.Sign(r, data) }

// addKey gives alice the key of s.
func addKey(t *testing.T, g *gatewaytest.Gateway, s ssh.Signer) {
	t.Helper()
	g.Write("key.pub", string(ssh.MarshalAuthorizedKey(s.PublicKey())))
	g.CLI("", "user", "key", "add", alice, g.Dir+"/key.pub")
}

func sshDial(t *testing.T, g *gatewaytest.Gateway, user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	t.Helper()
	c, err := ssh.Dial("tcp", g.Addr("sftp"), &ssh.ClientConfig{
		User: user, Auth: auth, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: clientTimeout,
	})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// Who knows a public key but not its private one is not let in, and is charged.
func forgedSignature(t *testing.T, g *gatewaytest.Gateway) {
	mark := time.Now()
	owner := newSigner(t)
	addKey(t, g, owner)
	if _, err := sshDial(t, g, alice, ssh.PublicKeys(owner)); err != nil {
		t.Fatalf("the owner: %v", err)
	}
	for _, user := range []string{alice, "nobody"} {
		if _, err := sshDial(t, g, user, ssh.PublicKeys(forger{owner, newSigner(t)})); err == nil {
			t.Errorf("%s: a forged signature was taken", user)
		}
	}
	refused := after(t, g, mark, "--event", "login", "--outcome", "refused")
	if len(refused) != 2 || refused[0].User != alice || refused[0].Reason != "wrong signature" || !strings.HasPrefix(refused[1].User, "unknown:") {
		t.Errorf("recorded: %+v", refused)
	}
}

// Asking for many keys proves nothing and leaves one event at most; it has a bound, and an
// agent full of keys does not keep its owner's password out.
func manyKeyQueries(t *testing.T, g *gatewaytest.Gateway) {
	mark := time.Now()
	var few, many []ssh.Signer
	for i := range 200 {
		if s := newSigner(t); i < 40 {
			few = append(few, s)
		} else {
			many = append(many, s)
		}
	}
	if _, err := sshDial(t, g, alice, ssh.PublicKeys(few...), ssh.Password(password)); err != nil {
		t.Errorf("40 keys, then the password: %v", err)
	}
	if _, err := sshDial(t, g, alice, ssh.PublicKeys(many...), ssh.Password(password)); err == nil {
		t.Error("160 keys were asked for on one connection")
	}
	logins := after(t, g, mark, "--event", "login")
	if len(logins) != 2 || logins[0].Outcome != session.OutcomeGranted || logins[1].Outcome != session.OutcomeRefused {
		t.Errorf("%d logins recorded, want one granted, and one refused for all the keys", len(logins))
	}
}

// One connection makes at most so many guesses, each is recorded, and the last
// answer is no login.
func guessesOnOneConnection(t *testing.T, g *gatewaytest.Gateway) {
	mark := time.Now()
	n := 0
	guess := ssh.PasswordCallback(func() (string, error) { n++; return fmt.Sprint("guess", n), nil })
	if _, err := sshDial(t, g, alice, ssh.RetryableAuthMethod(guess, 50)); err == nil {
		t.Error("let in")
	}
	if n > 7 {
		t.Errorf("%d guesses on one connection, want at most 7", n)
	}
	if refused := after(t, g, mark, "--event", "login", "--outcome", "refused"); len(refused) != n {
		t.Errorf("%d refusals recorded, want %d", len(refused), n)
	}
}

// What a session may not do: forward, listen, open channels without end.
func sshChannels(t *testing.T, g *gatewaytest.Gateway) {
	c, err := sshDial(t, g, alice, ssh.Password(password))
	if err != nil {
		t.Fatal(err)
	}
	if fwd, err := c.Dial("tcp", g.Addr("ftp")); err == nil {
		_ = fwd.Close()
		t.Error("a port was forwarded")
	}
	for _, request := range []string{"tcpip-forward", "streamlocal-forward@openssh.com", "no-such-request"} {
		if ok, _, err := c.SendRequest(request, true, ssh.Marshal(struct {
			Host string
			Port uint32
		}{"127.0.0.1", 0})); ok || err != nil {
			t.Errorf("%s: got %v, %v; want a refusal", request, ok, err)
		}
	}
	for _, kind := range []string{"direct-tcpip", "direct-streamlocal@openssh.com", "x11", "auth-agent@openssh.com", "tun@openssh.com", ""} {
		var refused *ssh.OpenChannelError
		if _, _, err := c.OpenChannel(kind, []byte("\xff\xff\xff\xff")); !errors.As(err, &refused) {
			t.Errorf("channel %q: got %v, want a refusal", kind, err)
		}
	}
	opened := 0
	for range 200 {
		ch, requests, err := c.OpenChannel("session", nil)
		if err != nil {
			continue
		}
		go ssh.DiscardRequests(requests)
		opened++
		if ok, _ := ch.SendRequest("auth-agent-req@openssh.com", true, nil); ok {
			t.Error("agent forwarding was agreed to")
		}
	}
	if opened != 10 {
		t.Errorf("%d channels open, want 10", opened)
	}
}

// Garbage before the key exchange ends the connection at once and is recorded.
func TestSSHGarbage(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Config: trusting + "sftp { login_grace = \"3s\" }\n"})
	junk := []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat("x: y\r\n", 5000),
		"SSH-1.5-old\r\n",
		"SSH-2.0-" + strings.Repeat("v", 4096) + "\r\n",
		"SSH-2.0-x\r\n\xff\xff\xff\xff" + strings.Repeat("A", 64), // a packet of 4 GiB
		"SSH-2.0-x\r\n\x00\x00\x00\x01\x00",
		"SSH-2.0-x\r\n" + strings.Repeat("\x00", 4096),
		"SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x32" + strings.Repeat("\x00", 10), // USERAUTH_REQUEST before keys
	}
	for _, text := range junk {
		c := dial(t, g, "sftp")
		c.send(text)
		c.rest()
	}
	eventually(t, "each is recorded", func() bool { return accounted(t, g) == int64(len(junk)) })
	for _, e := range events(t, g, "--event", "connection") {
		if e.Outcome != session.OutcomeHandshakeFailed {
			t.Errorf("got outcome %q, reason %q", e.Outcome, e.Reason)
		}
	}
}
