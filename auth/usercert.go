package auth

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	maxUserCertBytes = 32 << 10
	// The critical options of certificates (PROTOCOL.certkeys of OpenSSH).
	criticalSource = "source-address"
)

// An authority signs certificates of users (PROTOCOL.certkeys of OpenSSH).
type authority struct {
	key     keyID
	options options
}

// isUserCert reports whether a key of that algorithm is a certificate of OpenSSH.
func isUserCert(algorithm string) bool { return strings.HasSuffix(algorithm, "-cert-v01@openssh.com") }

// checkUserCert says why a certificate does not let the account in; nil if it does. The client's signature with the key in it is for the front-end
// to check.
//
// Unlike sshd, a certificate that names nobody is good for nobody.
func checkUserCert(blob string, r *record, trusts []*trust, source netip.Addr, now time.Time) error {
	if len(blob) > maxUserCertBytes {
		return fmt.Errorf("it is longer than %d bytes", maxUserCertBytes)
	}
	pub, err := ssh.ParsePublicKey([]byte(blob))
	if err != nil {
		return fmt.Errorf("it cannot be read")
	}
	cert, ok := pub.(*ssh.Certificate)
	if !ok || cert.CertType != ssh.UserCert {
		return fmt.Errorf("it is not that of a user")
	}
	signer := keyID{cert.SignatureKey.Type(), string(cert.SignatureKey.Marshal())}
	authorities := r.authorities
	for _, t := range trusts {
		if why := t.checkCert(cert); why != "" {
			return fmt.Errorf("%s", why)
		}
		authorities = slices.Concat(authorities, t.authorities)
	}
	// An authority may be known by the account and by several of its groups, each
	// with options of its own: one of them is enough.
	err = fmt.Errorf("its authority %s is none of the account or its groups", ssh.FingerprintSHA256(cert.SignatureKey))
	for _, a := range authorities {
		if a.key != signer {
			continue
		}
		if err = a.check(cert, r.info.Name, source, now); err == nil {
			return nil
		}
	}
	return err
}

func (a *authority) check(cert *ssh.Certificate, name string, source netip.Addr, now time.Time) error {
	if !a.options.admit(source, now) {
		return fmt.Errorf("the options of its authority do not admit it from here or now")
	}
	if err := checkKey(cert.Key); err != nil {
		return err
	}
	switch cert.Signature.Format {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512:
	default:
		return fmt.Errorf("it is signed by %s", clip(cert.Signature.Format))
	}
	// The principal is that of the account, unless the authority says otherwise.
	wanted := a.options.principals
	if wanted == nil {
		wanted = []string{name}
	}
	i := slices.IndexFunc(cert.ValidPrincipals, func(p string) bool { return slices.Contains(wanted, p) })
	if i < 0 {
		return fmt.Errorf("none of its principals is the account's")
	}
	checker := ssh.CertChecker{SupportedCriticalOptions: []string{criticalSource}, Clock: func() time.Time { return now }}
	if err := checker.CheckCert(cert.ValidPrincipals[i], cert); err != nil {
		return err
	}
	if list, limited := cert.CriticalOptions[criticalSource]; limited && !inNetworks(list, source) {
		return fmt.Errorf("it is not for use from here")
	}
	return nil
}

// inNetworks reports whether source is in a list of addresses and networks, as
// source-address has them. A list that cannot be read holds nothing.
func inNetworks(list string, source netip.Addr) bool {
	source = source.Unmap().WithZone("")
	found := false
	for text := range strings.SplitSeq(list, ",") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return false
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		found = found || prefix.Contains(source)
	}
	return found
}
