package sftp

import (
	"bufio"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/session/sessiontest"
)

// kexInit is SSH_MSG_KEXINIT (RFC 4253, section 7.1) without what follows the lists.
type kexInit struct {
	Cookie                                              [16]byte `sshtype:"20"`
	Kex, HostKeys, CiphersIn, CiphersOut, MACIn, MACOut []string
	Rest                                                []byte `ssh:"rest"`
}

// offer reads what the server offers on the wire.
func (f *fixture) offer(t *testing.T) kexInit {
	t.Helper()
	c := f.dialConn(t)
	if _, err := c.Write([]byte("SSH-2.0-test\r\n")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	version, err := r.ReadString('\n')
	if err != nil || version != "SSH-2.0-Gateway\r\n" {
		t.Fatalf("version %q, %v", version, err)
	}
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, int(binary.BigEndian.Uint32(head[:4]))-1)
	if _, err := io.ReadFull(r, payload); err != nil {
		t.Fatal(err)
	}
	var k kexInit
	if err := ssh.Unmarshal(payload[:len(payload)-int(head[4])], &k); err != nil {
		t.Fatal(err)
	}
	return k
}

// rulesAbout let everybody in with these algorithms.
func rulesAbout(r session.SSHRules) sessiontest.Rules {
	return func(session.Request) session.Verdict { return session.Verdict{Allowed: true, SSH: r} }
}

// The lists of each profile, as they are on the wire.
func TestOfferOnTheWire(t *testing.T) {
	t.Parallel()
	keys := []ssh.Signer{newSigner(t, "rsa"), newSigner(t, "ecdsa"), newSigner(t, "ed25519")}
	compatible := session.SSHRules{}
	for name, tc := range map[string]struct {
		rules    session.SSHRules
		listener session.SSHProfile
		want     algorithms
	}{
		"compatible": {compatible, session.SSHUnset, algorithms{
			kex: []string{
				"mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org",
				"ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521",
			},
			hostKeys: []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256", "rsa-sha2-512"},
			ciphers:  []string{"aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"},
			macs:     []string{"hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"},
		}},
		"modern": {compatible, session.SSHModern, algorithms{
			kex:      []string{"mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org"},
			hostKeys: []string{"ssh-ed25519", "rsa-sha2-256", "rsa-sha2-512"},
			ciphers:  []string{"aes128-gcm@openssh.com", "aes256-gcm@openssh.com"},
			macs:     []string{"hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"},
		}},
		"modern by rule": {session.SSHRules{Demanded: session.SSHModern}, session.SSHCompatible, algorithms{
			kex:      []string{"mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org"},
			hostKeys: []string{"ssh-ed25519", "rsa-sha2-256", "rsa-sha2-512"},
			ciphers:  []string{"aes128-gcm@openssh.com", "aes256-gcm@openssh.com"},
			macs:     []string{"hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"},
		}},
		"legacy by rule": {session.SSHRules{Granted: session.SSHLegacy}, session.SSHModern, algorithms{
			kex: []string{
				"mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org",
				"ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521",
				"diffie-hellman-group16-sha512", "diffie-hellman-group14-sha256", "diffie-hellman-group14-sha1",
			},
			hostKeys: []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256", "rsa-sha2-512", "ssh-rsa"},
			ciphers: []string{
				"aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr", "aes128-cbc",
			},
			macs: []string{
				"hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512", "hmac-sha1",
			},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, rulesAbout(tc.rules), func(c *Config) {
				c.HostKeys, c.Profile = keys, tc.listener
			})
			k := f.offer(t)
			ciphers := tc.want.ciphers
			if !processorHasAES() {
				ciphers = append([]string{ssh.CipherChaCha20Poly1305}, ciphers...)
			}
			for _, c := range []struct {
				name      string
				got, want []string
			}{
				{"kex", k.Kex, append(tc.want.kex, "kex-strict-s-v00@openssh.com")},
				{"host keys", k.HostKeys, tc.want.hostKeys},
				{"ciphers in", k.CiphersIn, ciphers},
				{"ciphers out", k.CiphersOut, ciphers},
				{"macs in", k.MACIn, tc.want.macs},
				{"macs out", k.MACOut, tc.want.macs},
			} {
				if !slices.Equal(c.got, c.want) {
					t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
				}
			}
		})
	}
}

// What is old is in no profile but legacy, and what is broken in none.
func TestNothingOldIsOffered(t *testing.T) {
	t.Parallel()
	for p, forbidden := range map[session.SSHProfile][]string{
		session.SSHUnset:      {"sha1", "cbc", "dss", "arcfour", "3des", "md5", "group", "ssh-rsa", "ctr", "nistp", "chacha"},
		session.SSHModern:     {"sha1", "cbc", "dss", "arcfour", "3des", "md5", "group", "ssh-rsa", "ctr", "ecdh", "ecdsa-sha2-nistp384", "chacha"},
		session.SSHCompatible: {"sha1", "cbc", "dss", "arcfour", "3des", "md5", "group", "ssh-rsa", "chacha"},
		session.SSHLegacy:     {"dss", "arcfour", "3des", "md5", "group1-", "group-exchange", "sha1-96", "chacha"},
	} {
		a := profile(p, false)
		for _, name := range slices.Concat(a.kex, a.hostKeys, a.ciphers, a.macs, a.userKeys) {
			for _, old := range forbidden {
				if strings.Contains(name, old) && name != "sk-ecdsa-sha2-nistp256@openssh.com" {
					t.Errorf("%v: %s is offered", p, name)
				}
			}
		}
		if c := profile(p, true).ciphers; c[0] != ssh.CipherChaCha20Poly1305 || len(c) != len(a.ciphers)+1 {
			t.Errorf("%v with chacha20: %q", p, c)
		}
	}
}

// Each profile logs in a client that knows nothing else, and the record tells which
// profile it was; a client of another one does not get in.
func TestLoginByProfile(t *testing.T) {
	t.Parallel()
	rsa := newSigner(t, "rsa")
	old := algorithms{
		kex: []string{"diffie-hellman-group14-sha1"}, hostKeys: []string{"ssh-rsa"},
		ciphers: []string{"aes128-cbc"}, macs: []string{"hmac-sha1"},
	}
	debian := algorithms{
		kex: []string{"ecdh-sha2-nistp256"}, hostKeys: []string{"ecdsa-sha2-nistp256"},
		ciphers: []string{"aes128-ctr"}, macs: []string{"hmac-sha2-256"},
	}
	latest := algorithms{
		kex: []string{"mlkem768x25519-sha256"}, hostKeys: []string{"ssh-ed25519"},
		ciphers: []string{"aes256-gcm@openssh.com"}, macs: []string{"hmac-sha2-256-etm@openssh.com"},
	}
	for name, tc := range map[string]struct {
		rules  session.SSHRules
		client algorithms
		want   string // the profile in the record; empty if there is no login
	}{
		"old where it is exempted":     {session.SSHRules{Granted: session.SSHLegacy}, old, "legacy"},
		"old elsewhere":                {session.SSHRules{}, old, ""},
		"Debian 12":                    {session.SSHRules{}, debian, "compatible"},
		"Debian 12 where it is modern": {session.SSHRules{Demanded: session.SSHModern}, debian, ""},
		"latest where it is modern":    {session.SSHRules{Demanded: session.SSHModern}, latest, "modern"},
		"latest where it is old":       {session.SSHRules{Granted: session.SSHLegacy}, latest, "legacy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, rulesAbout(tc.rules), func(c *Config) {
				c.HostKeys = []ssh.Signer{rsa, newSigner(t, "ecdsa"), newSigner(t, "ed25519")}
			})
			conn, _, _, err := ssh.NewClientConn(f.dialConn(t), "", &ssh.ClientConfig{
				User: "alice", Auth: []ssh.AuthMethod{ssh.Password("right")},
				Config:          ssh.Config{KeyExchanges: tc.client.kex, Ciphers: tc.client.ciphers, MACs: tc.client.macs},
				HostKeyCallback: ssh.InsecureIgnoreHostKey(), HostKeyAlgorithms: tc.client.hostKeys,
			})
			if (err == nil) != (tc.want != "") {
				t.Fatalf("login: %v", err)
			}
			if err == nil {
				defer conn.Close()
				logins := f.core.Record.Events(session.EventLogin)
				if len(logins) != 1 || logins[0].Channel.SSHProfile != tc.want || logins[0].Channel.SSHKex != tc.client.kex[0] {
					t.Errorf("recorded %+v", logins)
				}
				return
			}
			if e := f.connection(t); e.Outcome != session.OutcomeHandshakeFailed || !strings.Contains(e.Reason, "no common algorithm") {
				t.Errorf("recorded %s", sessiontest.String(e))
			}
		})
	}
}

func TestHostKeys(t *testing.T) {
	t.Parallel()
	ed, ec := newSigner(t, "ed25519"), newSigner(t, "ecdsa")
	for _, c := range []struct {
		name       string
		keys, next []ssh.Signer
		want       string
	}{
		{"none", nil, nil, "no host key"},
		{"none of modern", []ssh.Signer{ec}, nil, "profile modern: no host key"},
		{"twice", []ssh.Signer{ed, ed}, nil, "two host keys of type ssh-ed25519"},
		{"twice to come", []ssh.Signer{ed}, []ssh.Signer{ec, ec}, "two host keys of type ecdsa"},
	} {
		f := New(Config{HostKeys: c.keys, NextHostKeys: c.next})
		if f.err == nil || !strings.Contains(f.err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, f.err, c.want)
		}
	}
	s := New(Config{
		HostKeys: []ssh.Signer{ed}, ServerVersion: "OpenSSH\n", IdleTimeout: -1, Profile: session.SSHLegacy,
		RekeyAfter: 1000, KeepaliveCount: -1,
	})
	for _, want := range []string{"server version", "idle timeout", "gate and files", `profile "legacy"`, "rekey after 1000", "keepalive count"} {
		if s.err == nil || !strings.Contains(s.err.Error(), want) {
			t.Errorf("got %v, want it to name the %s", s.err, want)
		}
	}
}

// New host keys are for the connections that come.
func TestSetHostKeys(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	_, before := f.alice(t)
	next := newSigner(t, "ed25519")
	if err := f.server.SetHostKeys(nil, nil); err == nil {
		t.Error("no keys were accepted")
	}
	if err := f.server.SetHostKeys([]ssh.Signer{next}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := f.dial(t, "alice", ssh.Password("right")); err == nil {
		t.Error("the old key is still shown")
	}
	f.host = next.PublicKey()
	f.alice(t)
	if _, err := before.Getwd(); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
}
