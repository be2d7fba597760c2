package ftp

import (
	"context"
	"errors"
	"net/netip"
	"strings"
)

// host takes the name by which the client knows us (RFC 7151). There is one tree
// of accounts whatever the name, so it is checked and chooses nothing: it must be
// the one of the TLS handshake (section 3.2.2 there), and without that our own.
func (c *conn) host(_ context.Context, arg string) reply {
	if c.state != fresh {
		return replySequence
	}
	name, err := parseHost(arg)
	if err != nil {
		return replySyntax
	}
	if !c.isHost(name) {
		return reply{504, "Unknown host."}
	}
	return reply{220, "Host accepted."}
}

// isHost reports whether the client may call us so. A server that was given no
// name takes any.
func (c *conn) isHost(name string) bool {
	if c.tls != nil {
		if shown := c.tls.ConnectionState().ServerName; shown != "" {
			return strings.EqualFold(strings.TrimSuffix(shown, "."), name)
		}
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		return sameHost(addr, c.local().Addr()) || c.cfg.PublicAddresses.known(addr)
	}
	own := strings.TrimSuffix(c.cfg.Hostname, ".")
	return own == "" || strings.EqualFold(own, name)
}

var errHost = errors.New("not a host name")

// Bounds of a name (RFC 1035, section 2.3.4).
const (
	maxHost  = 253
	maxLabel = 63
)

// parseHost reads a domain name, an IPv4 address, or an IPv6 address in brackets
// (RFC 7151, section 3.1), and returns it in small letters without a last dot.
func parseHost(arg string) (string, error) {
	if literal, found := strings.CutPrefix(arg, "["); found {
		literal, found = strings.CutSuffix(literal, "]")
		addr, err := netip.ParseAddr(literal)
		if !found || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", errHost
		}
		return addr.String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(arg, "."))
	if name == "" || len(name) > maxHost {
		return "", errHost
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return "", errHost
		}
		for _, b := range []byte(label) {
			if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '_' {
				return "", errHost
			}
		}
	}
	return name, nil
}
