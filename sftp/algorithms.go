package sftp

import (
	"cmp"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"
)

// minRSABits is the shortest RSA key taken, of a host or of a user.
const minRSABits = 2048

// keyExchanges are offered in this order. Finite-field groups are left out: one
// exchange costs the server some fifty times what it costs on a curve, before
// anybody is known, and every client that knows SHA-2 groups knows a curve too.
func keyExchanges() []string {
	return []string{
		ssh.KeyExchangeMLKEM768X25519,
		ssh.KeyExchangeCurve25519, // its alias curve25519-sha256@libssh.org is added by the library
		ssh.KeyExchangeECDHP256,
		ssh.KeyExchangeECDHP384,
		ssh.KeyExchangeECDHP521,
	}
}

// ciphers are offered in this order, but the client's order decides. OpenSSH
// prefers ChaCha20, which has no assembler here, so that it is offered only
// where the processor has no AES.
func ciphers(hasAES bool) []string {
	list := []string{
		ssh.CipherAES128GCM,
		ssh.CipherAES256GCM,
		ssh.CipherAES128CTR,
		ssh.CipherAES192CTR,
		ssh.CipherAES256CTR,
	}
	if !hasAES {
		list = append([]string{ssh.CipherChaCha20Poly1305}, list...)
	}
	return list
}

// processorHasAES reports whether AES-GCM runs in hardware.
func processorHasAES() bool {
	return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || cpu.S390X.HasAESGCM
}

// macs are offered in this order. Those that are not encrypt-then-MAC are for
// libssh2 1.10 and paramiko 2, as of Debian 12.
func macs() []string {
	return []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512}
}

// userKeyAlgorithms are the signatures by which a user may prove a key: no DSA,
// no SHA-1.
func userKeyAlgorithms() []string {
	return []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
}

// hostKeyRank is the order in which host keys are offered; types that are not
// in it are refused.
func hostKeyRank() map[string]int {
	return map[string]int{
		ssh.KeyAlgoED25519:  1,
		ssh.KeyAlgoECDSA256: 2, ssh.KeyAlgoECDSA384: 3, ssh.KeyAlgoECDSA521: 4,
		ssh.KeyAlgoRSA: 5,
	}
}

// usableHostKeys checks host keys, restricts RSA to SHA-2 and sorts them. A
// signer that is not restricted would offer ssh-rsa, which is SHA-1.
func usableHostKeys(keys []ssh.Signer) ([]ssh.Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("no host key")
	}
	rank := hostKeyRank()
	seen := make(map[string]bool)
	var usable []ssh.Signer
	for _, k := range keys {
		kind := k.PublicKey().Type()
		if rank[kind] == 0 {
			return nil, fmt.Errorf("host key of type %s: want ed25519, ecdsa or rsa", kind)
		}
		if seen[kind] {
			return nil, fmt.Errorf("two host keys of type %s", kind)
		}
		seen[kind] = true
		if kind == ssh.KeyAlgoRSA {
			if short := shortRSA(k.PublicKey()); short != nil {
				return nil, fmt.Errorf("host key: %w", short)
			}
			signer, ok := k.(ssh.AlgorithmSigner)
			if !ok {
				return nil, errors.New("rsa host key cannot sign with SHA-2")
			}
			var err error
			if k, err = ssh.NewSignerWithAlgorithms(signer, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}); err != nil {
				return nil, fmt.Errorf("restrict rsa host key to SHA-2: %w", err)
			}
		}
		usable = append(usable, k)
	}
	slices.SortFunc(usable, func(a, b ssh.Signer) int {
		return cmp.Compare(rank[a.PublicKey().Type()], rank[b.PublicKey().Type()])
	})
	return usable, nil
}

// shortRSA returns an error for an RSA key of less than minRSABits.
func shortRSA(key ssh.PublicKey) error {
	public, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if k, ok := public.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < minRSABits {
		return fmt.Errorf("rsa key of %d bits: want at least %d", k.N.BitLen(), minRSABits)
	}
	return nil
}
