package config

import (
	"net/netip"
	"strings"
	"testing"
)

// A listener that clients from elsewhere could not use passively is warned of.
func TestPrivateAddressesAreWarnedOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		listener string
		host     string
		warns    bool
	}{
		"behind NAT":     {`address = ":2121"`, "127.0.0.1 10.0.0.5", true},
		"shared address": {`address = "0.0.0.0:2121"`, "100.64.0.5", true},
		"public":         {`address = ":2121"`, "127.0.0.1 10.0.0.5 203.0.113.7", false},
		"told":           {"address = \":2121\"\n  public_address = \"203.0.113.7\"", "10.0.0.5", false},
		"loopback":       {`address = "127.0.0.1:2121"`, "10.0.0.5", false},
		"one address":    {`address = "10.0.0.5:2121"`, "10.0.0.5 203.0.113.7", true},
	} {
		cfg, err := Parse([]byte("hostname = \"h\"\nlistener \"ftp\" {\n  protocol = \"ftp\"\n  "+c.listener+"\n}\n"), "gateway.hcl")
		if err != nil {
			t.Fatal(err)
		}
		var host []netip.Addr
		for a := range strings.FieldsSeq(c.host) {
			host = append(host, netip.MustParseAddr(a))
		}
		got := cfg.Warnings(host)
		if (len(got) == 1) != c.warns || c.warns && (got[0].Line != 2 || !strings.Contains(got[0].Text, "public_address")) {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
