package session

import "testing"

func TestSSHProfile(t *testing.T) {
	t.Parallel()
	const (
		unset, modern, compatible, legacy = SSHUnset, SSHModern, SSHCompatible, SSHLegacy
	)
	for _, tc := range []struct {
		name     string
		listener SSHProfile
		rules    SSHRules
		want     SSHProfile
	}{
		{"nobody chose", unset, SSHRules{}, modern},
		{"the listener's own", compatible, SSHRules{}, compatible},
		{"narrower", compatible, SSHRules{Demanded: modern}, modern},
		{"a demand that is met", modern, SSHRules{Demanded: compatible}, modern},
		{"wider", compatible, SSHRules{Granted: legacy}, legacy},
		{"wider than a strict listener", modern, SSHRules{Granted: legacy}, legacy},
		{"a demand goes before a grant", modern, SSHRules{Granted: legacy, Demanded: modern}, modern},
		{"a grant that loosens nothing", compatible, SSHRules{Granted: compatible}, compatible},
	} {
		if got := tc.rules.Profile(tc.listener); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
	for p := unset; p <= legacy+1; p++ {
		q, err := ParseSSHProfile(p.String())
		if valid := p >= modern && p <= legacy; (err == nil) != valid || valid && q != p {
			t.Errorf("%q is read as %v, %v", p, q, err)
		}
	}
}
