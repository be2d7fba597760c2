package sftp

import (
	"bufio"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
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

func TestOfferOnTheWire(t *testing.T) {
	t.Parallel()
	f := start(t, nil, func(c *Config) {
		c.HostKeys = []ssh.Signer{newSigner(t, "rsa"), newSigner(t, "ecdsa"), newSigner(t, "ed25519")}
	})
	k := f.offer(t)
	for _, c := range []struct {
		name      string
		got, want []string
	}{
		{"kex", k.Kex, []string{
			"mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org",
			"ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521", "kex-strict-s-v00@openssh.com",
		}},
		{"host keys", k.HostKeys, []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256", "rsa-sha2-512"}},
		{"ciphers in", k.CiphersIn, ciphers(processorHasAES())},
		{"ciphers out", k.CiphersOut, ciphers(processorHasAES())},
		{"macs in", k.MACIn, macs()},
		{"macs out", k.MACOut, macs()},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
	for _, name := range slices.Concat(k.Kex, k.HostKeys, k.CiphersIn, k.CiphersOut, k.MACIn, k.MACOut, userKeyAlgorithms()) {
		for _, old := range []string{"sha1", "cbc", "dss", "arcfour", "3des", "md5", "group1-", "ssh-rsa"} {
			if strings.Contains(name, old) {
				t.Errorf("%s is offered", name)
			}
		}
	}
}

func TestChaChaOnlyWithoutAES(t *testing.T) {
	t.Parallel()
	if slices.Contains(ciphers(true), ssh.CipherChaCha20Poly1305) {
		t.Error("offered where the processor has AES")
	}
	if ciphers(false)[0] != ssh.CipherChaCha20Poly1305 {
		t.Error("not the first where it has none")
	}
}

func TestHostKeys(t *testing.T) {
	t.Parallel()
	ed := newSigner(t, "ed25519")
	for _, c := range []struct {
		name string
		keys []ssh.Signer
		want string
	}{
		{"none", nil, "no host key"},
		{"twice", []ssh.Signer{ed, ed}, "two host keys of type ssh-ed25519"},
	} {
		f := New(Config{HostKeys: c.keys})
		if f.err == nil || !strings.Contains(f.err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, f.err, c.want)
		}
	}
	s := New(Config{HostKeys: []ssh.Signer{ed}, ServerVersion: "OpenSSH\n", IdleTimeout: -1})
	for _, want := range []string{"server version", "idle timeout", "gate and files"} {
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
	if err := f.server.SetHostKeys(nil); err == nil {
		t.Error("no keys were accepted")
	}
	if err := f.server.SetHostKeys([]ssh.Signer{next}); err != nil {
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
