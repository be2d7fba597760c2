package dns

import (
	"net/netip"
	"testing"
)

func TestSpecial(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"192.0.2.1": false, "10.1.2.3": false, "2001:db8::1": false, "fd00::1": false, "100.64.0.1": false,
		"127.0.0.1": true, "127.9.9.9": true, "0.0.0.0": true, "0.1.2.3": true, "169.254.169.254": true, "224.0.0.1": true, "255.255.255.255": true, "240.0.0.1": true,
		"::": true, "::1": true, "fe80::1": true, "ff02::1": true, "::ffff:127.0.0.1": true, "::ffff:192.0.2.1": false, "::127.0.0.1": true, "64:ff9b::7f00:1": true,
	} {
		if got := Special(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %t", address, got)
		}
	}
	if !Special(netip.Addr{}) {
		t.Error("no address at all is not special")
	}
}
