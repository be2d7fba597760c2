// Package relay hands one message to one host by SMTP (RFC 5321) or LMTP (RFC
// 2033), and says for each recipient how that went.
//
// It uses STARTTLS (RFC 3207), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8
// (RFC 6531), PIPELINING (RFC 2920) and enhanced status codes (RFC 2034) where
// the peer has them. It keeps nothing: when to try again and whom to tell is
// package queue's.
//
// A refusal counts as final only where it is about this message: a 5yz reply to
// MAIL, RCPT or DATA. A host that greets with 554, wants a login (530), breaks
// the protocol or goes away is a fault that somebody may repair, and is tried
// again. If the connection is lost after the final dot and before its reply,
// nobody knows who has the message; it is sent again, so that it may arrive twice
// and is never lost (RFC 1047).
package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// MaxRecipients is how many recipients one Deliver may have: as many as every
// server has to take (RFC 5321, section 4.5.3.1.8).
const MaxRecipients = 100

// Timeouts bound each step, with the names and values of RFC 5321, section
// 4.5.3.2. A zero field stands for its default.
type Timeouts struct {
	Connect  time.Duration // connection and TLS handshake; 30s
	Greeting time.Duration // 5m
	Command  time.Duration // EHLO, STARTTLS, MAIL and RCPT; 5m
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

// quitTimeout bounds the farewell, on which nothing depends.
const quitTimeout = 2 * time.Second

// Client delivers under one name. Its fields are set before the first Deliver;
// Deliver may be called from any goroutine.
type Client struct {
	// Hostname is the name given with EHLO and LHLO.
	Hostname string
	// TLS is the base for connections with TLS: roots and versions. Nil means the
	// roots of the system and TLS 1.2 or later.
	TLS *tls.Config
	// Timeouts of the steps.
	Timeouts Timeouts
}

// Endpoint is a host to deliver to.
type Endpoint struct {
	Network    string // tcp or unix
	Address    string // host:port, or the path of a socket
	ServerName string // for its certificate
	LMTP       bool
	// ImplicitTLS begins with the TLS handshake and demands a valid certificate.
	// Otherwise STARTTLS is used if offered, with whatever certificate.
	ImplicitTLS bool
}

// TLSPolicy is what is asked of a connection.
type TLSPolicy uint8

const (
	Opportunistic TLSPolicy = iota // STARTTLS where offered, with whatever certificate
	Required                       // no mail without TLS and a valid certificate
)

// Auth is how to log in to a smart host; the zero Auth is not at all.
type Auth struct {
	Mechanism      string // plain, login or xoauth2
	User, Password string
	// Of xoauth2.
	TokenURL, ClientID, ClientSecret, RefreshToken, Scope string
}

// Target is where a message goes.
type Target struct {
	// Domain is one whose mail exchangers are looked up. If it is empty, Endpoint is
	// used.
	Domain   string
	Endpoint Endpoint
	TLS      TLSPolicy
	Auth     Auth
}

// Recipient is one forward-path in wire form, and what is asked for it (RFC 3461):
// the values of NOTIFY and ORCPT, decoded, "" if nothing.
type Recipient struct {
	Address, Notify, ORcpt string
}

// Message is what is delivered. Body is read once.
type Message struct {
	From string // reverse-path in wire form, without brackets; "" is the null one
	To   []Recipient
	Size int64 // bytes of Body, for SIZE
	Body io.Reader
	// RequireTLS is the parameter of RFC 8689; Ret and EnvID those of RFC 3461, decoded.
	RequireTLS bool
	Ret, EnvID string
	// EightBit says that Body has bytes beyond ASCII. A peer without 8BITMIME gets
	// them as they are: to encode them anew would break signatures, and no peer in
	// use drops the eighth bit.
	EightBit bool
	// SMTPUTF8 says that an address or the header is not ASCII. A peer without the
	// extension cannot have the message: that is final.
	SMTPUTF8 bool
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
	// RemoteHost is the address that was connected to, or that should have been.
	RemoteHost string
	// TLS is "TLS 1.3 verified", or "unverified"; "" in clear.
	TLS string
	// DSN says that the peer took over what NOTIFY asks for.
	DSN bool
	// Statuses has one entry for each of Message.To.
	Statuses []Status
}

// Deliver sends m to a target in one connection. It always answers for each recipient.
// When ctx is done the connection is cut, and who was not answered for by then is
// Deferred.
func (c *Client) Deliver(ctx context.Context, to Target, m Message) Result {
	e := to.Endpoint
	t := &transaction{
		client: c, endpoint: e, message: m, timeouts: c.Timeouts.withDefaults(),
		result: Result{RemoteHost: e.Address, Statuses: make([]Status, len(m.To))},
		open:   make(map[int]bool, len(m.To)),
	}
	for i := range m.To {
		t.open[i] = true
	}
	if to.Domain != "" {
		t.failRest(&fault{status: Status{Enhanced: "4.3.5", Text: "mail exchangers are not looked up"}})
	} else if err := t.run(ctx); err != nil {
		t.failRest(err)
	}
	return t.result
}

func (t *transaction) run(ctx context.Context) error {
	if err := t.message.check(); err != nil {
		return err
	}
	dialer := net.Dialer{Timeout: t.timeouts.Connect}
	raw, err := dialer.DialContext(ctx, t.endpoint.Network, t.endpoint.Address)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err // without the address: the text may end in a bounce
		}
		return &fault{status: Status{Enhanced: "4.4.1", Text: "connect: " + clean(err.Error())}}
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	if t.endpoint.Network != "unix" {
		t.result.RemoteHost = raw.RemoteAddr().String()
	}
	err = t.converse(ctx, raw)
	if ctx.Err() != nil && err != nil {
		return &fault{status: Status{Enhanced: "4.4.2", Text: "cut: " + clean(context.Cause(ctx).Error())}}
	}
	return err
}

// check refuses what would become another command on the wire. The queue parses
// addresses before it accepts them, so this holds only if that is broken.
func (m Message) check() error {
	if len(m.To) == 0 || len(m.To) > MaxRecipients {
		return &fault{status: Status{Enhanced: "4.3.5", Text: fmt.Sprintf("%d recipients in one transaction, want 1 to %d", len(m.To), MaxRecipients)}}
	}
	addresses := []string{m.From}
	for _, to := range m.To {
		addresses = append(addresses, to.Address)
	}
	for _, a := range addresses {
		for i := range len(a) {
			if a[i] < ' ' || a[i] == 0x7f || a[i] == '<' || a[i] == '>' {
				return &fault{status: Status{Outcome: Failed, Enhanced: "5.1.3", Text: "unsafe character in an address"}}
			}
		}
	}
	return nil
}
