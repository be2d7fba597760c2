package ftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// PublicAddresses are what PASV tells clients for our address, where NAT hides the
// real one: one address for everybody, or others for the clients of a network. The
// nil value tells the address that the client connected to. It is safe for
// concurrent use.
type PublicAddresses struct {
	entries []publicAddress // the narrowest network first
}

// publicAddress is what clients of a network are told.
type publicAddress struct {
	clients netip.Prefix
	addr    netip.Addr // not valid: the real address, or that of the name
	name    *hostName  // nil for a fixed address
}

// ownAddress is the word for the real address, for the clients inside.
const ownAddress = "own"

// maxPublic is how many entries there may be.
const maxPublic = 256

// ParsePublicAddresses reads entries such as "203.0.113.7", a host name whose
// address is asked for again every minute, or "10.0.0.0/8=10.0.0.5" for the clients
// of a network; "own" in the place of an address stands for the one that the client
// connected to.
func ParsePublicAddresses(entries []string) (*PublicAddresses, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	if len(entries) > maxPublic {
		return nil, fmt.Errorf("%d public addresses are more than %d", len(entries), maxPublic)
	}
	p := &PublicAddresses{}
	for _, text := range entries {
		e, err := parsePublicAddress(text)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(p.entries, func(o publicAddress) bool { return o.clients == e.clients }) {
			return nil, fmt.Errorf("%q: there is a public address for the same clients already", text)
		}
		p.entries = append(p.entries, e)
	}
	slices.SortStableFunc(p.entries, func(a, b publicAddress) int { return b.clients.Bits() - a.clients.Bits() })
	return p, nil
}

func parsePublicAddress(text string) (publicAddress, error) {
	e := publicAddress{clients: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	network, told, narrowed := strings.Cut(text, "=")
	if !narrowed {
		network, told = "", network
	} else {
		clients, err := netip.ParsePrefix(network)
		if err != nil || !clients.Addr().Is4() || clients != clients.Masked() {
			return e, fmt.Errorf("%q is not an IPv4 network such as 10.0.0.0/8: PASV is for IPv4", network)
		}
		e.clients = clients
	}
	if told == ownAddress {
		return e, nil
	}
	if addr, err := netip.ParseAddr(told); err == nil {
		if !addr.Is4() || addr.IsUnspecified() {
			return e, fmt.Errorf("%q: PASV can tell an IPv4 address only", told)
		}
		e.addr = addr
		return e, nil
	}
	if name, err := parseHost(told); err == nil && strings.ContainsFunc(name, func(r rune) bool { return r >= 'a' && r <= 'z' }) {
		e.name = &hostName{name: name}
		return e, nil
	}
	return e, fmt.Errorf("%q is neither an IPv4 address, nor a host name, nor %q", told, ownAddress)
}

// tell returns the address to tell a client that connected to local. It fails
// where that would be a private one although the client is not on such a network:
// the client could only run into the void.
func (p *PublicAddresses) tell(client, local netip.Addr) (netip.Addr, bool) {
	client = hostOf(client)
	if p != nil {
		for _, e := range p.entries {
			if !e.clients.Contains(client) {
				continue
			}
			switch {
			case e.name != nil:
				return e.name.address()
			case e.addr.IsValid():
				return e.addr, true
			}
			return local, true // chosen, for these clients
		}
	}
	return local, !private(local) || private(client)
}

// known reports whether addr is one of those that clients are told.
func (p *PublicAddresses) known(addr netip.Addr) bool {
	return p != nil && slices.ContainsFunc(p.entries, func(e publicAddress) bool {
		if e.name != nil {
			own, ok := e.name.address()
			return ok && sameHost(own, addr)
		}
		return e.addr.IsValid() && sameHost(e.addr, addr)
	})
}

// private reports whether an address has a meaning only inside of some network:
// RFC 1918, RFC 4193, RFC 6598, loopback and link-local.
func private(a netip.Addr) bool {
	a = a.Unmap()
	shared := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || shared.Contains(a)
}

const (
	// refreshName is how old the address of a name may be before it is asked for
	// again. Meanwhile, and if that fails, the old one is told.
	refreshName = time.Minute
	// lookupTimeout bounds a look-up, which the first PASV waits for.
	lookupTimeout = 5 * time.Second
)

// hostName is a name with the address that it had when it was last asked for.
type hostName struct {
	name string

	mu     sync.Mutex
	addr   netip.Addr
	asked  time.Time
	asking chan struct{} // closed when the look-up under way is over
}

// address returns the address of the name; only the first time it waits for it.
func (h *hostName) address() (netip.Addr, bool) {
	h.mu.Lock()
	if h.asking == nil && time.Since(h.asked) > refreshName {
		h.asking = make(chan struct{})
		go h.ask(h.asking)
	}
	asking, addr := h.asking, h.addr
	h.mu.Unlock()
	if addr.IsValid() || asking == nil {
		return addr, addr.IsValid()
	}
	<-asking
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.addr, h.addr.IsValid()
}

func (h *hostName) ask(done chan struct{}) {
	addr, err := lookup(h.name)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.addr = addr
	}
	h.asked, h.asking = time.Now(), nil
	close(done)
}

func lookup(name string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(addrs) == 0 {
		return netip.Addr{}, errors.New("no IPv4 address")
	}
	return addrs[0].Unmap(), nil
}
