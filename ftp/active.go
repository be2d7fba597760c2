package ftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// leastPort is the lowest port that a data connection goes to: below are
// services that must not be spoken to in our name (RFC 2577, section 3).
const leastPort = 1024

// errFamily is an address of a family that the control connection does not use.
var errFamily = errors.New("address family not supported")

// active is a port of the peer's to which we connect.
type active struct {
	to    netip.AddrPort
	from  netip.Addr
	below uint16 // the source port to use if it is free
}

func (c *conn) portCmd(_ context.Context, arg string) reply {
	if c.epsvAll {
		return replySequence
	}
	to, err := parsePort(arg)
	return c.goTo(to, err)
}

func (c *conn) eprt(_ context.Context, arg string) reply {
	if c.epsvAll {
		return replySequence
	}
	to, err := parseEPRT(arg)
	return c.goTo(to, err)
}

// goTo makes to the data port, if it is the peer's own: we connect to nobody
// else's behalf (RFC 2577, section 3).
func (c *conn) goTo(to netip.AddrPort, err error) reply {
	remote := c.peer.Remote.Addr()
	switch {
	case errors.Is(err, errFamily), err == nil && to.Addr().Is4() != remote.Is4():
		if remote.Is4() {
			return reply{522, "Network protocol not supported, use (1)"}
		}
		return reply{522, "Network protocol not supported, use (2)"}
	case err != nil:
		return replySyntax
	case !sameHost(to.Addr(), remote), to.Port() < leastPort:
		c.log.Warn("data port refused", "to", to)
		return reply{501, "Data connections go to your own address and ports from 1024 only."}
	}
	c.dropPort()
	c.port = &active{
		to:   netip.AddrPortFrom(remote, to.Port()), // with the zone that the peer has here
		from: c.local().Addr(), below: c.local().Port() - 1,
	}
	return reply{200, "PORT command successful."}
}

// open connects from the port below the control port, as RFC 959, section 3.2,
// has it and some firewalls demand, if it may be bound; else from any.
func (a *active) open(ctx context.Context, timeout time.Duration) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, port := range [...]uint16{a.below, 0} {
		dialer := net.Dialer{
			LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.from, port)),
			Control:   reuseAddress,
		}
		conn, err := dialer.DialContext(ctx, "tcp", a.to.String())
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		if port == 0 || ctx.Err() != nil || refusedByPeer(err) {
			return nil, fmt.Errorf("%w: %w", errNoData, err)
		}
	}
	return nil, errNoData
}

func (*active) close() {}

// parsePort reads "h1,h2,h3,h4,p1,p2" (RFC 959, section 4.1.2).
func parsePort(arg string) (netip.AddrPort, error) {
	fields := strings.Split(strings.TrimSpace(arg), ",")
	if len(fields) != 6 {
		return netip.AddrPort{}, fmt.Errorf("PORT with %d numbers, want 6", len(fields))
	}
	var n [6]byte
	for i, field := range fields {
		if !allDigits(field) {
			return netip.AddrPort{}, fmt.Errorf("PORT: %q is not a number", field)
		}
		v, err := strconv.ParseUint(field, 10, 8)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("PORT: %w", err)
		}
		n[i] = byte(v)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[:4])), uint16(n[4])<<8|uint16(n[5])), nil
}

// parseEPRT reads "|2|2001:db8::7|4711|", with any delimiter from 33 to 126
// (RFC 2428, section 2). It returns errFamily for a protocol that is not IP.
func parseEPRT(arg string) (netip.AddrPort, error) {
	arg = strings.TrimSpace(arg)
	if arg == "" || arg[0] < 33 || arg[0] > 126 {
		return netip.AddrPort{}, errors.New("EPRT without delimiter")
	}
	fields := strings.Split(arg, arg[:1])
	if len(fields) != 5 || fields[4] != "" {
		return netip.AddrPort{}, fmt.Errorf("EPRT with %d fields, want 3", len(fields)-2)
	}
	if !allDigits(fields[1]) || !allDigits(fields[3]) {
		return netip.AddrPort{}, errors.New("EPRT: protocol and port must be numbers")
	}
	if fields[1] != "1" && fields[1] != "2" {
		return netip.AddrPort{}, errFamily
	}
	addr, err := netip.ParseAddr(fields[2])
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("EPRT: %w", err)
	}
	if addr.Is4() != (fields[1] == "1") || addr.Is4In6() || addr.Zone() != "" {
		return netip.AddrPort{}, errors.New("EPRT: address is not of its protocol")
	}
	port, err := strconv.ParseUint(fields[3], 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("EPRT: %w", err)
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}
