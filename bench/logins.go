package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

const loginClients = 8

// measureLogins makes whole SSH connections, one after another by each client. A
// password is hashed the first time and answered from the memo afterwards.
func measureLogins(_ context.Context, g *gateway, o options, out io.Writer) error {
	for _, kind := range []struct {
		name string
		auth ssh.AuthMethod
	}{{"SFTP key", ssh.PublicKeys(g.key)}, {"SFTP password, repeated", ssh.Password(benchPassword)}} {
		var left atomic.Int64
		left.Store(int64(o.logins))
		took, cpu, err := g.measure(func() error {
			return parallel(loginClients, func(int) error {
				for left.Add(-1) >= 0 {
					c, err := dialSSH(g, kind.auth)
					if err != nil {
						return err
					}
					_ = c.Close()
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
		rateRow(out, kind.name, loginClients, o.logins, took, cpu)
	}
	return nil
}

// measureIdle holds sessions in which nothing happens, of one protocol after the
// other; all stay open, since the memory of those that are closed is not given back at once.
func measureIdle(_ context.Context, g *gateway, o options, out io.Writer) error {
	for _, p := range []struct {
		name string
		dial func() (io.Closer, error)
	}{
		{"SFTP", func() (io.Closer, error) { return dialIdleSFTP(g) }},
		{"FTP", func() (io.Closer, error) { return dialIdleFTP(g, false) }},
		{"FTPS", func() (io.Closer, error) { return dialIdleFTP(g, true) }},
		{"submissions", func() (io.Closer, error) { return dialSMTP(g) }},
	} {
		before, err := g.memory()
		if err != nil {
			return err
		}
		for i := range o.idle {
			c, err := p.dial()
			if err != nil {
				return fmt.Errorf("%s session %d: %w", p.name, i+1, err)
			}
			defer c.Close()
		}
		after, err := g.memory()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\t%d\t%.0f\t\t\n", p.name, o.idle, float64(after-before)/1024/float64(o.idle))
	}
	return nil
}

// dialIdleSFTP has the subsystem running.
func dialIdleSFTP(g *gateway) (io.Closer, error) {
	conn, err := dialSSH(g, ssh.PublicKeys(g.key))
	if err != nil {
		return nil, err
	}
	c, err := sftp.NewClient(conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

func dialIdleFTP(g *gateway, secure bool) (io.Closer, error) {
	c, err := dialFTP(g, secure)
	if err != nil {
		return nil, err
	}
	return c.conn, nil
}
