package ftp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gateway/internal/proxied"
)

const (
	// maxBindTries is how many ports of a range are tried before the answer is that
	// none is free: another program may hold some.
	maxBindTries = 16
	// keepListening is how long a port stays open that nobody waits on: the next
	// client finds it ready. Whoever connects meanwhile is closed.
	keepListening = 10 * time.Second
	// maxKept is how many such ports there may be.
	maxKept = 128
	// maxHeaders is how many balancers may be waited for to say for whom they connect.
	maxHeaders = 256
	// acceptPause is the wait after an accept that failed for want of descriptors.
	acceptPause = 50 * time.Millisecond
)

// PassivePorts is a range of ports for passive data connections, which several
// servers may share. A port serves clients of different addresses at the same
// time: what comes is given to the session whose client has that address. So even
// a narrow range is enough for many clients, and a port that was used is not
// bound anew for the next. It is safe for concurrent use.
type PassivePorts struct {
	low, high uint16 // 0 and 0: any port, each for one connection

	mu        sync.Mutex
	open      map[netip.AddrPort]*sharedPort
	kept      int // of open, those that nobody waits on
	busy      int // sessions that wait
	exhausted atomic.Int64
	headers   atomic.Int64 // connections of balancers that have not said for whom yet
}

// NewPassivePorts returns the range of the ports from low to high, both included.
// It fails if low is below 1024 or above high.
func NewPassivePorts(low, high uint16) (*PassivePorts, error) {
	if low < leastPort || low > high {
		return nil, fmt.Errorf("passive ports %d-%d: want a range of ports from %d up", low, high, leastPort)
	}
	return &PassivePorts{low: low, high: high}, nil
}

// Stats tells how many ports of the range no session waits on, how many sessions
// wait, and how often none could be found for one that asked.
func (p *PassivePorts) Stats() (free, busy int, exhausted int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	inUse := len(p.open) - p.kept
	return int(p.high) - int(p.low) + 1 - inUse, p.busy, p.exhausted.Load()
}

// Close closes the ports that nobody waits on. Those in use are closed when they
// no longer are.
func (p *PassivePorts) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, port := range p.open {
		if len(port.waiting) == 0 {
			p.shut(port)
		}
	}
}

// A sharedPort is one listening port with those who wait on it. Its fields are
// guarded by the mutex of its range.
type sharedPort struct {
	ports   *PassivePorts
	at      netip.AddrPort
	ln      *net.TCPListener
	waiting map[netip.Addr]*passive // by the address of the client
	// unmet are those who left before their client came. It may come yet.
	unmet map[netip.Addr]unmet
	idle  *time.Timer // runs while nobody waits
	shut  bool
}

// unmet is who waited for a client that did not come, and until when it may.
type unmet struct {
	owner *conn
	until time.Time
}

const (
	// lateFor is how long a client may be late that was given up. In that time another
	// session of the same address is given the port only if there is no other: it
	// would get, or send to, a connection that is not meant for it.
	lateFor = keepListening
	// maxUnmet is how many are remembered at one port.
	maxUnmet = 64
)

// misses reports whether a late connection of somebody else could be taken for that
// of w.
func (p *sharedPort) misses(w *passive) bool {
	u, ok := p.unmet[w.client]
	return ok && u.owner != w.owner && time.Now().Before(u.until)
}

// remember notes that w left unmet.
func (p *sharedPort) remember(w *passive) {
	now := time.Now()
	if len(p.unmet) >= maxUnmet {
		maps.DeleteFunc(p.unmet, func(_ netip.Addr, u unmet) bool { return now.After(u.until) })
	}
	if len(p.unmet) >= maxUnmet {
		return
	}
	if p.unmet == nil {
		p.unmet = make(map[netip.Addr]unmet)
	}
	p.unmet[w.client] = unmet{w.owner, now.Add(lateFor)}
}

// wait finds a port on the local address for w, at random, so that the next one
// cannot be guessed (RFC 2577, section 8). It fails with errNoPort if there is
// none on which no other session waits for the same client.
func (p *PassivePorts) wait(local netip.Addr, w *passive) (*sharedPort, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.high == 0 {
		return p.join(netip.AddrPortFrom(local, 0), w)
	}
	size := int(p.high) - int(p.low) + 1
	first, tries := rand.IntN(size), 0
	for i := range 2 * size { // the second time any will do
		at := netip.AddrPortFrom(local, p.low+uint16((first+i)%size))
		if port := p.open[at]; port != nil && (port.waiting[w.client] != nil || i < size && port.misses(w)) {
			continue
		}
		port, err := p.join(at, w)
		if err == nil {
			return port, nil
		}
		if tries++; tries == maxBindTries {
			break
		}
	}
	p.exhausted.Add(1)
	return nil, errNoPort
}

// join makes w wait at a port, which is opened if it is not.
func (p *PassivePorts) join(at netip.AddrPort, w *passive) (*sharedPort, error) {
	port := p.open[at]
	if port == nil {
		// Silence on a data connection has limits of its own; to set up keepalive costs
		// four system calls for each.
		settings := net.ListenConfig{KeepAlive: -1}
		opened, err := settings.Listen(context.Background(), "tcp", at.String())
		if err != nil {
			return nil, err
		}
		ln := opened.(*net.TCPListener)
		port = &sharedPort{ports: p, at: ln.Addr().(*net.TCPAddr).AddrPort(), ln: ln, waiting: make(map[netip.Addr]*passive)}
		if p.open == nil {
			p.open = make(map[netip.AddrPort]*sharedPort)
		}
		port.at = netip.AddrPortFrom(at.Addr(), port.at.Port())
		p.open[port.at] = port
		go port.accept()
	} else if len(port.waiting) == 0 {
		port.idle.Stop()
		p.kept--
	}
	port.waiting[w.client] = w
	p.busy++
	return port, nil
}

// leave ends the wait of w, if it still waits.
func (p *sharedPort) leave(w *passive) {
	p.ports.mu.Lock()
	defer p.ports.mu.Unlock()
	if p.waiting[w.client] == w {
		p.remember(w)
		p.drop(w)
	}
}

// drop ends the wait of w, which waits.
func (p *sharedPort) drop(w *passive) {
	delete(p.waiting, w.client)
	p.ports.busy--
	if len(p.waiting) > 0 {
		return
	}
	p.ports.kept++
	if p.ports.high == 0 || p.ports.kept > maxKept {
		p.ports.shut(p)
		return
	}
	if p.idle == nil {
		p.idle = time.AfterFunc(keepListening, p.unused)
	} else {
		p.idle.Reset(keepListening)
	}
}

// unused closes a port that nobody has come back to.
func (p *sharedPort) unused() {
	p.ports.mu.Lock()
	defer p.ports.mu.Unlock()
	if len(p.waiting) == 0 && !p.shut {
		p.ports.shut(p)
	}
}

// shut closes a port that nobody waits on.
func (p *PassivePorts) shut(port *sharedPort) {
	if port.shut {
		return
	}
	port.shut = true
	p.kept--
	delete(p.open, port.at)
	if port.idle != nil {
		port.idle.Stop()
	}
	_ = port.ln.Close()
}

// accept gives each connection to the session that waits for its address. Whoever
// else comes is closed at once and never kept (RFC 2577, section 3).
func (p *sharedPort) accept() {
	for {
		conn, err := p.ln.AcceptTCP()
		switch {
		case err == nil:
			from := hostOf(conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())
			if p.behind(from) {
				go p.announced(conn, from)
			} else {
				p.arrived(conn, from, netip.Addr{})
			}
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(acceptPause)
		}
	}
}

// behind reports whether somebody waits here for a client that comes through the
// load balancer at that address.
func (p *sharedPort) behind(balancer netip.Addr) bool {
	p.ports.mu.Lock()
	defer p.ports.mu.Unlock()
	for _, w := range p.waiting {
		if proxied.Trusted(w.proxies, balancer) {
			return true
		}
	}
	return false
}

// announced reads which client a balancer connects for. It may say nothing, so
// this is not for the goroutine that accepts.
func (p *sharedPort) announced(conn *net.TCPConn, balancer netip.Addr) {
	if p.ports.headers.Add(1) > maxHeaders {
		p.ports.headers.Add(-1)
		_ = conn.Close()
		return
	}
	defer p.ports.headers.Add(-1)
	header, err := proxied.Read(conn)
	if err != nil || header.Own {
		_ = conn.Close()
		return
	}
	p.arrived(conn, hostOf(header.Source.Addr()), balancer)
}

// arrived hands conn to whoever waits for a client of that address, by way of that
// balancer or of none. A session gets one connection; the next needs another PASV.
func (p *sharedPort) arrived(conn *net.TCPConn, from, balancer netip.Addr) {
	p.ports.mu.Lock()
	defer p.ports.mu.Unlock()
	w := p.waiting[from]
	if w == nil || balancer.IsValid() != (w.proxies != nil) || balancer.IsValid() && !proxied.Trusted(w.proxies, balancer) {
		_ = conn.Close()
		return
	}
	p.drop(w)
	w.came <- conn // has room for the one
}

// hostOf is an address as the network compares it: without zone, and IPv4 in IPv6
// as IPv4.
func hostOf(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
