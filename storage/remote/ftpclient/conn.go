// Package ftpclient speaks FTP to a server: what a storage of files needs of it, over
// passive data connections, in clear or over TLS.
//
// It follows RFC 959, RFC 2428 (EPSV), RFC 2640 (UTF-8), RFC 3659 (MLST, MLSD, SIZE, MDTM,
// REST) and RFC 4217 (TLS). A server is believed nothing: replies, lines and listings are
// bounded, everything has a time-out, and data connections go to the address of the control
// connection, whatever a server says (RFC 2577, section 3, from the other side).
//
// docs/decisions/0009-ftp-client.md says why it is our own.
package ftpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gateway/session"
)

// Protection is how a connection is protected.
type Protection string

const (
	Explicit Protection = "explicit" // AUTH TLS
	Implicit Protection = "implicit" // TLS from the first byte
	None     Protection = "none"     // in clear
)

// Config is a server and how to log in there.
type Config struct {
	Address    string // host:port
	User       string
	Password   session.Secret
	Protection Protection
	// TLS is for the control and the data connections, unless Protection is None. Its
	// ClientSessionCache is replaced.
	TLS *tls.Config
	// Timeout is for each answer, and for each step that data makes.
	Timeout time.Duration
	// Dial makes connections. Nil is that of a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (c Config) dial(ctx context.Context, address string) (net.Conn, error) {
	if c.Dial != nil {
		return c.Dial(ctx, "tcp", address)
	}
	dialer := net.Dialer{Timeout: c.Timeout}
	return dialer.DialContext(ctx, "tcp", address)
}

// Conn is a control connection, logged in. It does one thing at a time; Close and Broken may
// be called meanwhile.
type Conn struct {
	cfg  Config
	bare net.Conn // TCP
	wire net.Conn // what is spoken over: bare, or TLS over it
	in   *bufio.Reader
	tls  *tls.Config // of this connection and its data connections; nil in clear

	features map[string]string // of FEAT, by their first word
	oldPasv  bool              // EPSV is not there

	broken atomic.Bool
	close  sync.Once
}

// Dial connects and logs in.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	bare, err := cfg.dial(ctx, cfg.Address)
	if err != nil {
		return nil, err
	}
	c := &Conn{cfg: cfg, bare: bare, wire: bare}
	if cfg.Protection != None {
		c.tls = cfg.TLS.Clone()
		c.tls.ClientSessionCache = &lastSession{}
	}
	defer context.AfterFunc(ctx, c.abandon)()
	if err := c.begin(ctx); err != nil {
		_ = c.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return c, nil
}

// begin says everything up to the point where files can be asked for.
func (c *Conn) begin(ctx context.Context) error {
	if c.cfg.Protection == Implicit {
		if err := c.secure(ctx); err != nil {
			return err
		}
	}
	c.in = newReader(c.wire)
	c.step()
	greeting, err := readReply(c.in)
	if err != nil {
		return fmt.Errorf("its greeting: %w", err)
	}
	if greeting.code != 220 {
		return &Error{"the connection", greeting.code, greeting.text()}
	}
	if c.cfg.Protection == Explicit {
		if _, err := c.ask(2, "AUTH", "TLS"); err != nil {
			return err
		}
		if c.in.Buffered() > 0 {
			return errors.New("it goes on in clear after AUTH TLS: somebody may be between")
		}
		if err := c.secure(ctx); err != nil {
			return err
		}
		c.in = newReader(c.wire)
	}
	if err := c.login(); err != nil {
		return err
	}
	return c.settle()
}

// secure makes the control connection one over TLS.
func (c *Conn) secure(ctx context.Context) error {
	c.step()
	over := tls.Client(c.bare, c.tls)
	if err := over.HandshakeContext(ctx); err != nil {
		return err
	}
	c.wire = over
	return nil
}

// settle agrees on how data is sent and names are written.
func (c *Conn) settle() error {
	if c.tls != nil {
		if _, err := c.ask(2, "PBSZ", "0"); err != nil {
			return err
		}
		if _, err := c.ask(2, "PROT", "P"); err != nil {
			return err
		}
	}
	r, err := c.command("FEAT", "")
	if err != nil {
		return err
	}
	c.features = features(r)
	var wanted []string
	if c.Has("UTF8") {
		wanted = append(wanted, "UTF8 ON")
	}
	if facts := wantedFacts(c.features["MLST"]); facts != "" {
		wanted = append(wanted, "MLST "+facts)
	}
	for _, options := range wanted {
		if _, err := c.command("OPTS", options); err != nil { // whatever it says to that
			return err
		}
	}
	_, err = c.ask(2, "TYPE", "I")
	return err
}

// features reads the reply to FEAT (RFC 2389, section 3.2).
func features(r reply) map[string]string {
	out := make(map[string]string)
	if r.code/100 != 2 || len(r.lines) < 3 {
		return out
	}
	for _, line := range r.lines[1 : len(r.lines)-1] {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		out[strings.ToUpper(name)] = rest
	}
	return out
}

// Has reports whether the server says that it has a feature.
func (c *Conn) Has(feature string) bool {
	_, has := c.features[feature]
	return has
}

// step gives the next step on the control connection its time.
func (c *Conn) step() { _ = c.bare.SetDeadline(time.Now().Add(c.cfg.Timeout)) }

// command says something and returns the reply, whatever that is. An error ends the
// connection.
func (c *Conn) command(verb, arg string) (reply, error) {
	if strings.ContainsAny(arg, "\r\n\x00") {
		return reply{}, session.ErrName
	}
	line := verb
	if arg != "" {
		line += " " + arg
	}
	c.step()
	if _, err := io.WriteString(c.wire, line+"\r\n"); err != nil {
		return reply{}, c.fail(verb, err)
	}
	return c.answer(verb)
}

// answer reads the reply to a command.
func (c *Conn) answer(verb string) (reply, error) {
	c.step()
	r, err := readReply(c.in)
	if err != nil {
		return reply{}, c.fail(verb, err)
	}
	if r.code == 421 {
		c.broken.Store(true)
	}
	return r, nil
}

// fail ends the connection.
func (c *Conn) fail(verb string, err error) error {
	c.abandon()
	return fmt.Errorf("%s: %w: %w", verb, session.ErrUnavailable, err)
}

// ask is command for a reply whose code begins with class; any other is an *Error.
func (c *Conn) ask(class int, verb, arg string) (reply, error) {
	r, err := c.command(verb, arg)
	if err == nil && r.code/100 != class {
		err = &Error{verb, r.code, r.text()}
	}
	return r, err
}

// Ping asks whether the server is there.
func (c *Conn) Ping(ctx context.Context) error {
	defer context.AfterFunc(ctx, c.abandon)()
	_, err := c.ask(2, "NOOP", "")
	return err
}

// Broken reports whether nothing can be done any more over the connection.
func (c *Conn) Broken() bool { return c.broken.Load() }

// abandon ends the connection at once; what is under way over it fails.
func (c *Conn) abandon() {
	c.broken.Store(true)
	c.close.Do(func() { _ = c.bare.Close() })
}

// Close says goodbye, where that can be said, and ends the connection.
func (c *Conn) Close() error {
	if !c.broken.Swap(true) && c.in != nil {
		const goodbye = time.Second
		_ = c.bare.SetWriteDeadline(time.Now().Add(goodbye))
		_, _ = io.WriteString(c.wire, "QUIT\r\n")
	}
	c.abandon()
	return nil
}

// lastSession keeps the last TLS session of a control connection and its data connections.
// Servers want data connections to resume it, and those that let each ticket be used once
// only send another whenever one is used.
type lastSession struct {
	mu   sync.Mutex
	last *tls.ClientSessionState
}

// Get implements tls.ClientSessionCache.
func (l *lastSession) Get(string) (*tls.ClientSessionState, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.last != nil
}

// Put implements tls.ClientSessionCache. A session that was used is not forgotten before
// there is another.
func (l *lastSession) Put(_ string, s *tls.ClientSessionState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s != nil {
		l.last = s
	}
}
