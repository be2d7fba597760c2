// Package remote keeps the files of accounts on an SFTP server behind the gateway: an old
// server that is to stay where it is, or one that is nearer to where the files belong.
//
// The gateway logs in there with one account, in whose tree each account of its own has a
// folder. Who the server is is known beforehand by its host key. An upload is written to a
// hidden name in the folder where the file is to appear, and becomes visible by one rename
// when it is complete. Links are shown, and never followed: the server may resolve them to
// anything. Nothing is counted: quotas are not kept.
package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/storage/remote/upstream"
)

// Config is an SFTP server.
type Config struct {
	Address string // host:port
	User    string
	// Password or Key, a private key in the form of OpenSSH, is how to log in.
	Password session.Secret
	Key      session.Secret
	// HostKeys are the fingerprints of the keys that the server may have, "SHA256:...".
	HostKeys []string
	// Root is the folder there in which the accounts have theirs.
	Root string
	// Timeout is for a connection, and for an answer that nothing else shows to be on its
	// way. Zero means upstream.DefaultTimeout.
	Timeout time.Duration
	// Connections is how many there are at most, each for several at the same time. Zero
	// means upstream.DefaultConnections.
	Connections int

	dial func(ctx context.Context, network, address string) (net.Conn, error) // of a test
}

// Check reports what in a Config cannot be.
func (c Config) Check() error {
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return fmt.Errorf("address %q: want HOST:PORT", c.Address)
	}
	switch {
	case c.User == "":
		return errors.New("user: say who logs in there")
	case c.Password.Empty() == c.Key.Empty():
		return errors.New("password or key: say one of them")
	case len(c.HostKeys) == 0 || slices.ContainsFunc(c.HostKeys, func(k string) bool { return !strings.HasPrefix(k, "SHA256:") }):
		return errors.New(`host_keys: want fingerprints, "SHA256:..." (ssh-keyscan HOST | ssh-keygen -lf -)`)
	case !path.IsAbs(c.Root) || path.Clean(c.Root) != c.Root:
		return fmt.Errorf("path %q: want a whole path in its shortest form, such as /srv/files", c.Root)
	case c.Connections < 0 || c.Connections > upstream.MaxConnections:
		return fmt.Errorf("connections: want 1 to %d", upstream.MaxConnections)
	}
	_, err := c.auth()
	return err
}

func (c Config) auth() (ssh.AuthMethod, error) {
	if c.Key.Empty() {
		return ssh.Password(c.Password.Reveal()), nil
	}
	signer, err := ssh.ParsePrivateKey([]byte(c.Key.Reveal()))
	if err != nil {
		return nil, errors.New("key: it is no private key that can be read without a passphrase")
	}
	return ssh.PublicKeys(signer), nil
}

// What a server must be able to do, and what it is better for.
const (
	extRename  = "posix-rename@openssh.com" // to replace a file at once
	extSync    = "fsync@openssh.com"        // without it, the server says when content is safe
	extStatVFS = "statvfs@openssh.com"
)

// Server is an SFTP server that is connected to when somebody needs it, by up to
// Config.Connections at once. Its methods may be called at the same time from any goroutine.
type Server struct {
	cfg     Config
	pool    *upstream.Pool[*conn]
	uploads upstream.Uploads
}

// New returns the Server of a Config that was checked.
func New(cfg Config) *Server {
	if cfg.Timeout == 0 {
		cfg.Timeout = upstream.DefaultTimeout
	}
	s := &Server{cfg: cfg}
	s.pool = upstream.NewPool(upstream.PoolConfig{Connections: cfg.Connections, Timeout: cfg.Timeout}, s.connect)
	return s
}

// Close ends the connections. What is under way fails.
func (s *Server) Close() error { return s.pool.Close() }

// known accepts the keys that are configured.
func (s *Server) known(_ string, _ net.Addr, key ssh.PublicKey) error {
	got := ssh.FingerprintSHA256(key)
	if slices.Contains(s.cfg.HostKeys, got) {
		return nil
	}
	return fmt.Errorf("its host key is %s, and configured is %s: if it was replaced, change host_keys; else somebody is between", got, strings.Join(s.cfg.HostKeys, " or "))
}
