package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

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

// measureIdle holds sessions in which nothing happens.
func measureIdle(_ context.Context, g *gateway, o options, out io.Writer) error {
	before, err := g.memory()
	if err != nil {
		return err
	}
	for range o.idle {
		c, err := dialSSH(g, ssh.PublicKeys(g.key))
		if err != nil {
			return err
		}
		defer c.Close()
	}
	after, err := g.memory()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "SFTP\t%d\t%.0f\t\t\n", o.idle, float64(after-before)/1024/float64(o.idle))
	return nil
}
