// Package milter asks content filters that speak the milter protocol (rspamd,
// clamav-milter, opendkim) what they think of a message.
//
// The protocol is that of libmilter, version 6, as Sendmail and Postfix speak it;
// packets are read and written by github.com/emersion/go-milter. A filter is asked
// when the whole message is there, and is told of the connection and the envelope
// then: it cannot refuse one recipient of several. What it may ask for is changes of
// the header, another body, and that the message be held. Who gets a message is
// decided by the rules, so it can neither add nor remove recipients.
package milter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path"
	"strconv"
	"strings"
	"time"

	gomilter "github.com/emersion/go-milter"

	"gateway/smtp"
)

// Fault is what becomes of a message when a filter does not answer.
type Fault string

// What may become of it. The zero value defers.
const (
	Defer  Fault = "defer"  // the sender tries again later
	Refuse Fault = "refuse" // the message is refused for good
	Accept Fault = "accept" // it goes on, unseen
)

// ParseFault reads defer, refuse or accept.
func ParseFault(text string) (Fault, error) {
	switch f := Fault(text); f {
	case Defer, Refuse, Accept:
		return f, nil
	default:
		return "", fmt.Errorf("%q is not one of: defer, refuse, accept", text)
	}
}

// Address is where a filter listens.
type Address struct {
	network, address string
}

func (a Address) String() string {
	if a.network == "unix" {
		return "unix:" + a.address
	}
	return "inet:" + a.address
}

// ParseAddress reads "inet:HOST:PORT" or "unix:/PATH".
func ParseAddress(text string) (Address, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch kind {
	case "inet":
		host, port, err := net.SplitHostPort(rest)
		if n, perr := strconv.ParseUint(port, 10, 16); err == nil && perr == nil && n > 0 && host != "" && !strings.ContainsAny(host, " /") {
			return Address{"tcp", rest}, nil
		}
	case "unix":
		if path.IsAbs(rest) && path.Clean(rest) == rest && len(rest) < maxSocketPath {
			return Address{"unix", rest}, nil
		}
	}
	return Address{}, fmt.Errorf("%q is not the address of a milter, such as \"inet:127.0.0.1:11332\" or \"unix:/run/rspamd/milter.sock\"", text)
}

// maxSocketPath is what the system takes as the name of a socket.
const maxSocketPath = 108

// Config of a Filter. Name and Address must be set.
type Config struct {
	// Name is for the record and the log.
	Name    string
	Address Address
	// OnFault is what becomes of mail when the filter is not there, does not answer in
	// time or answers what makes no sense. Zero means Defer.
	OnFault Fault
	// Timeout is the time for the connection and for each answer. Zero means 30s.
	Timeout time.Duration
	// Log may be nil for slog.Default.
	Log *slog.Logger
}

const (
	defaultTimeout = 30 * time.Second
	// maxAnswer bounds what a filter may answer beyond a body, in bytes.
	maxAnswer = 256 << 10
)

// What we let a filter do, and what of the dialogue it may leave out. Not offered is
// OptSkip, whose answer go-milter cannot read.
const (
	actions  = gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptChangeBody | gomilter.OptQuarantine
	protocol = gomilter.OptNoConnect | gomilter.OptNoHelo | gomilter.OptNoMailFrom | gomilter.OptNoRcptTo | gomilter.OptNoBody |
		gomilter.OptNoHeaders | gomilter.OptNoEOH | gomilter.OptNoUnknown | gomilter.OptNoData |
		gomilter.OptNoHeaderReply | gomilter.OptNoConnReply | gomilter.OptNoHeloReply | gomilter.OptNoMailReply | gomilter.OptNoRcptReply |
		gomilter.OptNoDataReply | gomilter.OptNoUnknownReply | gomilter.OptNoEOHReply | gomilter.OptNoBodyReply |
		gomilter.OptHeaderLeadingSpace
	// oldProtocol is what of it a filter of protocol version 2 knows.
	oldProtocol = protocol & 0x7f
)

// Filter is one filter. It is an smtp.Filter.
type Filter struct{ cfg Config }

var _ smtp.Filter = (*Filter)(nil)

// New returns the filter of cfg. It connects once for each message.
func New(cfg Config) *Filter {
	if cfg.OnFault == "" {
		cfg.OnFault = Defer
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Filter{cfg}
}

// Filter implements smtp.Filter.
func (f *Filter) Filter(ctx context.Context, m *smtp.Message) error {
	err := f.ask(ctx, m)
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*smtp.Rejection](err); ok {
		r.Reason = "milter " + f.cfg.Name + ": " + r.Reason
		return r
	}
	f.cfg.Log.Warn("milter does not answer as it should", "milter", f.cfg.Name, "address", f.cfg.Address.String(), "on_fault", string(f.cfg.OnFault),
		"id", m.ID, "err", err)
	reason := fmt.Sprintf("milter %s: %v", f.cfg.Name, err)
	switch f.cfg.OnFault {
	case Accept:
		return nil
	case Refuse:
		return &smtp.Rejection{Code: 550, Enhanced: "5.7.1", Text: "Message cannot be checked, and is not accepted without", Reason: reason}
	default:
		return &smtp.Rejection{Code: 451, Enhanced: "4.7.1", Text: "Message cannot be checked now, try again later", Reason: reason}
	}
}

// ask shows the message to the filter and does what it says.
func (f *Filter) ask(ctx context.Context, m *smtp.Message) error {
	err := f.askBy(ctx, protocol, m)
	if errors.Is(err, gomilter.ErrUnsupportedMilterVersion) {
		err = f.askBy(ctx, oldProtocol, m)
	}
	return err
}

// askBy is ask with these options offered.
func (f *Filter) askBy(ctx context.Context, protocol gomilter.OptProtocol, m *smtp.Message) error {
	nc, err := (&net.Dialer{Timeout: f.cfg.Timeout}).DialContext(ctx, f.cfg.Address.network, f.cfg.Address.address)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	client := gomilter.NewClientWithOptions("", "", gomilter.ClientOptions{
		Dialer: given{&bounded{Conn: nc, left: m.MaxBytes + maxAnswer}}, ReadTimeout: f.cfg.Timeout, WriteTimeout: f.cfg.Timeout,
		ActionMask: actions, ProtocolMask: protocol,
	})
	s, err := client.Session()
	if err == nil {
		err = converse(s, m)
		_ = s.Close() // says QUIT; the connection is closed in any case
	}
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// given is a Dialer that has a connection already: go-milter's own way does not
// look at a context, and forgets connections that it could not agree on.
type given struct{ conn net.Conn }

func (g given) Dial(string, string) (net.Conn, error) { return g.conn, nil }

// bounded is a connection from which no more than left bytes are read.
type bounded struct {
	net.Conn
	left int64
}

var errTooMuch = errors.New("it answers too much")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
