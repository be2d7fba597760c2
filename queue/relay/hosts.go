package relay

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"gateway/queue/relay/dns"
	"gateway/queue/relay/mtasts"
)

// hostList is where the mail of a domain may go.
type hostList struct {
	domain  string // A-labels, or an address literal
	list    []string
	literal netip.Addr // valid for a literal
	secure  bool       // DNSSEC vouches for the list
	policy  mtasts.Policy
}

// host is one of them with what a connection to it has to fulfil.
type host struct {
	name   string
	mx     bool // found by MX: it may turn out to be ourselves
	demand demand
}

// findHosts is RFC 5321, section 5.1: the MX of a domain by preference and
// without an order among equals, or the domain itself if it has none.
func (c *Client) findHosts(ctx context.Context, domain string) (hostList, error) {
	if a, ok := parseLiteral(domain); ok {
		return hostList{domain: domain, list: []string{domain}, literal: a}, nil
	}
	name, err := asciiDomain(domain)
	if err != nil {
		return hostList{}, failed("5.1.2", "%q is no domain name", domain)
	}
	if c.Resolver == nil {
		return hostList{}, deferred("4.3.5", "no DNS resolver is configured")
	}
	hosts := hostList{domain: name}
	answer, err := c.Resolver.MX(ctx, name)
	switch {
	case errors.Is(err, dns.ErrNotExist):
		return hostList{}, failed("5.1.2", "the domain %s does not exist", name)
	case err != nil:
		return hostList{}, deferred("4.4.3", "DNS: %s", err)
	}
	hosts.secure = answer.Secure
	if hosts.list, err = c.order(name, answer.Records); err != nil {
		return hostList{}, err
	}
	if c.Policies != nil {
		// An error is a policy that cannot be had: mail goes on without (RFC 8461,
		// section 3.3), and the domain's owner is told.
		if hosts.policy, err = c.Policies.Lookup(ctx, name); err != nil && ctx.Err() == nil {
			c.Results.add(TLSCount{Domain: name, Policy: policySTS, Result: mtasts.Reason(err)})
		}
	}
	return hosts, nil
}

// order sorts the MX of a domain and cuts off ourselves and what is no better.
func (c *Client) order(domain string, records []dns.MX) ([]string, error) {
	if len(records) == 0 {
		records = []dns.MX{{Host: domain}} // the implicit MX
	}
	if len(records) == 1 && records[0].Host == "" {
		return nil, failed("5.1.10", "the domain %s takes no mail (null MX)", domain)
	}
	list := slices.Clone(records)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b dns.MX) int { return cmp.Compare(a.Preference, b.Preference) })
	for i, mx := range list {
		if c.ours(mx.Host) {
			list = slices.DeleteFunc(list[:i], func(m dns.MX) bool { return m.Preference == mx.Preference })
			if len(list) == 0 {
				return nil, failed("5.4.6", "mail for %s loops back to this host, which is its best mail exchanger", domain)
			}
			break
		}
	}
	var names []string
	for _, mx := range list {
		if hostName(mx.Host) && !slices.Contains(names, mx.Host) && len(names) < maxHosts {
			names = append(names, mx.Host)
		}
	}
	if len(names) == 0 {
		return nil, deferred("4.4.4", "the MX of %s name no host", domain)
	}
	return names, nil
}

func (c *Client) ours(name string) bool {
	return strings.EqualFold(name, c.Hostname) ||
		slices.ContainsFunc(c.OwnNames, func(own string) bool { return strings.EqualFold(name, strings.TrimSuffix(own, ".")) })
}

// locate finds the addresses of one host and what is demanded of it.
func (c *Client) locate(ctx context.Context, hosts hostList, name string, policy TLSPolicy, requireTLS bool) (host, []netip.AddrPort, error) {
	h := host{name: name, mx: true, demand: demand{domain: hosts.domain, authenticate: policy == Required}}
	answer := dns.Answer[netip.Addr]{Records: []netip.Addr{hosts.literal}}
	if hosts.literal.IsValid() {
		h.name = hosts.literal.String() // as certificates have it
	} else {
		var err error
		answer, err = c.Resolver.Addresses(ctx, name)
		switch {
		case errors.Is(err, dns.ErrNotExist), err == nil && len(answer.Records) == 0:
			if name == hosts.domain && err == nil { // no MX and no address
				return host{}, nil, failed("5.4.4", "the domain %s has no mail exchanger and no address", name)
			}
			return host{}, nil, deferred("4.4.4", "the host has no address")
		case err != nil:
			return host{}, nil, deferred("4.4.3", "DNS: %s", err)
		}
	}
	list := c.reachable(answer.Records)
	if len(list) == 0 {
		return host{}, nil, deferred("4.4.4", "the host has only addresses of special use, which are not connected to")
	}
	if !hosts.literal.IsValid() {
		if err := c.demandOf(ctx, hosts, &h, answer); err != nil {
			return host{}, nil, err
		}
	}
	if requireTLS {
		if !hosts.secure && !(hosts.policy.Applies() && hosts.policy.Match(name)) {
			return host{}, nil, failed("5.7.10", "REQUIRETLS: neither DNSSEC nor MTA-STS vouches for the hosts of %s", hosts.domain)
		}
		h.demand.authenticate, h.demand.requireTLS = true, true
	}
	return h, list, nil
}

// reachable keeps the addresses that may be connected to, IPv6 and IPv4 in turn.
func (c *Client) reachable(addresses []netip.Addr) []netip.AddrPort {
	port := c.MXPort
	if port == 0 {
		port = defaultMXPort
	}
	var six, four []netip.AddrPort
	for _, a := range addresses {
		a = a.Unmap()
		if !c.mayReach(a) {
			continue
		}
		if a.Is4() {
			four = append(four, netip.AddrPortFrom(a, port))
		} else {
			six = append(six, netip.AddrPortFrom(a, port))
		}
	}
	var list []netip.AddrPort
	for i := 0; len(list) < maxAddresses && (i < len(six) || i < len(four)); i++ {
		if i < len(six) {
			list = append(list, six[i])
		}
		if i < len(four) {
			list = append(list, four[i])
		}
	}
	return list
}

// mayReach excludes the addresses that mean this host, this link or nobody (RFC
// 6890). Private networks are allowed: organisations have mail hosts there.
func (c *Client) mayReach(a netip.Addr) bool {
	if slices.ContainsFunc(c.SpecialNetworks, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return true
	}
	if a.Is4() {
		b := a.As4()
		return b[0] != 0 && b[0] < 224 && !a.IsLoopback() && !a.IsLinkLocalUnicast()
	}
	return a.IsGlobalUnicast() && a.Zone() == "" && !embedsIPv4(a)
}

// embedsIPv4 are the old forms by which an IPv6 address means an IPv4 one
// (IPv4-compatible and NAT64), behind which a special one could hide.
func embedsIPv4(a netip.Addr) bool {
	return slices.ContainsFunc([]string{"::/96", "64:ff9b::/96"}, func(p string) bool { return netip.MustParsePrefix(p).Contains(a) })
}

// parseLiteral reads an address literal (RFC 5321, section 4.1.3).
func parseLiteral(s string) (netip.Addr, bool) {
	inner, begins := strings.CutPrefix(s, "[")
	inner, ends := strings.CutSuffix(inner, "]")
	if !begins || !ends {
		return netip.Addr{}, false
	}
	const tag = "ipv6:"
	six := len(inner) > len(tag) && strings.EqualFold(inner[:len(tag)], tag)
	if six {
		inner = inner[len(tag):]
	}
	a, err := netip.ParseAddr(inner)
	return a, err == nil && a.Is6() == six && a.Zone() == ""
}

// asciiDomain is a domain in lower case and by its A-labels (RFC 5890).
func asciiDomain(s string) (string, error) {
	s = strings.TrimSuffix(s, ".")
	if !isASCII(s) {
		var err error
		if s, err = idna.Lookup.ToASCII(s); err != nil {
			return "", err
		}
	}
	if s = strings.ToLower(s); !hostName(s) {
		return "", errors.New("no domain name")
	}
	return s, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// hostName holds for names of letters, digits, hyphens and underscores. Other
// names can stand in DNS, and are no hosts.
func hostName(s string) bool {
	if s == "" || len(s) > 253 || net.ParseIP(s) != nil {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i] | 0x20
			if (c < 'a' || c > 'z') && (label[i] < '0' || label[i] > '9') && label[i] != '-' && label[i] != '_' {
				return false
			}
		}
	}
	return true
}

// tlsaName is where the associations of a host lie (RFC 7672, section 2.2.2).
func (c *Client) tlsaName(host string) string {
	port := c.MXPort
	if port == 0 {
		port = defaultMXPort
	}
	return "_" + strconv.Itoa(int(port)) + "._tcp." + host
}
