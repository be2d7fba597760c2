package ftp

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	p, err := ParsePublicAddresses([]string{"203.0.113.7", "10.0.0.0/8=own", "10.20.0.0/16=10.20.0.5", "192.0.2.0/24=localhost"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addresses     *PublicAddresses
		client, local string
		want          string // "" for none
	}{
		{p, "198.51.100.1", "10.0.0.2", "203.0.113.7"},
		{p, "10.1.2.3", "10.0.0.2", "10.0.0.2"},
		{p, "10.20.2.3", "10.0.0.2", "10.20.0.5"},
		{p, "192.0.2.9", "10.0.0.2", "127.0.0.1"},
		{p, "::ffff:198.51.100.1", "10.0.0.2", "203.0.113.7"},
		{nil, "198.51.100.1", "10.0.0.2", ""},
		{nil, "198.51.100.1", "100.64.0.2", ""},
		{nil, "198.51.100.1", "203.0.113.9", "203.0.113.9"},
		{nil, "192.168.1.1", "10.0.0.2", "10.0.0.2"},
		{nil, "127.0.0.1", "127.0.0.1", "127.0.0.1"},
	} {
		got, ok := c.addresses.tell(netip.MustParseAddr(c.client), netip.MustParseAddr(c.local))
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("client %s of %s: got %v, %v, want %q", c.client, c.local, got, ok, c.want)
		}
	}
	for entry, want := range map[string]string{
		"2001:db8::1": "IPv4", "0.0.0.0": "IPv4", "10.0.0.1/8=own": "network", "2001:db8::/32=own": "network",
		"": "neither", "10.0.0.0/8=": "neither", "1.2.3": "neither", "10.0.0.0/8=a b": "neither", "x=own": "network",
	} {
		if _, err := ParsePublicAddresses([]string{entry}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", entry, err, want)
		}
	}
	if _, err := ParsePublicAddresses([]string{"203.0.113.7", "203.0.113.8"}); err == nil {
		t.Error("two addresses for everybody were taken")
	}
}

func FuzzPublicAddress(f *testing.F) {
	for _, seed := range []string{"203.0.113.7", "files.example.com", "10.0.0.0/8=own", "10.0.0.0/8=h", "=", "own"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		e, err := parsePublicAddress(entry)
		if err == nil && (!e.clients.IsValid() || e.addr.IsValid() && !e.addr.Is4()) {
			t.Fatalf("%q: got %+v", entry, e)
		}
	})
}
