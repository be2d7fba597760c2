// Package remote keeps an account's files on another SFTP server, so that an old
// server can stay where it is behind the gateway's rules and record.
//
// What storage.FS promises holds as far as the server lets it:
//
//   - An upload is written to a hidden name beside the one it is for, put on stable
//     storage by fsync@openssh.com, and shown by posix-rename@openssh.com. A server
//     without them is refused when the tree is opened.
//   - No protocol of SFTP puts a folder on stable storage: after a power failure of
//     the server the name of a file that was acknowledged may be missing.
//   - That one upload at a time resumes what another left is held within the process.
//   - Links are followed where they stay in the tree, and neither made nor shown as
//     such: Symlink and Link fail with session.ErrUnsupported.
//
// Whether a name stays in the tree is decided by what the server says of its folder
// (SSH_FXP_REALPATH) before each use; whoever can change folders there by another way
// in the moment between is trusted.
package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/storage"
)

// Config says which server it is. Address, User, HostKeys and one of Auth are needed.
type Config struct {
	Address string // host:port
	User    string
	Auth    []ssh.AuthMethod
	// HostKeys are the keys by which the server is known; any other ends the
	// connection before anything is said of the user.
	HostKeys []ssh.PublicKey
	// Root is the folder there that holds the trees, absolute. Empty means the one in
	// which the server puts User.
	Root string
	// FileMode and FolderMode are the permission bits of what a peer makes without
	// asking for others. Zero means 0640 and 0750. Umask are the bits that nothing gets.
	FileMode, FolderMode, Umask fs.FileMode
	// DialTimeout is how long the server may take until the subsystem runs. Zero means
	// 15s.
	DialTimeout time.Duration
	// RequestTimeout is how long one request may take; then the connection counts as
	// dead. Zero means 60s.
	RequestTimeout time.Duration
	// IdleTimeout is how long a connection is kept that nobody uses. Zero means 60s.
	IdleTimeout time.Duration
}

const (
	dialTimeout    = 15 * time.Second
	requestTimeout = 60 * time.Second
	idleTimeout    = 60 * time.Second
	// keepAlive is how often a connection is asked for a sign of life.
	keepAlive = 20 * time.Second
	// maxTrees is how many trees share a connection; OpenSSH's MaxSessions is 10.
	maxTrees = 8

	fileMode   fs.FileMode = 0o640
	folderMode fs.FileMode = 0o750
)

// errSetting is a Config that lacks something.
var errSetting = errors.New("remote storage")

// Server is the other server. Its methods may be called at the same time from any
// goroutine.
type Server struct {
	cfg Config

	mu     sync.Mutex
	conns  []*conn
	closed bool

	parts parts
}

// NewServer checks cfg; it does not connect.
func NewServer(cfg Config) (*Server, error) {
	switch {
	case cfg.Address == "" || cfg.User == "":
		return nil, fmt.Errorf("%w: address and user are needed", errSetting)
	case len(cfg.HostKeys) == 0:
		return nil, fmt.Errorf("%w: host_keys are needed: ssh-keyscan prints them, compare them with those of the server itself", errSetting)
	case len(cfg.Auth) == 0:
		return nil, fmt.Errorf("%w: a key or a password is needed", errSetting)
	case cfg.Root != "" && (!path.IsAbs(cfg.Root) || strings.ContainsAny(cfg.Root, "\x00\r\n")):
		return nil, fmt.Errorf("%w: root must be an absolute path", errSetting)
	case (cfg.FileMode|cfg.FolderMode|cfg.Umask)&^fs.ModePerm != 0:
		return nil, fmt.Errorf("modes of files and folders: setuid, setgid and sticky: %w", session.ErrUnsupported)
	}
	cfg.FileMode, cfg.FolderMode = cmp.Or(cfg.FileMode, fileMode), cmp.Or(cfg.FolderMode, folderMode)
	cfg.DialTimeout, cfg.RequestTimeout = cmp.Or(cfg.DialTimeout, dialTimeout), cmp.Or(cfg.RequestTimeout, requestTimeout)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, idleTimeout)
	return &Server{cfg: cfg}, nil
}

// Open opens the tree in the folder name below Root, "." for Root itself. With create
// it is made, for User alone (0700), where it is not there.
func (s *Server) Open(ctx context.Context, name string, create bool) (*FS, error) {
	if checkName(name) != nil {
		return nil, fmt.Errorf("open %q on %s: %w", name, s.cfg.Address, session.ErrName)
	}
	f := &FS{server: s}
	root, err := f.enter(ctx, name, create)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open %q on %s: %w", name, s.cfg.Address, err)
	}
	f.root = root
	return f, nil
}

// Close ends all connections, and with them what is open.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.conns {
		_ = c.ssh.Close()
	}
	s.conns = nil
	return nil
}

var _ storage.FS = (*FS)(nil)
