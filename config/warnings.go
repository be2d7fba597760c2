package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"gateway/session"
)

// A Warning is a setting that is allowed and probably not meant.
type Warning struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

// Warnings looks at the settings together with the addresses that this host has.
func (c *Config) Warnings(host []netip.Addr) []Warning {
	var out []Warning
	for _, l := range c.Listeners {
		if l.Protocol == session.FTP && len(l.PublicAddress) == 0 && onlyPrivate(l.Address, host) {
			out = append(out, Warning{filepath.Base(c.File), l.at.Start.Line, fmt.Sprintf(
				"listener %q has private addresses only: clients from elsewhere are refused PASV (425) unless public_address says what to tell them", l.Name)})
		}
	}
	return out
}

// onlyPrivate reports whether a listener at address has an IPv4 address, and none
// that means something outside of a private network. Loopback alone is no reason
// to warn: nobody comes from elsewhere.
func onlyPrivate(address string, host []netip.Addr) bool {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if addr, err := netip.ParseAddr(name); err == nil && !addr.IsUnspecified() {
		host = []netip.Addr{addr}
	} else if name == "localhost" {
		return false
	}
	private := false
	for _, a := range host {
		a = a.Unmap()
		switch {
		case !a.Is4() || a.IsLoopback() || a.IsLinkLocalUnicast():
		case a.IsPrivate(), netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10).Contains(a):
			private = true
		default:
			return false
		}
	}
	return private
}

// HostAddresses are the addresses of this host's interfaces.
func HostAddresses() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil // then nothing is warned about
	}
	var out []netip.Addr
	for _, a := range list {
		if network, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(network.IP); ok {
				out = append(out, addr.Unmap())
			}
		}
	}
	return out
}
