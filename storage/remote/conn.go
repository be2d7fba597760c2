package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"gateway/storage/remote/upstream"
)

// conn is a connection to the server.
type conn struct {
	files *sftp.Client
	under *ssh.Client // what files speaks over
	over  atomic.Bool
}

// Ping implements upstream.Conn.
func (c *conn) Ping(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	_, _, err := c.under.SendRequest("keepalive@openssh.com", true, nil)
	return err
}

// Broken implements upstream.Conn.
func (c *conn) Broken() bool { return c.over.Load() }

// Close implements upstream.Conn. It ends what the client speaks over: closed by itself it
// would wait for the server.
func (c *conn) Close() error {
	c.over.Store(true)
	if err := c.under.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// enlarge has OpenSSH send and take as much at once as it can. Of others, how much they can
// is not known.
func (c *conn) enlarge() error {
	const (
		extLimits = "limits@openssh.com" // OpenSSH has it since it takes so much
		most      = 255 << 10
		atOnce    = 8 // requests for one file
	)
	if _, can := c.files.HasExtension(extLimits); !can || !bytes.HasPrefix(c.under.ServerVersion(), []byte("SSH-2.0-OpenSSH_")) {
		return nil
	}
	return errors.Join(sftp.MaxPacketUnchecked(most)(c.files), sftp.MaxConcurrentRequestsPerFile(atOnce)(c.files))
}

// client is a connection that somebody has.
type client struct {
	*sftp.Client
	lease *upstream.Lease[*conn]
}

// giveBack lets others have the connection. There may be none.
func (c *client) giveBack() {
	if c != nil {
		c.lease.Return()
	}
}

// connected returns a connection, made if need be. Errors but those of ctx wrap
// session.ErrUnavailable.
func (s *Server) connected(ctx context.Context) (*client, error) {
	lease, err := s.pool.Get(ctx, upstream.Brief)
	if err != nil {
		return nil, err
	}
	return &client{lease.Conn.files, lease}, nil
}

// connect makes a connection.
func (s *Server) connect(ctx context.Context) (*conn, error) {
	auth, err := s.cfg.auth()
	if err != nil {
		return nil, err
	}
	dial := s.cfg.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	bare, err := dial(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = bare.Close() })
	over, channels, requests, err := ssh.NewClientConn(bare, s.cfg.Address, &ssh.ClientConfig{
		User: s.cfg.User, Auth: []ssh.AuthMethod{auth}, HostKeyCallback: s.known,
	})
	if err != nil {
		stop()
		_ = bare.Close()
		return nil, err
	}
	c := &conn{under: ssh.NewClient(over, channels, requests)}
	c.files, err = sftp.NewClient(c.under, sftp.UseConcurrentReads(true), sftp.UseConcurrentWrites(true))
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		if _, can := c.files.HasExtension(extRename); !can {
			err = fmt.Errorf("it has no %s, so that no file could be replaced at once", extRename)
		}
	}
	if err == nil {
		err = c.enlarge()
	}
	if err != nil {
		_ = c.under.Close()
		return nil, err
	}
	go func() { // ends with the connection
		_ = c.files.Wait()
		_ = c.Close()
	}()
	return c, nil
}
