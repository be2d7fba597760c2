package sftp

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

// OpenSSH's way to make new host keys known (PROTOCOL, section 2.5): the server
// tells all that it has, and a client that knew one of them asks for proofs of
// those that it did not know.
const (
	hostKeysAnnounce = "hostkeys-00@openssh.com"
	hostKeysProve    = "hostkeys-prove-00@openssh.com"
	// maxProofs is how often one connection may ask for proofs: each costs signatures.
	maxProofs = 4
)

// hostKeys are those in force, and what each profile makes of them. They never
// change.
type hostKeys struct {
	all    []ssh.Signer // in the order in which they are told: those to come last
	offers map[session.SSHProfile]offer
}

// offer is what a connection is offered.
type offer struct {
	algorithms
	signers []ssh.Signer
}

func (o offer) config(rekeyAfter int64) ssh.Config {
	return ssh.Config{KeyExchanges: o.kex, Ciphers: o.ciphers, MACs: o.macs, RekeyThreshold: uint64(rekeyAfter)}
}

// offer is that of a connection of which the rules say r.
func (s *Server) offer(r session.SSHRules) offer {
	return s.keys.Load().offers[r.Profile(s.cfg.Profile)]
}

// SetHostKeys puts other host keys in force for the connections that come from
// now on; next may be empty. On error the old ones stay. It may be called at any
// time.
func (s *Server) SetHostKeys(keys, next []ssh.Signer) error {
	k := &hostKeys{offers: make(map[session.SSHProfile]offer)}
	for _, set := range [][]ssh.Signer{keys, next} {
		if err := checkHostKeys(set); err != nil {
			return err
		}
		k.all = append(k.all, set...)
	}
	for _, p := range []session.SSHProfile{session.SSHModern, session.SSHCompatible, session.SSHLegacy} {
		o := offer{algorithms: profile(p, s.cfg.ChaCha20 || !processorHasAES())}
		var err error
		if o.signers, err = signersOf(keys, o.algorithms.hostKeys); err != nil {
			return fmt.Errorf("profile %v: %w", p, err)
		}
		k.offers[p] = o
	}
	s.keys.Store(k)
	return nil
}

// checkHostKeys refuses short keys, kinds that are in no profile, and two of a
// kind, of which only one would be used.
func checkHostKeys(keys []ssh.Signer) error {
	seen := make(map[string]bool)
	for _, k := range keys {
		kind := k.PublicKey().Type()
		switch {
		case kind != ssh.KeyAlgoRSA && !slices.Contains(legacy().hostKeys, kind):
			return fmt.Errorf("host key of type %s: want ed25519, ecdsa or rsa", kind)
		case seen[kind]:
			return fmt.Errorf("two host keys of type %s", kind)
		}
		seen[kind] = true
		if short := shortRSA(k.PublicKey()); short != nil {
			return fmt.Errorf("host key: %w", short)
		}
	}
	return nil
}

// signersOf are the keys that can make one of the signatures, in their order, and
// no others: a signer that is not restricted would offer ssh-rsa, which is SHA-1.
func signersOf(keys []ssh.Signer, signatures []string) ([]ssh.Signer, error) {
	var out []ssh.Signer
	for _, k := range keys {
		algorithms := []string{k.PublicKey().Type()}
		if algorithms[0] == ssh.KeyAlgoRSA {
			algorithms = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}
		}
		algorithms = slices.DeleteFunc(algorithms, func(a string) bool { return !slices.Contains(signatures, a) })
		if len(algorithms) == 0 {
			continue
		}
		if k.PublicKey().Type() == ssh.KeyAlgoRSA {
			signer, ok := k.(ssh.AlgorithmSigner)
			if !ok {
				return nil, errors.New("rsa host key cannot sign with SHA-2")
			}
			var err error
			if k, err = ssh.NewSignerWithAlgorithms(signer, algorithms); err != nil {
				return nil, fmt.Errorf("restrict rsa host key: %w", err)
			}
		}
		out = append(out, k)
	}
	if len(out) == 0 {
		return nil, errors.New("no host key")
	}
	rank := func(k ssh.Signer) int {
		kind := k.PublicKey().Type()
		if kind == ssh.KeyAlgoRSA {
			kind = ssh.KeyAlgoRSASHA512
		}
		return slices.Index(signatures, kind)
	}
	slices.SortStableFunc(out, func(a, b ssh.Signer) int { return cmp.Compare(rank(a), rank(b)) })
	return out, nil
}

// announceHostKeys tells the client all host keys, those to come included. It
// wants no answer, so that a client that does not know the request ignores it.
func (c *conn) announceHostKeys() {
	var payload []byte
	for _, k := range c.server.keys.Load().all {
		payload = append(payload, ssh.Marshal(struct{ Blob []byte }{k.PublicKey().Marshal()})...)
	}
	_, _, _ = c.t.SendRequest(hostKeysAnnounce, false, payload)
}

// proveHostKeys signs the connection's identifier and the key with each key that
// is asked for, and returns the signatures in that order.
func (c *conn) proveHostKeys(payload []byte) ([]byte, error) {
	keys := c.server.keys.Load().all
	var out []byte
	for n := 0; len(payload) > 0; n++ {
		var asked struct {
			Blob []byte
			Rest []byte `ssh:"rest"`
		}
		if err := ssh.Unmarshal(payload, &asked); err != nil {
			return nil, err
		}
		i := slices.IndexFunc(keys, func(k ssh.Signer) bool { return string(k.PublicKey().Marshal()) == string(asked.Blob) })
		if i < 0 || n == len(keys) {
			return nil, errors.New("asked for a key that is not ours")
		}
		signature, err := c.proveHostKey(keys[i])
		if err != nil {
			return nil, err
		}
		out = append(out, ssh.Marshal(struct{ Signature []byte }{ssh.Marshal(signature)})...)
		payload = asked.Rest
	}
	return out, nil
}

func (c *conn) proveHostKey(k ssh.Signer) (*ssh.Signature, error) {
	blob := k.PublicKey().Marshal()
	text := ssh.Marshal(struct {
		Name           string
		SessionID, Key []byte
	}{hostKeysProve, c.t.SessionID(), blob})
	if k.PublicKey().Type() != ssh.KeyAlgoRSA {
		return k.Sign(rand.Reader, text)
	}
	signer, ok := k.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("rsa host key cannot sign with SHA-2")
	}
	return signer.SignWithAlgorithm(rand.Reader, text, c.rsaProof())
}

// rsaProof is the signature that the client expects of an RSA key: that of the key
// exchange if it was by RSA, else SHA-2 with 512 bits. It is never SHA-1.
func (c *conn) rsaProof() string {
	if m, ok := c.t.Conn.(ssh.AlgorithmsConnMetadata); ok && m.Algorithms().HostKey == ssh.KeyAlgoRSASHA256 {
		return ssh.KeyAlgoRSASHA256
	}
	return ssh.KeyAlgoRSASHA512
}
