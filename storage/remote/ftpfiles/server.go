// Package ftpfiles keeps the files of accounts on an FTP server behind the gateway: an old
// server that is to stay where it is, while its users come by other protocols.
//
// The gateway logs in there with one account, in whose tree each account of its own has a
// folder. Over TLS, who the server is is known beforehand by its certificate. An upload is
// written to a hidden name in the folder where the file is to appear, and becomes visible by
// one rename when it is complete.
//
// What FTP cannot do is refused with session.ErrUnsupported: links, writing a file in
// another order than from its beginning, reading it while it is written, cutting it. Links
// that the server has are followed by the server, which says of them at most that they are
// some: what lies behind them is the affair of whoever made them. Nothing is counted: quotas
// are not kept.
package ftpfiles

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"
	"sync"
	"time"

	"gateway/internal/pinned"
	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/ftpclient"
	"gateway/storage/remote/upstream"
)

// Config is an FTP server.
type Config struct {
	Address    string // host:port
	User       string
	Password   session.Secret
	Protection ftpclient.Protection
	// Pin is the SHA-256 of the certificate, in hex. Empty trusts Roots, nil for those of the
	// system.
	Pin   string
	Roots *x509.CertPool
	// Root is the folder there in which the accounts have theirs.
	Root string
	// Timeout is for a connection, for an answer, and for a step of a transfer. Zero means
	// upstream.DefaultTimeout.
	Timeout time.Duration
	// Connections is how many there are at most. Each carries one transfer at a time, and one
	// is left for questions. Zero means upstream.DefaultConnections.
	Connections int

	dial func(ctx context.Context, network, address string) (net.Conn, error) // of a test
}

// Check reports what in a Config cannot be.
func (c Config) Check() error {
	host, _, err := net.SplitHostPort(c.Address)
	switch {
	case err != nil:
		return fmt.Errorf("address %q: want HOST:PORT", c.Address)
	case c.Protection != ftpclient.Explicit && c.Protection != ftpclient.Implicit && c.Protection != ftpclient.None:
		return fmt.Errorf("there is no protection %q", c.Protection)
	case c.Protection == ftpclient.None && !pinned.Private(host):
		return errors.New("address: without TLS it must be an address of a private network, such as 10.1.2.3; else use tls = \"explicit\" or \"implicit\"")
	case c.Protection == ftpclient.None && (c.Pin != "" || c.Roots != nil):
		return errors.New("pin and ca: without TLS there is no certificate")
	case c.Pin != "" && !pinned.Valid(c.Pin):
		return errors.New("pin: want the SHA-256 of the certificate in hex (openssl x509 -noout -fingerprint -sha256)")
	case !path.IsAbs(c.Root) || path.Clean(c.Root) != c.Root || strings.ContainsAny(c.Root, "\r\n\x00"):
		return fmt.Errorf("path %q: want a whole path in its shortest form, such as /files", c.Root)
	case c.Connections < 0 || c.Connections == 1 || c.Connections > upstream.MaxConnections:
		return fmt.Errorf("connections: want 2 to %d, one for transfers at least and one for questions", upstream.MaxConnections)
	}
	return c.there().Check()
}

// there is the server as the client knows it.
func (c Config) there() ftpclient.Config {
	there := ftpclient.Config{Address: c.Address, User: c.User, Password: c.Password, Protection: c.Protection, Timeout: c.Timeout, Dial: c.dial}
	if c.Protection != ftpclient.None {
		there.TLS = pinned.TLS(c.Address, c.Pin, c.Roots)
	}
	return there
}

// Server is an FTP server that is connected to when somebody needs it. Its methods may be
// called at the same time from any goroutine.
type Server struct {
	cfg     Config
	pool    *upstream.Pool[*ftpclient.Conn]
	uploads upstream.Uploads

	asking sync.Mutex
	home   string // where the login begins, once that was asked
}

// New returns the Server of a Config that was checked.
func New(cfg Config) *Server {
	if cfg.Timeout == 0 {
		cfg.Timeout = upstream.DefaultTimeout
	}
	s, there := &Server{cfg: cfg}, cfg.there()
	s.pool = upstream.NewPool(upstream.PoolConfig{Connections: cfg.Connections, Exclusive: true, Timeout: cfg.Timeout},
		func(ctx context.Context) (*ftpclient.Conn, error) { return ftpclient.Dial(ctx, there) })
	return s
}

// Close ends the connections. What is under way fails.
func (s *Server) Close() error { return s.pool.Close() }

// OpenFolder opens a folder that is there, whoever's it is; "." is where the login begins.
func (s *Server) OpenFolder(ctx context.Context, folder string) (storage.FS, error) {
	f := &FS{server: s, root: path.Clean(folder)}
	c, err := f.lend(ctx, upstream.Brief)
	if err != nil {
		return nil, err
	}
	defer c.Return()
	if f.root == "." {
		f.root, err = s.begins(ctx, c)
		return f, err
	}
	switch there, err := stat(ctx, c, f.root); {
	case err != nil:
		return nil, fmt.Errorf("open folder %q on the server of the files: %w", folder, err)
	case there.Kind != ftpclient.Folder:
		return nil, fmt.Errorf("open folder %q on the server of the files: %w", folder, session.ErrNotDirectory)
	}
	return f, nil
}

// begins is the folder in which the login begins, by its whole name: what is asked later changes
// the working folder, so that it is asked once, before all else.
func (s *Server) begins(ctx context.Context, c lease) (string, error) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if s.home == "" {
		home, err := c.Conn.WorkingFolder(ctx)
		if err != nil {
			return "", fmt.Errorf("open the folder of the login on the server of the files: %w: %w", session.ErrUnavailable, err)
		}
		s.home = path.Clean(home)
	}
	return s.home, nil
}

// Open opens the folder of the account user, and makes it at its first use. A name that is
// no plain folder name is refused with session.ErrName.
func (s *Server) Open(ctx context.Context, user string) (storage.FS, error) {
	root, err := upstream.Folder(s.cfg.Root, user)
	if err != nil {
		return nil, err
	}
	if err := check(user); err != nil { // it would be the folder of another
		return nil, fmt.Errorf("open the folder of account %q: %w", user, err)
	}
	f := &FS{server: s, root: root}
	c, err := f.lend(ctx, upstream.Brief)
	if err != nil {
		return nil, err
	}
	defer c.Return()
	there, err := stat(ctx, c, root)
	switch {
	case errors.Is(err, session.ErrNotExist):
		if err := c.Conn.MakeFolder(ctx, root); err != nil {
			return nil, fmt.Errorf("make the folder of account %q on the server of the files: %w", user, err)
		}
	case err != nil:
		return nil, fmt.Errorf("open the folder of account %q on the server of the files: %w", user, err)
	case there.Kind != ftpclient.Folder:
		return nil, fmt.Errorf("open the folder of account %q on the server of the files: it is none", user)
	}
	return f, nil
}
