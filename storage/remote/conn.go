package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"gateway/session"
)

// conn is one connection to the server, which several trees share.
type conn struct {
	ssh   *ssh.Client
	trees int         // under the lock of Server
	idle  *time.Timer // the same; set while there are none
	dead  atomic.Bool
}

// link is a run of the subsystem over a connection. It ends when whoever uses it, a
// tree and what is open of it, has given it back.
type link struct {
	server *Server
	conn   *conn
	sftp   *sftp.Client
	users  atomic.Int64
}

var (
	errHostKey = errors.New("the server has another host key than those configured: it was changed, or this is not the server")
	errLacking = errors.New("the server lacks an extension that uploads need")
)

// link begins a run of the subsystem, over a connection with room or a new one.
func (s *Server) link(ctx context.Context) (*link, error) {
	c, err := s.conn(ctx)
	if err != nil {
		return nil, err
	}
	stop := time.AfterFunc(s.cfg.DialTimeout, c.kill)
	defer stop.Stop()
	client, err := sftp.NewClient(c.ssh, sftp.UseConcurrentWrites(true), sftp.UseFstat(true))
	if err != nil {
		s.leave(c)
		return nil, fmt.Errorf("begin sftp: %w: %w", session.ErrUnavailable, err)
	}
	for _, name := range []string{"posix-rename@openssh.com", "fsync@openssh.com"} {
		if _, has := client.HasExtension(name); !has {
			_ = client.Close()
			s.leave(c)
			return nil, fmt.Errorf("%w: %s", errLacking, name)
		}
	}
	l := &link{server: s, conn: c, sftp: client}
	l.users.Store(1)
	return l, nil
}

// share counts one more user, who gives it back by leave.
func (l *link) share() *link {
	l.users.Add(1)
	return l
}

func (l *link) leave() {
	if l.users.Add(-1) == 0 {
		// The peer may have hung up, or hang: nobody waits for it.
		stop := time.AfterFunc(l.server.cfg.RequestTimeout, l.conn.kill)
		go func() {
			_ = l.sftp.Close()
			stop.Stop()
			l.server.leave(l.conn)
		}()
	}
}

func (c *conn) kill() {
	c.dead.Store(true)
	_ = c.ssh.Close()
}

// conn finds a connection with room, or makes one, and counts a tree on it.
func (s *Server) conn(ctx context.Context) (*conn, error) {
	s.mu.Lock()
	for _, c := range s.conns {
		if c.trees < maxTrees && !c.dead.Load() {
			c.trees++
			if c.idle != nil {
				c.idle.Stop()
				c.idle = nil
			}
			s.mu.Unlock()
			return c, nil
		}
	}
	s.mu.Unlock()
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.ssh.Close()
		return nil, session.ErrClosed
	}
	s.conns = append(s.conns, c)
	return c, nil
}

// leave takes a tree off a connection, which ends when nobody uses it for a while.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.trees--; c.trees == 0 {
		c.idle = time.AfterFunc(s.cfg.IdleTimeout, func() { s.retire(c) })
	}
}

func (s *Server) retire(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.trees == 0 {
		c.kill()
	}
}

func (s *Server) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DialTimeout)
	defer cancel()
	var d net.Dialer
	tcp, err := d.DialContext(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	c, channels, requests, err := ssh.NewClientConn(tcp, s.cfg.Address, &ssh.ClientConfig{
		User: s.cfg.User, Auth: s.cfg.Auth, HostKeyCallback: s.checkHostKey, HostKeyAlgorithms: s.hostKeyAlgorithms(),
		ClientVersion: "SSH-2.0-Gateway",
	})
	if !stop() || err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, errors.Join(err, ctx.Err()))
	}
	made := &conn{ssh: ssh.NewClient(c, channels, requests), trees: 1}
	go s.watch(made)
	return made, nil
}

func (s *Server) checkHostKey(_ string, _ net.Addr, key ssh.PublicKey) error {
	for _, k := range s.cfg.HostKeys {
		if bytes.Equal(k.Marshal(), key.Marshal()) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", errHostKey, ssh.FingerprintSHA256(key))
}

// hostKeyAlgorithms are those of the keys that are known, so that the server shows one
// of them.
func (s *Server) hostKeyAlgorithms() []string {
	var list []string
	for _, k := range s.cfg.HostKeys {
		if k.Type() == ssh.KeyAlgoRSA {
			list = append(list, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			list = append(list, k.Type())
		}
	}
	return list
}

// watch asks for a sign of life until the connection ends, and ends it if none comes.
func (s *Server) watch(c *conn) {
	ended := make(chan struct{})
	var once sync.WaitGroup
	once.Go(func() {
		_ = c.ssh.Wait()
		close(ended)
	})
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	for alive := true; alive; {
		select {
		case <-ended:
			alive = false
		case <-ticker.C:
			stop := time.AfterFunc(s.cfg.RequestTimeout, c.kill)
			_, _, err := c.ssh.SendRequest("keepalive@openssh.com", true, nil)
			stop.Stop()
			alive = err == nil
		}
	}
	c.kill()
	once.Wait()
	s.forget(c)
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.conns {
		if other == c {
			s.conns = append(s.conns[:i], s.conns[i+1:]...)
			return
		}
	}
}
