package dns

import (
	"net/netip"
	"slices"
)

// Special reports whether an address means this host, this link, a group or nobody
// (RFC 6890). What a stranger's records say must not lead there: what listens on
// this host only trusts who can reach it. Private networks are not special:
// organisations have mail hosts there.
func Special(a netip.Addr) bool {
	a = a.Unmap()
	if a.Is4() {
		first := a.As4()[0]
		return first == 0 || first >= 224 || a.IsLoopback() || a.IsLinkLocalUnicast()
	}
	return !a.IsGlobalUnicast() || a.Zone() != "" || embedsIPv4(a)
}

// embedsIPv4 are the forms by which an IPv6 address means an IPv4 one
// (IPv4-compatible, and NAT64 of RFC 6052), behind which a special one could hide.
func embedsIPv4(a netip.Addr) bool {
	return slices.ContainsFunc([]string{"::/96", "64:ff9b::/96"}, func(p string) bool { return netip.MustParsePrefix(p).Contains(a) })
}
