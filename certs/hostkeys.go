package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// hostRSABits is the size of the RSA host key.
const hostRSABits = 3072

// hostKey is one kind of host key.
type hostKey struct {
	file string
	kind string // the public key's algorithm
	make func() (crypto.Signer, error)
}

// hostKeyTable lists the host keys in the order in which they are offered.
func hostKeyTable() []hostKey {
	return []hostKey{
		{"ssh_host_ed25519_key", ssh.KeyAlgoED25519, func() (crypto.Signer, error) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		}},
		{"ssh_host_ecdsa_key", ssh.KeyAlgoECDSA256, func() (crypto.Signer, error) {
			return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}},
		{"ssh_host_rsa_key", ssh.KeyAlgoRSA, func() (crypto.Signer, error) {
			return rsa.GenerateKey(rand.Reader, hostRSABits)
		}},
	}
}

// HostKeys reads the SSH host keys in dir, ed25519, ECDSA P-256 and RSA, and
// makes those that are missing. They are files as ssh-keygen writes them, so
// that the keys of an OpenSSH server can be taken over. A file that others may
// read is refused. With RSA only rsa-sha2-512 and rsa-sha2-256 are offered (RFC
// 8332), never SHA-1.
func HostKeys(dir string) ([]ssh.Signer, error) {
	if err := makeKeyDir(dir); err != nil {
		return nil, err
	}
	var signers []ssh.Signer
	for _, k := range hostKeyTable() {
		signer, err := openHostKey(dir, k)
		if err != nil {
			return nil, fmt.Errorf("host key: %w", err)
		}
		signers = append(signers, signer)
	}
	return signers, nil
}

// Fingerprints describes host keys as ssh-keygen -l prints them: kind and
// SHA-256.
func Fingerprints(keys []ssh.Signer) []string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.PublicKey().Type() + " " + ssh.FingerprintSHA256(k.PublicKey())
	}
	return list
}

func openHostKey(dir string, k hostKey) (ssh.Signer, error) {
	name := filepath.Join(dir, k.file)
	content, err := readKeyFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeHostKey(name, k); err != nil {
			return nil, err
		}
		content, err = readKeyFile(name)
	}
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(content)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if got := signer.PublicKey().Type(); got != k.kind {
		return nil, fmt.Errorf("%s holds a key of kind %s, not %s", name, got, k.kind)
	}
	if k.kind != ssh.KeyAlgoRSA {
		return signer, nil
	}
	algorithms, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return nil, fmt.Errorf("%s: the key cannot sign with SHA-2", name)
	}
	return ssh.NewSignerWithAlgorithms(algorithms, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
}

func makeHostKey(name string, k hostKey) error {
	key, err := k.make()
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	block, err := ssh.MarshalPrivateKey(key, "gateway")
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	return writeKeyFile(name, pem.EncodeToMemory(block), false)
}
