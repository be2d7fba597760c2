package ftp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"gateway/session"
	"gateway/transfer"
)

// Config is what a Server is made of. Gate and Files must be set; the zero
// value of every other field is the safe default.
type Config struct {
	Gate *session.Gate
	// Name is the listener's name in the configuration and in the record.
	Name string
	// Files opens the tree of whoever logged in.
	Files transfer.Opener

	// Proxies are the networks of load balancers, each of whose connections must begin
	// with a PROXY header that says who the client is. Nobody else's header is believed.
	Proxies []netip.Prefix
	// ProxyData says that the balancer forwards the passive ports too, each of whose
	// connections then begins with a header as well. Otherwise data connections come
	// from the client itself, to the address that PASV tells.
	ProxyData bool

	// TLS protects the connection. Nil means that AUTH TLS is not known. Its ALPN
	// protocols and ticket hooks are replaced. If it asks for a client certificate,
	// a user whose account has the certificate's key logs in by it at USER (RFC 2228,
	// section 3; RFC 4217, section 6).
	TLS *tls.Config
	// Implicit makes every connection begin with a TLS handshake (FTPS on port 990).
	Implicit bool
	// Resumption is what a protected data connection must show, as far as the rules
	// say nothing else. Unset means required. Without resumption it is answered 522.
	Resumption session.Resumption
	// TakeTruncated takes an upload over TLS as complete although the client closed
	// without saying so (close_notify), and logs it. By default it is answered 426
	// and kept as interrupted: it cannot be told from one that an attacker cut.
	TakeTruncated bool

	// Hostname is what the greeting calls the server. Empty means no name.
	Hostname string
	// Banner is the text of the greeting; it replaces the usual one.
	Banner string
	// PassivePorts are the ports for passive data connections; several servers may
	// share one range. Nil means any free port.
	PassivePorts *PassivePorts
	// PublicAddresses are what PASV tells, for a server behind NAT. Nil means the
	// address that the client connected to.
	PublicAddresses *PublicAddresses

	// LoginGrace is how long a connection may take to log in. Zero means 30s.
	LoginGrace time.Duration
	// IdleTimeout ends a control connection that has been silent for this long
	// while no transfer runs. Zero means 5m, the least that RFC 1123, section
	// 4.1.3.2, recommends. A connection that sends commands but moves nothing is
	// ended after twice that.
	IdleTimeout time.Duration
	// DataTimeout is how long a data connection may take to be there, and again to
	// finish its TLS handshake. Zero means 30s.
	DataTimeout time.Duration
	// TransferStall ends a transfer of which nothing moved for this long. Zero means
	// 60s.
	TransferStall time.Duration
	// LeastRate is how many bytes a second a transfer must move, averaged over five
	// times TransferStall; a slower one is ended with 426. Zero means 64: enough for any
	// line, too much for whoever sends a byte now and then to hold what he has.
	LeastRate int64
	// ConvertASCII translates line ends in TYPE A, to CRLF on the wire and to LF in
	// the file, as RFC 959, section 3.1.1.1, has it. By default both types move the
	// bytes as they are, since programs that forget TYPE I would damage every file.
	ConvertASCII bool
	// MaxLine is the longest command line in bytes. Zero means 4096.
	MaxLine int

	// Log may be nil for slog.Default.
	Log *slog.Logger
}

const (
	defaultLoginGrace    = 30 * time.Second
	defaultIdleTimeout   = 5 * time.Minute
	defaultDataTimeout   = 30 * time.Second
	defaultTransferStall = 60 * time.Second
	defaultLeastRate     = 64
	defaultMaxLine       = 4096
	leastMaxLine         = 64

	// idleFactor times IdleTimeout is how long commands alone, which clients send to
	// stay connected, keep a connection open.
	idleFactor = 2
)

// withDefaults returns c with its zero fields filled in.
func (c Config) withDefaults() Config {
	fill := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	fill(&c.LoginGrace, defaultLoginGrace)
	fill(&c.IdleTimeout, defaultIdleTimeout)
	fill(&c.DataTimeout, defaultDataTimeout)
	fill(&c.TransferStall, defaultTransferStall)
	if c.LeastRate == 0 {
		c.LeastRate = defaultLeastRate
	}
	if c.MaxLine == 0 {
		c.MaxLine = defaultMaxLine
	}
	if c.TLS != nil && c.TLS.SessionTicketsDisabled { // without tickets nothing can be bound
		c.TLS = c.TLS.Clone()
		c.TLS.SessionTicketsDisabled = false
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var all []error
	wrong := func(format string, args ...any) { all = append(all, fmt.Errorf("ftp: "+format, args...)) }
	if c.Gate == nil {
		wrong("no gate")
	}
	if c.Files == nil {
		wrong("no files")
	}
	if c.Implicit && c.TLS == nil {
		wrong("implicit TLS without a certificate")
	}
	if c.Resumption > session.ResumptionOff {
		wrong("unknown resumption mode %d", c.Resumption)
	}
	for name, d := range map[string]time.Duration{
		"login grace": c.LoginGrace, "idle timeout": c.IdleTimeout,
		"data timeout": c.DataTimeout, "transfer stall": c.TransferStall,
	} {
		if d < 0 {
			wrong("%s %s is negative", name, d)
		}
	}
	if c.LeastRate < 0 {
		wrong("least rate %d is negative", c.LeastRate)
	}
	if c.MaxLine != 0 && c.MaxLine < leastMaxLine {
		wrong("line length %d is below %d", c.MaxLine, leastMaxLine)
	}
	return errors.Join(all...)
}
