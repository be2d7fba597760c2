package ftp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// maxBindTries is how many ports of a pool are tried before the answer is that
// none is free: another program may hold some.
const maxBindTries = 16

// PassivePorts is a range of ports for passive data connections. Several
// servers may share one; it is safe for concurrent use.
type PassivePorts struct {
	mu        sync.Mutex
	free      []uint16
	size      int
	exhausted int64
}

// NewPassivePorts returns the pool of the ports from lo to hi, both included.
// It fails if lo is below 1024 or above hi.
func NewPassivePorts(lo, hi uint16) (*PassivePorts, error) {
	if lo < leastPort || lo > hi {
		return nil, fmt.Errorf("passive ports %d-%d: want a range of ports from %d up", lo, hi, leastPort)
	}
	p := &PassivePorts{free: make([]uint16, 0, int(hi)-int(lo)+1)}
	for port := int(lo); port <= int(hi); port++ {
		p.free = append(p.free, uint16(port))
	}
	p.size = len(p.free)
	return p, nil
}

// Stats tells how many ports are free and busy now, and how often none could be had.
func (p *PassivePorts) Stats() (free, busy int, exhausted int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.free), p.size - len(p.free), p.exhausted
}

// noPort counts an errNoPort and returns it.
func (p *PassivePorts) noPort() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exhausted++
	return errNoPort
}

// take takes a random free port, so that the next one cannot be guessed
// (RFC 2577, section 8).
func (p *PassivePorts) take() (uint16, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return 0, false
	}
	i, last := rand.IntN(len(p.free)), len(p.free)-1
	port := p.free[i]
	p.free[i] = p.free[last]
	p.free = p.free[:last]
	return port, true
}

func (p *PassivePorts) give(ports ...uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, ports...)
}

// listen opens a listener on addr, at a port of the pool or, without a pool, at
// any. release gives the port back.
func (p *PassivePorts) listen(addr netip.Addr) (ln *net.TCPListener, release func(), err error) {
	bind := func(port uint16) (*net.TCPListener, error) {
		return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, port)))
	}
	if p == nil {
		ln, err = bind(0)
		return ln, func() {}, err
	}
	var taken []uint16
	defer func() { p.give(taken...) }()
	for range maxBindTries {
		port, ok := p.take()
		if !ok {
			return nil, nil, p.noPort()
		}
		if ln, err := bind(port); err == nil {
			return ln, func() { p.give(port) }, nil
		}
		taken = append(taken, port)
	}
	return nil, nil, p.noPort()
}

// A dataPort is where the next data connection comes from or goes to. It makes
// one connection at most.
type dataPort interface {
	// open returns the data connection, made with the control connection's peer and
	// with nobody else.
	open(ctx context.Context, timeout time.Duration) (*net.TCPConn, error)
	// close gives the port back. It may be called more than once.
	close()
}

// passive is a port on which we wait for the peer.
type passive struct {
	ln       *net.TCPListener
	peer     netip.Addr
	stranger func(net.Addr)
	once     sync.Once
	release  func()
	unused   *time.Timer
}

// listen opens a passive port in place of the data port before. It is closed
// when nothing uses it for long, or a few silent clients could hold the range.
func (c *conn) listen() (*net.TCPAddr, error) {
	c.dropPort()
	ln, release, err := c.cfg.PassivePorts.listen(c.peer.Local.Addr())
	if err != nil {
		c.log.Warn("no passive port", "err", err)
		return nil, err
	}
	p := &passive{ln: ln, peer: c.peer.Remote.Addr(), release: release, stranger: func(a net.Addr) {
		c.log.Debug("stranger on a passive port", "stranger", a.String())
	}}
	p.unused = time.AfterFunc(c.cfg.DataTimeout, p.shut)
	c.port = p
	return ln.Addr().(*net.TCPAddr), nil
}

// open accepts until the peer itself comes. Whoever else comes is closed at once
// and never kept (RFC 2577, section 3).
func (p *passive) open(ctx context.Context, timeout time.Duration) (*net.TCPConn, error) {
	p.unused.Stop()
	defer p.close()
	defer context.AfterFunc(ctx, p.shut)()
	_ = p.ln.SetDeadline(time.Now().Add(timeout))
	for {
		conn, err := p.ln.AcceptTCP()
		if err != nil {
			return nil, errNoData
		}
		if from := conn.RemoteAddr().(*net.TCPAddr); sameHost(from.AddrPort().Addr(), p.peer) {
			return conn, nil
		}
		p.stranger(conn.RemoteAddr())
		_ = conn.Close()
	}
}

func (p *passive) close() {
	p.unused.Stop()
	p.shut()
}

// shut is close without the timer, which calls it.
func (p *passive) shut() {
	p.once.Do(func() {
		_ = p.ln.Close()
		p.release()
	})
}

// dropPort forgets the data port.
func (c *conn) dropPort() {
	if c.port != nil {
		c.port.close()
		c.port = nil
	}
}

// pasv answers in the form that firewalls look for, and for IPv4 only: the reply
// has no place for another address.
func (c *conn) pasv(context.Context, string) reply {
	if c.epsvAll {
		return replySequence
	}
	host := c.peer.Local.Addr()
	if !host.Is4() {
		return reply{425, "PASV works over IPv4 only; use EPSV."}
	}
	addr, err := c.listen()
	if err != nil {
		return portReply(err)
	}
	if c.cfg.PublicAddress.IsValid() {
		host = c.cfg.PublicAddress.Unmap()
	}
	h := host.As4()
	return reply{227, fmt.Sprintf("Entering Passive Mode (%d,%d,%d,%d,%d,%d).",
		h[0], h[1], h[2], h[3], addr.Port>>8, addr.Port&0xff)}
}

// epsv implements RFC 2428, section 3.
func (c *conn) epsv(_ context.Context, arg string) reply {
	arg = strings.TrimSpace(arg)
	family := "2"
	if c.peer.Local.Addr().Is4() {
		family = "1"
	}
	switch {
	case strings.EqualFold(arg, "ALL"):
		c.epsvAll = true
		c.dropPort()
		return reply{200, "EPSV ALL accepted."}
	case arg == "", arg == family:
	case arg == "1", arg == "2":
		return reply{522, "Network protocol not supported, use (" + family + ")"}
	default:
		return replySyntax
	}
	addr, err := c.listen()
	if err != nil {
		return portReply(err)
	}
	return reply{229, fmt.Sprintf("Entering Extended Passive Mode (|||%d|)", addr.Port)}
}

func portReply(err error) reply {
	if errors.Is(err, errNoPort) {
		return reply{425, "No passive port is free; try again later."}
	}
	return reply{425, "Can't open a passive port."}
}

// sameHost compares addresses as the network does: without zones, and IPv4 in
// IPv6 as IPv4.
func sameHost(a, b netip.Addr) bool {
	return a.Unmap().WithZone("") == b.Unmap().WithZone("")
}
