package sftp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/internal/listener"
	"gateway/session"
	"gateway/transfer"
)

// Config is what a Server is made of. Gate, Files and HostKeys must be set; the
// zero value of every other field is a safe default.
type Config struct {
	Gate *session.Gate
	// Name is the listener's name in the configuration and in the record. Empty
	// means "sftp".
	Name string
	// Files opens the tree of whoever logged in.
	Files transfer.Opener
	// Proxies are the networks of load balancers, each of whose connections must begin
	// with a PROXY header that says who the client is. Nobody else's header is believed.
	Proxies []netip.Prefix
	// HostKeys prove the server to its clients: at most one each of ed25519, ecdsa
	// of one curve, and rsa of 2048 bits or more; one of ed25519 or rsa is needed. Which
	// signatures an rsa key makes is up to the profile.
	HostKeys []ssh.Signer
	// NextHostKeys will take their place. Clients are told of them, so that those who
	// listen know them by then; nobody is shown them yet.
	NextHostKeys []ssh.Signer
	// Profile is what is offered where the rules say nothing else: SSHModern or
	// SSHCompatible. Zero means SSHCompatible.
	Profile session.SSHProfile
	// ChaCha20 offers chacha20-poly1305 also where the processor has AES. OpenSSH's
	// client then takes it, at several times the cost.
	ChaCha20 bool
	// RekeyAfter is how many bytes may cross in one direction under the same keys.
	// Zero means the cipher's own bound: 64 GiB with AES, else 1 GiB.
	RekeyAfter int64
	// LoginGrace is the time from accept within which a client must have logged in.
	// Zero means 30s.
	LoginGrace time.Duration
	// IdleTimeout ends a connection that sent no SFTP request for this long while
	// none is under way. Zero means 5m.
	IdleTimeout time.Duration
	// Keepalive is how long a client may send nothing at all before it is asked
	// whether it is there. Zero means 60s.
	Keepalive time.Duration
	// KeepaliveCount is after how many times Keepalive of silence it is cut off. Zero
	// means 3.
	KeepaliveCount int
	// MaxSessions is how many session channels one connection may have open at once.
	// Zero means 10.
	MaxSessions int
	// Enrol takes the file of keys that a session which may do so (session.MayEnrol)
	// brings for its account, and records it. Its session.ErrUnavailable is told as
	// such; any other error means that the keys are not good. Nil means that keys are
	// not taken: the file is one like any other.
	Enrol func(ctx context.Context, s *session.Session, file []byte) error
	// EnrolOffered takes the keys that a client offered, and that its account does not
	// have, before it logged in otherwise. It is called for sessions that may do so
	// (session.MayEnrolOffered). Nil takes none.
	EnrolOffered func(ctx context.Context, s *session.Session, keys []session.Key) error
	// ServerVersion is the identification that clients are shown (RFC 4253, section
	// 4.2). It must begin with "SSH-2.0-"; empty means "SSH-2.0-Gateway".
	ServerVersion string
	// Banner is shown to every client before it logs in (RFC 4252, section 5.4).
	// Empty means none.
	Banner string
	// Log may be nil for slog.Default.
	Log *slog.Logger
}

const (
	defaultLoginGrace    = 30 * time.Second
	defaultIdleTimeout   = 5 * time.Minute
	defaultKeepalive     = time.Minute
	defaultKeepalives    = 3
	defaultMaxSessions   = 10
	defaultServerVersion = "SSH-2.0-Gateway"
	// minRekeyAfter bounds how often keys are exchanged, which costs the server more
	// than the client.
	minRekeyAfter = 64 << 10
	// maxServerVersion leaves room for CR LF within the 255 bytes of RFC 4253,
	// section 4.2.
	maxServerVersion = 253
)

// Server serves SFTP on any number of listeners.
type Server struct {
	cfg  Config
	base listener.Server
	pool *buffers
	keys atomic.Pointer[hostKeys]
	err  error // what is wrong with cfg; Serve returns it
}

// New returns a Server. What is wrong with cfg is said by Serve.
func New(cfg Config) *Server {
	cfg.Name = cmp.Or(cfg.Name, "sftp")
	cfg.LoginGrace = cmp.Or(cfg.LoginGrace, defaultLoginGrace)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, defaultIdleTimeout)
	cfg.Keepalive = cmp.Or(cfg.Keepalive, defaultKeepalive)
	cfg.KeepaliveCount = cmp.Or(cfg.KeepaliveCount, defaultKeepalives)
	cfg.Profile = cmp.Or(cfg.Profile, session.SSHCompatible)
	cfg.MaxSessions = cmp.Or(cfg.MaxSessions, defaultMaxSessions)
	cfg.ServerVersion = cmp.Or(cfg.ServerVersion, defaultServerVersion)
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	s := &Server{cfg: cfg, pool: newBuffers()}
	s.base = listener.Server{
		Gate: cfg.Gate, Name: cfg.Name, Protocol: session.SFTP, Proxies: cfg.Proxies,
		Refuse: refuse, Handle: s.handle, Log: cfg.Log,
	}
	s.err = errors.Join(cfg.validate(), s.SetHostKeys(cfg.HostKeys, cfg.NextHostKeys))
	return s
}

func (cfg *Config) validate() error {
	var errs []error
	if cfg.Gate == nil || cfg.Files == nil {
		errs = append(errs, errors.New("gate and files must be set"))
	}
	for _, d := range []struct {
		name string
		is   time.Duration
	}{{"login grace", cfg.LoginGrace}, {"idle timeout", cfg.IdleTimeout}, {"keepalive", cfg.Keepalive}} {
		if d.is < 0 {
			errs = append(errs, fmt.Errorf("%s %v is negative", d.name, d.is))
		}
	}
	if cfg.MaxSessions < 0 {
		errs = append(errs, fmt.Errorf("max sessions %d is negative", cfg.MaxSessions))
	}
	if cfg.KeepaliveCount < 0 {
		errs = append(errs, fmt.Errorf("keepalive count %d is negative", cfg.KeepaliveCount))
	}
	if cfg.Profile != session.SSHModern && cfg.Profile != session.SSHCompatible {
		errs = append(errs, fmt.Errorf("profile %q: want modern or compatible; others are for exemptions", cfg.Profile))
	}
	if cfg.RekeyAfter != 0 && cfg.RekeyAfter < minRekeyAfter {
		errs = append(errs, fmt.Errorf("rekey after %d bytes: want at least %d", cfg.RekeyAfter, minRekeyAfter))
	}
	v := cfg.ServerVersion
	if !strings.HasPrefix(v, "SSH-2.0-") || len(v) > maxServerVersion || strings.ContainsFunc(v, notVersion) {
		errs = append(errs, fmt.Errorf("server version %q: want SSH-2.0- and printable ASCII, at most %d bytes", v, maxServerVersion))
	}
	return errors.Join(errs...)
}

func notVersion(r rune) bool { return r < ' ' || r > '~' }

// Serve accepts on ln until Shutdown, ctx is done, or ln fails for good. It
// closes ln. After Shutdown it returns listener.ErrServerClosed.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if s.err != nil {
		_ = ln.Close()
		return fmt.Errorf("sftp listener %q: %w", s.cfg.Name, s.err)
	}
	return s.base.Serve(ctx, ln)
}

// Shutdown stops accepting and ends the connections: those without an open file
// at once, others when their files are closed, all when ctx is done. It returns
// when none is left.
func (s *Server) Shutdown(ctx context.Context) error { return s.base.Shutdown(ctx) }

// refuse tells why before the version exchange, where RFC 4253, section 4.2,
// allows lines of text. Most clients show it only when asked to be verbose.
func refuse(c net.Conn, cause error) {
	text := "Service not available.\r\n"
	if errors.Is(cause, session.ErrTooMany) {
		text = "Too many connections.\r\n"
	}
	_, _ = c.Write([]byte(text))
}

// handle serves one connection: the login within its grace time, then the
// channels.
func (s *Server) handle(ctx context.Context, lc *listener.Conn, a *session.Attempt) error {
	w := newWire(lc, s.pool)
	defer w.Close()
	l := &login{server: s, attempt: a, wire: w, draining: lc.Draining()}
	t, err := l.run(ctx)
	if err != nil || l.session == nil {
		return err
	}
	c := newConn(s, w, t, l.session)
	c.offered = l.offers.of(l.session.Identity().User)
	return c.serve(ctx, lc.Draining())
}
