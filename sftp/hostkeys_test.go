package sftp

import (
	"net"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"
)

// told logs alice in by a client of one signature and returns the connection and
// the host keys that it is told.
func (f *fixture) told(t *testing.T, signature string) (ssh.Conn, []ssh.PublicKey) {
	t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn, channels, requests, err := ssh.NewClientConn(c, "", &ssh.ClientConfig{
		User: "alice", Auth: []ssh.AuthMethod{ssh.Password("right")},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), HostKeyAlgorithms: []string{signature},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for nc := range channels {
			_ = nc.Reject(ssh.Prohibited, "")
		}
	}()
	r := <-requests
	go ssh.DiscardRequests(requests)
	if r.Type != hostKeysAnnounce || r.WantReply {
		t.Fatalf("told %q", r.Type)
	}
	var keys []ssh.PublicKey
	for rest := r.Payload; len(rest) > 0; {
		var p struct {
			Blob []byte
			Rest []byte `ssh:"rest"`
		}
		if err := ssh.Unmarshal(rest, &p); err != nil {
			t.Fatal(err)
		}
		k, err := ssh.ParsePublicKey(p.Blob)
		if err != nil {
			t.Fatal(err)
		}
		keys, rest = append(keys, k), p.Rest
	}
	return conn, keys
}

// All host keys are told, those to come last, and each is proven, an RSA key by
// the signature that the client knows.
func TestHostKeysAreToldAndProven(t *testing.T) {
	t.Parallel()
	now := []ssh.Signer{newSigner(t, "ed25519"), newSigner(t, "rsa")}
	next := []ssh.Signer{newSigner(t, "ed25519"), newSigner(t, "ecdsa"), newSigner(t, "rsa")}
	f := start(t, nil, func(c *Config) { c.HostKeys, c.NextHostKeys = now, next })
	for signature, rsa := range map[string]string{
		ssh.KeyAlgoED25519: ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA512: ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256: ssh.KeyAlgoRSASHA256,
	} {
		conn, keys := f.told(t, signature)
		var want, got []string
		for _, k := range slices.Concat(now, next) {
			want = append(want, ssh.FingerprintSHA256(k.PublicKey()))
		}
		for _, k := range keys {
			got = append(got, ssh.FingerprintSHA256(k))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("told %q, want %q", got, want)
		}
		var payload []byte
		for _, k := range keys {
			payload = append(payload, ssh.Marshal(struct{ Blob []byte }{k.Marshal()})...)
		}
		ok, answer, err := conn.SendRequest(hostKeysProve, true, payload)
		if !ok || err != nil {
			t.Fatalf("proof: %v, %v", ok, err)
		}
		for _, k := range keys {
			var p struct {
				Blob []byte
				Rest []byte `ssh:"rest"`
			}
			var s ssh.Signature
			if err := ssh.Unmarshal(answer, &p); err != nil {
				t.Fatal(err)
			}
			if err := ssh.Unmarshal(p.Blob, &s); err != nil {
				t.Fatal(err)
			}
			text := ssh.Marshal(struct {
				Name           string
				SessionID, Key []byte
			}{hostKeysProve, conn.SessionID(), k.Marshal()})
			if err := k.Verify(text, &s); err != nil {
				t.Errorf("%s: %v", k.Type(), err)
			}
			if k.Type() == ssh.KeyAlgoRSA && s.Format != rsa {
				t.Errorf("by %s: rsa key proven by %s, want %s", signature, s.Format, rsa)
			}
			answer = p.Rest
		}
		if len(answer) > 0 {
			t.Errorf("%d bytes too many", len(answer))
		}
	}
}

// Nothing is signed for keys that are not ours, for keys named over and over, for
// garbage, or without end.
func TestProofsThatAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	ask := func(k ssh.PublicKey) []byte { return ssh.Marshal(struct{ Blob []byte }{k.Marshal()}) }
	ours := ask(f.host)
	for name, payload := range map[string][]byte{
		"foreign": ask(newSigner(t, "ed25519").PublicKey()), "twice": slices.Concat(ours, ours),
		"cut": ours[:len(ours)-1], "long": {0xff, 0xff, 0xff, 0xff}, "short": {1},
	} {
		conn, _ := f.told(t, ssh.KeyAlgoED25519)
		if ok, _, err := conn.SendRequest(hostKeysProve, true, payload); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	conn, _ := f.told(t, ssh.KeyAlgoED25519)
	for i := range maxProofs + 1 {
		if ok, _, err := conn.SendRequest(hostKeysProve, true, ours); ok != (i < maxProofs) || err != nil {
			t.Errorf("proof %d: %v, %v", i, ok, err)
		}
	}
}
