// Package oldserver asks another server whether a password is right: the one that the
// accounts come from, where their hashes could not be taken, or a directory that keeps the
// passwords for good.
//
// A server is asked only about accounts that there are, in groups that it is named for,
// until a day; and only if it is who it is said to be: a pinned key or certificate, or one
// that an authority vouches for, or an address of a private network. Whatever is not a
// plain yes or no of it is an error, and never a wrong password.
package oldserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"gateway/internal/pinned"
	"gateway/session"
)

// Kind is a protocol by which a server is asked, and how that is protected.
type Kind string

// The kinds.
const (
	FTP    Kind = "ftp"     // in clear: within a private network only
	FTPTLS Kind = "ftp-tls" // AUTH TLS
	FTPS   Kind = "ftps"
	IMAP   Kind = "imap-tls" // STARTTLS
	IMAPS  Kind = "imaps"
	SSH    Kind = "ssh"
	LDAP   Kind = "ldap-tls" // StartTLS
	LDAPS  Kind = "ldaps"
)

// Kinds lists them all.
func Kinds() []Kind { return []Kind{FTP, FTPTLS, FTPS, IMAP, IMAPS, SSH, LDAP, LDAPS} }

func (k Kind) ldap() bool { return k == LDAP || k == LDAPS }

// Config describes one server.
type Config struct {
	Name    string
	Kind    Kind
	Address string // host:port
	// Groups are those whose accounts it is asked about.
	Groups []string
	// Until is the first moment at which it is not asked any more; zero is never, which is
	// for servers that are not Stored from.
	Until time.Time
	// Store keeps a password that it says is right, as argon2id, and does not ask again.
	Store bool
	// MakeAccounts has it asked about names without an account too; one whose password is
	// right gets one, with that password, in all the Groups.
	MakeAccounts bool
	// Pin is the SHA-256 of the certificate, in hex, or of the SSH host key, as "SHA256:...".
	// Empty trusts Roots, nil for those of the system; SSH needs it.
	Pin   string
	Roots *x509.CertPool
	// User is the name there, with {user} for that of the account: "{user}@example.com", or a
	// DN of LDAP. Empty is {user}.
	User string
	// Base and Filter find the DN in a directory instead, as BindDN with BindPassword.
	Base, Filter, BindDN string
	BindPassword         session.Secret
	// Timeout is for all of a question. Zero means 10 s.
	Timeout time.Duration
}

const (
	defaultTimeout = 10 * time.Second
	// maxAnswer is how many bytes a server may send in all.
	maxAnswer = 64 << 10
)

// Check reports what in a Config cannot be.
func (c Config) Check() error {
	host, _, err := net.SplitHostPort(c.Address)
	switch {
	case !slices.Contains(Kinds(), c.Kind):
		return fmt.Errorf("there is no kind %q", c.Kind)
	case err != nil:
		return fmt.Errorf("address %q: want HOST:PORT", c.Address)
	case len(c.Groups) == 0:
		return errors.New("groups: name those whose accounts it is asked about")
	case c.Store && c.Until.IsZero():
		return errors.New("until: say from which day on it is not asked any more")
	case c.MakeAccounts && !c.Store:
		return errors.New("make_accounts: it needs store, since the account is to be here; for a directory that keeps the passwords use a source")
	case c.Kind == SSH && !strings.HasPrefix(c.Pin, "SHA256:"):
		return errors.New(`pin: want the fingerprint of its host key, "SHA256:..." (ssh-keyscan HOST | ssh-keygen -lf -)`)
	case c.Kind == FTP && !pinned.Private(host):
		return errors.New("address: without TLS it must be an address of a private network, such as 10.1.2.3; else use ftp-tls, ftps or ssh")
	case c.Filter != "" && (!c.Kind.ldap() || !strings.Contains(c.Filter, "{user}") || c.Base == ""):
		return errors.New("filter: it is for ldap, has {user} in it, and needs base")
	case c.Kind.ldap() && c.Filter == "" && !strings.Contains(c.User, "="):
		return errors.New("user: want the DN, such as uid={user},ou=people,dc=example,dc=com; or say filter and base")
	}
	return nil
}

// A Server is one that can be asked.
type Server struct {
	cfg   Config
	slots chan struct{}
}

// maxQuestions is how many questions a server is asked at the same time.
const maxQuestions = 8

// New returns the server of a Config that was checked.
func New(cfg Config) *Server {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.User == "" {
		cfg.User = "{user}"
	}
	return &Server{cfg: cfg, slots: make(chan struct{}, maxQuestions)}
}

// Name is that of the Config.
func (s *Server) Name() string { return s.cfg.Name }

// Store reports whether a right password is kept.
func (s *Server) Store() bool { return s.cfg.Store }

// For reports whether the server is asked about accounts of some groups at that time.
func (s *Server) For(groups []string, now time.Time) bool {
	return (s.cfg.Until.IsZero() || now.Before(s.cfg.Until)) &&
		slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(s.cfg.Groups, g) })
}

// Newcomers returns the groups of accounts that are made of names which have none, nil if
// they are not made at that time.
func (s *Server) Newcomers(now time.Time) []string {
	if !s.cfg.MakeAccounts || !now.Before(s.cfg.Until) {
		return nil
	}
	return s.cfg.Groups
}

// Ask asks whether a password is right. The error wraps session.ErrUnavailable: the server
// cannot be reached, is not who it should be, or answers neither yes nor no. An empty
// password, or one that no protocol can carry, is wrong, and not asked about.
func (s *Server) Ask(ctx context.Context, user string, password session.Secret) (right bool, err error) {
	if password.Empty() || strings.ContainsAny(user+password.Reveal(), "\x00\r\n") {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return false, s.failed(context.Cause(ctx))
	}
	right, err = s.ask(ctx, strings.ReplaceAll(s.cfg.User, "{user}", user), user, password.Reveal())
	if err != nil {
		return false, s.failed(err)
	}
	return right, nil
}

func (s *Server) failed(err error) error {
	return fmt.Errorf("ask old server %q: %w: %w", s.cfg.Name, session.ErrUnavailable, err)
}

// ask speaks the protocol. name is that of the user there.
func (s *Server) ask(ctx context.Context, name, user, password string) (bool, error) {
	dialer := net.Dialer{}
	bare, err := dialer.DialContext(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return false, err
	}
	defer bare.Close()
	defer context.AfterFunc(ctx, func() { _ = bare.SetDeadline(time.Unix(1, 0)) })()
	conn := bare
	switch s.cfg.Kind {
	case SSH:
		return s.askSSH(conn, name, password)
	case FTPS, IMAPS, LDAPS:
		if conn, err = s.secure(ctx, conn); err != nil {
			return false, err
		}
	}
	switch s.cfg.Kind {
	case LDAP, LDAPS:
		return s.askLDAP(ctx, conn, user, password)
	case IMAP, IMAPS:
		return s.askIMAP(ctx, conn, name, password)
	default:
		return s.askFTP(ctx, conn, name, password)
	}
}

// secure makes the connection one over TLS, with a server that is who it should be.
func (s *Server) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	return pinned.Handshake(ctx, conn, s.tls())
}

func (s *Server) tls() *tls.Config { return pinned.TLS(s.cfg.Address, s.cfg.Pin, s.cfg.Roots) }
