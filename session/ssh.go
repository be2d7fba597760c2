package session

import "fmt"

// SSHProfile names a list of SSH algorithms. The values are ordered from strict to
// loose; the zero value is one that nobody chose, and counts as modern.
type SSHProfile uint8

const (
	SSHUnset SSHProfile = iota
	// SSHModern is what software of the last years speaks.
	SSHModern
	// SSHCompatible adds what is older and not broken; nothing of it uses SHA-1.
	SSHCompatible
	// SSHLegacy adds algorithms with SHA-1 and CBC, for a device that has no others.
	// Only an exemption, which ends, can grant it.
	SSHLegacy
)

// sshProfileWords are those of the configuration, the rules and the record.
func sshProfileWords() []string { return []string{"", "modern", "compatible", "legacy"} }

func (p SSHProfile) String() string {
	if words := sshProfileWords(); int(p) < len(words) {
		return words[p]
	}
	return ""
}

// ParseSSHProfile reads modern, compatible or legacy.
func ParseSSHProfile(text string) (SSHProfile, error) {
	for i, word := range sshProfileWords() {
		if i > 0 && word == text {
			return SSHProfile(i), nil
		}
	}
	return SSHUnset, fmt.Errorf("%q is not one of: modern, compatible, legacy", text)
}

// SSHRules are what the rules say of the algorithms of an SSH connection. They are
// known before the key exchange, and so look at the peer only. The zero value
// leaves the listener's profile as it is.
type SSHRules struct {
	// Granted is the loosest profile that an exemption grants, Demanded the strictest
	// that a require asks for. Either may be unset.
	Granted, Demanded SSHProfile
}

// Profile is what is offered on a listener that offers listener by itself. A rule
// that restricts goes before one that permits.
func (r SSHRules) Profile(listener SSHProfile) SSHProfile {
	p := max(listener, SSHModern, r.Granted)
	if r.Demanded != SSHUnset {
		p = min(p, r.Demanded)
	}
	return p
}
