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
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"gateway/session"
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
	// way. Zero means 20 s.
	Timeout time.Duration
}

const defaultTimeout = 20 * time.Second

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

// Server is an SFTP server that is connected to when somebody needs it, and stays so. Its
// methods may be called at the same time from any goroutine.
type Server struct {
	cfg Config

	mu     sync.Mutex
	client *sftp.Client
	under  *ssh.Client     // what client speaks over
	busy   map[string]bool // paths of uploads that are under way

	// naming is held while it is looked whether a name is free, and it is taken.
	naming sync.Mutex
}

// New returns the Server of a Config that was checked.
func New(cfg Config) *Server {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	return &Server{cfg: cfg, busy: make(map[string]bool)}
}

// Close ends the connection. What is under way fails.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	err := s.under.Close() // which ends the client; closed by itself it would wait for the server
	s.client, s.under = nil, nil
	return err
}

// connected returns the client of the connection, which it makes if there is none. The
// error wraps session.ErrUnavailable.
func (s *Server) connected(ctx context.Context) (*sftp.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	under, c, err := s.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the server of the files: %w: %w", session.ErrUnavailable, err)
	}
	s.client, s.under = c, under
	return c, nil
}

func (s *Server) connect(ctx context.Context) (*ssh.Client, *sftp.Client, error) {
	auth, err := s.cfg.auth()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	over, channels, requests, err := ssh.NewClientConn(conn, s.cfg.Address, &ssh.ClientConfig{
		User: s.cfg.User, Auth: []ssh.AuthMethod{auth}, HostKeyCallback: s.known,
	})
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, nil, err
	}
	client := ssh.NewClient(over, channels, requests)
	files, err := sftp.NewClient(client, sftp.UseConcurrentReads(true), sftp.UseConcurrentWrites(true))
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		if _, can := files.HasExtension(extRename); !can {
			err = fmt.Errorf("it has no %s, so that no file could be replaced at once", extRename)
		}
	}
	if err != nil {
		_ = client.Close()
		return nil, nil, err
	}
	go s.watch(client, files)
	return client, files, nil
}

// known accepts the keys that are configured.
func (s *Server) known(_ string, _ net.Addr, key ssh.PublicKey) error {
	got := ssh.FingerprintSHA256(key)
	if slices.Contains(s.cfg.HostKeys, got) {
		return nil
	}
	return fmt.Errorf("its host key is %s, and configured is %s: if it was replaced, change host_keys; else somebody is between", got, strings.Join(s.cfg.HostKeys, " or "))
}

// watch asks now and then whether the server is there, and ends the connection if it does
// not answer: whoever waits for it then hears of that, and the next one connects anew.
func (s *Server) watch(client *ssh.Client, files *sftp.Client) {
	over := make(chan struct{})
	go func() {
		_ = files.Wait()
		close(over)
	}()
	tick := time.NewTicker(s.cfg.Timeout)
	defer tick.Stop()
	for alive := true; alive; {
		select {
		case <-over:
			alive = false
		case <-tick.C:
			late := time.AfterFunc(s.cfg.Timeout, func() { _ = client.Close() })
			if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				alive = false
			}
			late.Stop()
		}
	}
	s.mu.Lock()
	if s.client == files {
		s.client, s.under = nil, nil
	}
	s.mu.Unlock()
	_ = client.Close()
}

// take reserves a path for an upload.
func (s *Server) take(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[path] {
		return false
	}
	s.busy[path] = true
	return true
}

func (s *Server) free(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, path)
}

// underWay reports whether an upload of a path is.
func (s *Server) underWay(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy[path]
}
