// Package relay hands messages to other hosts by SMTP (RFC 5321) or LMTP (RFC
// 2033), and says for each recipient how that went.
//
// It finds the hosts of a domain by MX, keeps connections for the next message,
// and uses STARTTLS (RFC 3207), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8
// (RFC 6531), PIPELINING (RFC 2920), DSN (RFC 3461), REQUIRETLS (RFC 8689), AUTH
// (RFC 4954) and enhanced status codes (RFC 2034) where the peer has them. What
// a domain demands of TLS it learns from DANE (RFC 7672) and MTA-STS (RFC 8461).
// When to try again and whom to tell is package queue's.
//
// A refusal counts as final only where it is about this message: a 5yz reply to
// MAIL, RCPT or DATA, or what DNS says plainly of the recipient's domain. A host
// that greets with 554, wants a login (530), refuses ours, breaks the protocol or
// goes away is a fault that somebody may repair, and is tried again. If the
// connection is lost after the final dot and before its reply, nobody knows who
// has the message; it is sent again, so that it may arrive twice and is never
// lost (RFC 1047).
package relay

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"gateway/queue/relay/dns"
	"gateway/queue/relay/mtasts"
)

// MaxRecipients is how many recipients one Deliver may have: as many as every
// server has to take (RFC 5321, section 4.5.3.1.8).
const MaxRecipients = 100

// Timeouts bound each step, with the names and values of RFC 5321, section
// 4.5.3.2. A zero field stands for its default.
type Timeouts struct {
	Connect  time.Duration // connection, and TLS handshake; 30s
	Greeting time.Duration // 5m
	Command  time.Duration // EHLO, STARTTLS, AUTH, MAIL and RCPT; 5m
	DataInit time.Duration // the 354; 2m
	Block    time.Duration // each write of the content; 3m
	DataDone time.Duration // the reply to the final dot; 10m
}

func (t Timeouts) withDefaults() Timeouts {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Connect, 30 * time.Second}, {&t.Greeting, 5 * time.Minute}, {&t.Command, 5 * time.Minute},
		{&t.DataInit, 2 * time.Minute}, {&t.Block, 3 * time.Minute}, {&t.DataDone, 10 * time.Minute},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	return t
}

// Resolver looks up DNS records, as dns.Resolver does: dns.ErrNotExist for a name
// that does not exist, an empty answer for one without records, and any other
// error for now.
type Resolver interface {
	MX(ctx context.Context, domain string) (dns.Answer[dns.MX], error)
	Addresses(ctx context.Context, host string) (dns.Answer[netip.Addr], error)
	TLSA(ctx context.Context, name string) (dns.Answer[dns.TLSA], error)
}

// Policies finds the MTA-STS policy of a domain, as mtasts.Cache does.
type Policies interface {
	Lookup(ctx context.Context, domain string) (mtasts.Policy, error)
}

// Client delivers under one name. Its fields are set before the first Deliver;
// its methods may be called from any goroutine. It must not be copied once it is
// in use.
type Client struct {
	// Hostname is the name given with EHLO and LHLO.
	Hostname string
	// OwnNames are other names of ours among the MX of domains. Mail is never given
	// to ourselves, nor to hosts that are less preferred than we are.
	OwnNames []string
	// TLS is the base for connections with TLS: roots and versions. Nil means the
	// roots of the system and TLS 1.2 or later.
	TLS *tls.Config
	// Timeouts of the steps.
	Timeouts Timeouts

	// Resolver is needed for targets with a Domain.
	Resolver Resolver
	// Policies may be nil for no MTA-STS.
	Policies Policies
	// Results counts how TLS went with domains; may be nil.
	Results *TLSResults
	// SpecialNetworks are loopback, link-local and other addresses of special use
	// to which the records of a domain may lead. Others of their kind are never
	// connected to: a stranger's DNS must not reach what listens on this host only.
	SpecialNetworks []netip.Prefix
	// MXPort is the port of the hosts found by MX; 0 means 25.
	MXPort uint16

	// IdleTimeout is how long a connection is kept for the next message; 0 means
	// 5s. Negative: connections are not kept.
	IdleTimeout time.Duration
	// MaxIdle bounds the connections that are kept; 0 means 64.
	MaxIdle int
	// MaxMessages bounds the messages of one connection; 0 means 100.
	MaxMessages int

	idle pool
}

const (
	defaultMXPort      = 25
	defaultIdleTimeout = 5 * time.Second
	defaultMaxIdle     = 64
	defaultMaxMessages = 100
	// maxConnectionAge is when a connection gets no further message: certificates
	// and policies are looked at when it is made.
	maxConnectionAge = 5 * time.Minute
)

// Close ends the connections that are kept and waits until they are closed. A
// Deliver under way goes on, and leaves no connection behind.
func (c *Client) Close() error {
	c.idle.close()
	return nil
}

// TLSPolicy is what a channel must be, whatever the peer offers.
type TLSPolicy uint8

const (
	// Opportunistic TLS takes what there is: STARTTLS wherever it is offered, with
	// any certificate, and clear text where it is not. Somebody who could forge a
	// certificate could as well hide the offer. A handshake that fails is tried
	// again later and never replaced by clear text. DANE and MTA-STS demand more
	// for the domains that have them.
	Opportunistic TLSPolicy = iota
	// Required TLS has a certificate that is valid for the name of the host (or by
	// DANE).
	Required
)

// Target says where to deliver. Targets are comparable; those that are equal
// share connections.
type Target struct {
	// Domain is that of the recipients; its hosts are looked up by MX. It may be an
	// address literal, or have characters beyond ASCII. Empty: Endpoint is the host.
	Domain   string
	Endpoint Endpoint
	TLS      TLSPolicy
	// Auth is how to log in; zero means not at all. It is used over TLS with a
	// verified certificate only, so that it implies Required.
	Auth Auth
}

// Endpoint is a host to deliver to.
type Endpoint struct {
	Network    string // tcp or unix
	Address    string // host:port, or the path of a socket
	ServerName string // for its certificate
	LMTP       bool
	// ImplicitTLS begins with the TLS handshake and demands a valid certificate.
	ImplicitTLS bool
}

// Recipient is one forward-path.
type Recipient struct {
	Address string // in wire form, without brackets
	// Notify and ORcpt are the parameters of RFC 3461, sections 4.1 and 4.2, in wire
	// form; "" for none. They are for peers with DSN.
	Notify string
	ORcpt  string
}

// Message is what is delivered. Body is read once.
type Message struct {
	From string      // reverse-path in wire form, without brackets; "" is the null one
	To   []Recipient // 1 to MaxRecipients
	Size int64       // bytes of Body, for SIZE
	Body io.Reader
	// EightBit says that Body has bytes beyond ASCII. A peer without 8BITMIME gets
	// them as they are: to encode them anew would break signatures, and no peer in
	// use drops the eighth bit.
	EightBit bool
	// SMTPUTF8 says that an address or the header is not ASCII. A peer without the
	// extension cannot have the message: that is final.
	SMTPUTF8 bool
	// RequireTLS says that the sender wants the message to travel by verified TLS
	// all the way, or not at all (RFC 8689).
	RequireTLS bool
	// Ret and EnvID are the parameters of RFC 3461, sections 4.3 and 4.4, in wire
	// form; "" for none. They are for peers with DSN.
	Ret   string
	EnvID string
}

// Outcome of a delivery to one recipient.
type Outcome uint8

// The zero Outcome is the one that loses nothing.
const (
	Deferred  Outcome = iota // not now: try again
	Delivered                // the peer has taken responsibility
	Failed                   // never: tell the sender
)

// Status is how it went for one recipient.
type Status struct {
	Outcome Outcome
	// Code is the reply code, 0 if the peer gave none.
	Code int
	// Enhanced is the status code of RFC 3463, never empty: where the peer gave
	// none it is the general one of its class.
	Enhanced string
	// Text is the reply's text, or what went wrong here; printable, on one line.
	Text string
	// DSN says of a Delivered recipient that the peer has taken over to notify of
	// what happens further (RFC 3461, section 5.2.2). If it has not, and success is
	// to be notified, it is for us to say that the message was relayed.
	DSN bool
}

// String is the status as an SMTP reply on one line.
func (s Status) String() string {
	if s.Code == 0 {
		return s.Text
	}
	return fmt.Sprintf("%d %s %s", s.Code, s.Enhanced, s.Text)
}

// Result of one Deliver.
type Result struct {
	// RemoteHost is the address that was connected to last, or that should have
	// been.
	RemoteHost string
	// RemoteName is the name by which that host was found: the MX, or the name in
	// the endpoint.
	RemoteName string
	// TLS is "TLS 1.3 verified", "TLS 1.3 verified by DANE" or "TLS 1.3 unverified";
	// "" in clear.
	TLS string
	// Down says that no host of the target took part in a transaction: other mail
	// for it would meet the same now.
	Down bool
	// Statuses has one entry for each of Message.To.
	Statuses []Status
}

// Deliver sends m to t. It always answers for each recipient. When ctx is done
// the connection is cut, and who was not answered for by then is Deferred.
func (c *Client) Deliver(ctx context.Context, t Target, m Message) Result {
	d := &delivery{
		client: c, target: t, message: m, timeouts: c.Timeouts.withDefaults(),
		result: Result{RemoteHost: t.Endpoint.Address, RemoteName: t.Endpoint.ServerName, Down: true, Statuses: make([]Status, len(m.To))},
		done:   make([]bool, len(m.To)),
	}
	if t.Domain != "" {
		d.result.RemoteHost, d.result.RemoteName = "", t.Domain
	}
	if err := d.run(ctx); err != nil {
		d.failRest(err)
	}
	return d.result
}

// check refuses what would become another command on the wire. The queue parses
// what it accepts, so this holds only if that is broken.
func (m Message) check() error {
	if len(m.To) == 0 || len(m.To) > MaxRecipients {
		return deferred("4.3.5", "%d recipients in one transaction, want 1 to %d", len(m.To), MaxRecipients)
	}
	unsafe := !pathSafe(m.From)
	for _, r := range m.To {
		unsafe = unsafe || !pathSafe(r.Address)
	}
	if unsafe {
		return failed("5.1.3", "unsafe character in an address")
	}
	unsafe = !parameterSafe(m.Ret) || !parameterSafe(m.EnvID)
	for _, r := range m.To {
		unsafe = unsafe || !parameterSafe(r.Notify) || !parameterSafe(r.ORcpt)
	}
	if unsafe {
		return failed("5.5.4", "unsafe character in a parameter of the envelope")
	}
	return nil
}

func pathSafe(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f || s[i] == '<' || s[i] == '>' {
			return false
		}
	}
	return true
}

// parameterSafe is an esmtp-value of RFC 5321, section 4.1.2; "=" is taken, too,
// as in xtext that somebody encoded carelessly.
func parameterSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// dial connects within the time for it. The text of an error has no address: it
// may end in a bounce.
func (c *Client) dial(ctx context.Context, timeout time.Duration, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, deferred("4.4.1", "connect: %s", dialReason(err))
	}
	return conn, nil
}
