package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"gateway/internal/listener"
	"gateway/session"
	"gateway/smtp/dkim"
)

// Config is what a Server is made of. Gate, Queue and Hostname must be set; a
// Server without TLS can be reached by those only whom the rules let in clear.
type Config struct {
	Gate *session.Gate
	// Name is the listener's name in the configuration.
	Name string
	// Protocol is session.Submission or session.Relay. Empty means Submission.
	// Mail is accepted from those who logged in only, on both.
	Protocol session.Protocol
	// Proxies are the networks of load balancers, each of whose connections must begin
	// with a PROXY header that says who the client is. Nobody else's header is believed.
	Proxies []netip.Prefix
	// Queue takes the mail.
	Queue Queue
	// TLS is used for STARTTLS, or from the first byte if Implicit. Nil means that
	// STARTTLS is not offered. It is not changed: the copy that is used has TLS 1.2
	// as its least version and "smtp" as its only application protocol.
	TLS *tls.Config
	// Implicit makes the connection begin with the TLS handshake (RFC 8314,
	// section 3.3).
	Implicit bool
	// Hostname is our name in the greeting, in the trace field and in the
	// Message-ID of messages that have none.
	Hostname string
	// MaxMessageBytes bounds a message as sent, without the dots that DATA adds;
	// exactly so many are accepted. It is what SIZE announces. Zero means 35 MiB.
	MaxMessageBytes int64
	// MaxRecipients bounds the recipients of one message; RFC 5321, section
	// 4.5.3.1.8 asks for at least 100. Zero means 1000.
	MaxRecipients int
	// MaxLineLength bounds a line of a message in bytes without its end; a message
	// with a longer one is refused. Zero means 64 KiB. Lines over 998 are against
	// RFC 5321, section 4.5.3.1.6, but devices send them.
	MaxLineLength int
	// LoginGrace is the time from the connection to a successful AUTH. Zero means 30s.
	LoginGrace time.Duration
	// IdleTimeout is the time for one command line, and between two reads of a
	// message. Zero means 5m (RFC 5321, section 4.5.3.2.7).
	IdleTimeout time.Duration
	// DataTimeout bounds the time for a whole message. Zero means 1h.
	DataTimeout time.Duration
	// RefuseBareLF refuses content with a line end that is a LF alone. By default such
	// line ends become CRLF.
	RefuseBareLF bool
	// HideSource leaves the address and the name of the peer out of the trace field
	// that the message carries; the record has them in any case.
	HideSource bool
	// Filters look at each message, one after the other, each at what the one before
	// made of it. Bodies over 128 KiB are kept for them in files in SpoolDir, which
	// have no names; empty is the system's folder for temporary files.
	Filters  []Filter
	SpoolDir string
	// DKIM signs mail whose author is in a domain that it has keys for. Nil signs
	// nothing.
	DKIM *dkim.Keys
	// Journal keeps the copies that rules ask for. Without it, mail of which a copy is
	// to be kept is deferred.
	Journal Journal
	// Log may be nil for slog.Default.
	Log *slog.Logger
}

// Defaults of Config.
const (
	defaultMaxMessageBytes = 35 << 20
	defaultMaxRecipients   = 1000
	defaultMaxLineLength   = 64 << 10
	defaultLoginGrace      = 30 * time.Second
	defaultIdleTimeout     = 5 * time.Minute
	defaultDataTimeout     = time.Hour
	// minRecipients is what RFC 5321, section 4.5.3.1.8 asks for.
	minRecipients = 100
)

// Validate reports all that is wrong with the Config; nil if New takes it.
func (cfg *Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("smtp: "+format, args...)) }
	if cfg.Gate == nil {
		wrong("no gate")
	}
	if cfg.Queue == nil {
		wrong("no queue")
	}
	if cfg.Hostname == "" || strings.Trim(cfg.Hostname, hostnameChars) != "" {
		wrong("hostname %q: want a host name or an address literal", cfg.Hostname)
	}
	if p := cfg.Protocol; p != "" && p != session.Submission && p != session.Relay {
		wrong("protocol %q: want %s or %s", p, session.Submission, session.Relay)
	}
	if cfg.Implicit && cfg.TLS == nil {
		wrong("implicit TLS without a TLS configuration")
	}
	if cfg.MaxRecipients != 0 && cfg.MaxRecipients < minRecipients {
		wrong("at most %d recipients: want at least %d (RFC 5321, section 4.5.3.1.8)", cfg.MaxRecipients, minRecipients)
	}
	if cfg.MaxMessageBytes < 0 || cfg.MaxLineLength < 0 || cfg.LoginGrace < 0 || cfg.IdleTimeout < 0 || cfg.DataTimeout < 0 {
		wrong("a limit is negative")
	}
	return errors.Join(errs...)
}

// alpn is what we call ourselves to a peer that asks for a protocol by name (RFC
// 7301). No such name is registered, and mail clients do not ask; browsers do,
// and one that was sent here is turned away in the handshake (ALPACA).
const alpn = "smtp"

const hostnameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._[]:"

// A Server serves submission on any number of net.Listeners.
type Server struct {
	cfg        Config
	commands   map[verb]command
	rewordings []rewording
	listener   listener.Server
}

// New returns a Server. It panics if cfg.Validate has something to say.
func New(cfg Config) *Server {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	cfg.fill()
	s := &Server{cfg: cfg, commands: commandTable(), rewordings: rewordings()}
	s.listener = listener.Server{
		Gate: cfg.Gate, Name: cfg.Name, Protocol: cfg.Protocol, Proxies: cfg.Proxies, Handle: s.handle, Log: cfg.Log,
	}
	if !cfg.Implicit {
		// Where TLS comes first there is no way to say anything before it.
		s.listener.Refuse = func(c net.Conn, cause error) { refuse(c, cause) }
	}
	return s
}

func (cfg *Config) fill() {
	if cfg.Protocol == "" {
		cfg.Protocol = session.Submission
	}
	if cfg.MaxMessageBytes == 0 {
		cfg.MaxMessageBytes = defaultMaxMessageBytes
	}
	if cfg.MaxRecipients == 0 {
		cfg.MaxRecipients = defaultMaxRecipients
	}
	if cfg.MaxLineLength == 0 {
		cfg.MaxLineLength = defaultMaxLineLength
	}
	if cfg.LoginGrace == 0 {
		cfg.LoginGrace = defaultLoginGrace
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = defaultIdleTimeout
	}
	if cfg.DataTimeout == 0 {
		cfg.DataTimeout = defaultDataTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.TLS != nil {
		cfg.TLS = cfg.TLS.Clone()
		if cfg.TLS.MinVersion < tls.VersionTLS12 {
			cfg.TLS.MinVersion = tls.VersionTLS12
		}
		cfg.TLS.NextProtos = []string{alpn}
		notingCertificates(cfg.TLS)
	}
}

// Serve accepts connections on ln until Shutdown, ctx is done or ln fails. It
// closes ln and always returns an error: listener.ErrServerClosed after Shutdown.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.listener.Serve(ctx, ln)
}

// Shutdown stops accepting, says 421 to connections on which no transaction is
// under way, and waits for the others. When ctx is done they are cut, and its
// error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.listener.Shutdown(ctx)
}
