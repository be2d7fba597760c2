package ftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// A dataPort is where the next data connection comes from or goes to. It makes
// one connection at most.
type dataPort interface {
	// open returns the data connection, made with the control connection's peer and
	// with nobody else.
	open(ctx context.Context, timeout time.Duration) (*net.TCPConn, error)
	// close gives the port back. It may be called more than once, and while open runs.
	close()
}

// passive is a place at a port, where we wait for the peer.
type passive struct {
	owner  *conn
	client netip.Addr
	// proxies are the balancers through which the client comes, if it comes through
	// one to this port too; nil if it comes by itself.
	proxies []netip.Prefix
	port    *sharedPort
	came    chan *net.TCPConn // the one connection, before or while it is asked for
	unused  *time.Timer
	once    sync.Once
	closed  chan struct{}
}

// listen takes a passive port in place of the data port before. It is given back
// when nothing uses it for long, or a few silent clients could hold the range.
func (c *conn) listen() (port uint16, err error) {
	c.dropPort()
	p := &passive{owner: c, client: hostOf(c.peer.Remote.Addr()), came: make(chan *net.TCPConn, 1), closed: make(chan struct{})}
	if c.cfg.ProxyData && c.accept.Proxied() {
		p.proxies = c.cfg.Proxies
	}
	if p.port, err = c.srv.ports.wait(c.local().Addr(), p); err != nil {
		c.log.Warn("no passive port", "err", err)
		return 0, err
	}
	p.unused = time.AfterFunc(c.cfg.DataTimeout, p.giveBack)
	c.port = p
	return p.port.at.Port(), nil
}

// open waits until the peer itself comes.
func (p *passive) open(ctx context.Context, timeout time.Duration) (*net.TCPConn, error) {
	if !p.unused.Stop() {
		return nil, errNoData // the time was over
	}
	defer p.close()
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case conn := <-p.came:
		return conn, nil
	case <-late.C:
	case <-p.closed:
	case <-ctx.Done():
	}
	return nil, errNoData
}

func (p *passive) close() {
	p.unused.Stop()
	p.giveBack()
}

// giveBack is what the timer calls too, which may be before listen has noted it.
func (p *passive) giveBack() {
	p.once.Do(func() {
		close(p.closed)
		p.port.leave(p)
		select {
		case conn := <-p.came: // came, and was never asked for
			_ = conn.Close()
		default:
		}
	})
}

// dropPort forgets the data port.
func (c *conn) dropPort() {
	if c.port != nil {
		c.port.close()
		c.port = nil
	}
}

// local is the address that the client's connection reached us at: data
// connections are made on no other.
func (c *conn) local() netip.AddrPort {
	if addr, ok := c.accept.LocalAddr().(*net.TCPAddr); ok {
		at := addr.AddrPort()
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	return c.peer.Local
}

// pasv answers in the form that firewalls look for, and for IPv4 only: the reply
// has no place for another address.
func (c *conn) pasv(context.Context, string) reply {
	if c.epsvAll {
		return replySequence
	}
	local := c.local().Addr()
	if !local.Is4() {
		return reply{425, "PASV works over IPv4 only; use EPSV."}
	}
	host, ok := c.cfg.PublicAddresses.tell(c.peer.Remote.Addr(), local)
	if !ok {
		c.log.Warn("PASV refused: the only address to tell is private, and the client is not; set public_address", "address", local)
		return reply{425, "No address for PASV; use EPSV."}
	}
	port, err := c.listen()
	if err != nil {
		return portReply(err)
	}
	h := host.As4()
	return reply{227, fmt.Sprintf("Entering Passive Mode (%d,%d,%d,%d,%d,%d).", h[0], h[1], h[2], h[3], port>>8, port&0xff)}
}

// epsv implements RFC 2428, section 3.
func (c *conn) epsv(_ context.Context, arg string) reply {
	arg = strings.TrimSpace(arg)
	family := "2"
	if c.local().Addr().Is4() {
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
	port, err := c.listen()
	if err != nil {
		return portReply(err)
	}
	return reply{229, fmt.Sprintf("Entering Extended Passive Mode (|||%d|)", port)}
}

func portReply(err error) reply {
	if errors.Is(err, errNoPort) {
		return reply{425, "No passive port is free; try again later."}
	}
	return reply{425, "Can't open a passive port."}
}

// sameHost compares addresses as the network does.
func sameHost(a, b netip.Addr) bool { return hostOf(a) == hostOf(b) }
