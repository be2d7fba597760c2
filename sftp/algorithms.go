package sftp

import (
	"crypto/rsa"
	"fmt"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"

	"gateway/session"
)

// minRSABits is the shortest RSA key taken, of a host or of a user.
const minRSABits = 2048

// algorithms are what one profile offers, each list in the order of preference.
// Of what both sides know, the client's order decides.
type algorithms struct {
	kex, hostKeys, ciphers, macs []string
	userKeys                     []string // signatures by which a user may prove a key
}

// profile returns the lists of a profile; those of the strictest for one that does
// not exist. chacha adds ChaCha20-Poly1305: OpenSSH prefers it, and it has no
// assembler here, so that it only pays where the processor has no AES.
func profile(p session.SSHProfile, chacha bool) algorithms {
	var a algorithms
	switch p {
	case session.SSHCompatible:
		a = compatible()
	case session.SSHLegacy:
		a = legacy()
	default:
		a = modern()
	}
	if chacha {
		a.ciphers = append([]string{ssh.CipherChaCha20Poly1305}, a.ciphers...)
	}
	return a
}

// modern is what software of the last years speaks. The ciphers authenticate by
// themselves; the MACs are there for clients that want one in common anyway.
func modern() algorithms {
	return algorithms{
		// The library adds curve25519-sha256@libssh.org, an alias.
		kex:      []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519},
		hostKeys: []string{ssh.KeyAlgoED25519, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
		ciphers:  []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM},
		macs:     []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM},
		userKeys: []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
			ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
		},
	}
}

// compatible is what all clients of today can speak, without SHA-1: libssh2 1.10
// (curl) and paramiko 2.12, as of Debian 12, have no GCM and no encrypt-then-MAC,
// JSch 0.1.55 has host keys of ECDSA only.
//
// Finite-field groups are left out: one exchange costs the server some fifty times
// what it costs on a curve, before anybody is known, and every client seen that
// knows SHA-2 groups knows a curve too.
func compatible() algorithms {
	return algorithms{
		kex: []string{
			ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
			ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521,
		},
		hostKeys: []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
			ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
		},
		ciphers: []string{
			ssh.CipherAES128GCM, ssh.CipherAES256GCM,
			ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
		},
		macs: []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512},
		userKeys: []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519,
			ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256,
			ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
		},
	}
}

// legacy adds what devices of some fifteen years ago had at best: groups of 2048
// bits and more, RSA signatures and MACs with SHA-1, AES in CBC. What can be broken
// by anybody who cares stays out: 1024-bit groups, DSA, 3DES, RC4, MD5.
func legacy() algorithms {
	a := compatible()
	a.kex = append(a.kex, ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeDH14SHA256, ssh.InsecureKeyExchangeDH14SHA1)
	a.hostKeys = append(a.hostKeys, ssh.KeyAlgoRSA)
	a.ciphers = append(a.ciphers, ssh.InsecureCipherAES128CBC)
	a.macs = append(a.macs, ssh.HMACSHA1)
	a.userKeys = append(a.userKeys, ssh.KeyAlgoRSA)
	return a
}

// processorHasAES reports whether AES-GCM runs in hardware.
func processorHasAES() bool {
	return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || cpu.S390X.HasAESGCM
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
