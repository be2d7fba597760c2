//go:build linux

package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	loginClients = 32
	// smallBuffer is enough to log in.
	smallBuffer = 4 << 10
	// settleTimeout is how long a server may take to end what was closed.
	settleTimeout = 10 * time.Second
)

// sftpLogins make whole sessions, one after the other by each client, until they
// could be used.
func sftpLogins(ctx context.Context, b *bench) error {
	for _, m := range []func(context.Context, *bench) error{keyLogins, hashedLogins, rememberedLogins} {
		if err := m(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// keyLogins start the sftp subsystem each.
func keyLogins(ctx context.Context, b *bench) error {
	var trials []trial
	for _, t := range b.sftpTargets() {
		trials = append(trials, trial{t.server, func() (job, error) {
			return loginJob(ctx, t.server, b.options.logins, func(int) error { return t.visit(ctx) })
		}})
	}
	return b.compare(ctx, "SFTP, key", loginClients, float64(b.options.logins), trials...)
}

// hashedLogins are the first of many accounts, so that each costs a hash.
func hashedLogins(ctx context.Context, b *bench) error {
	t := b.sftpTargets()[0]
	t.auth = ssh.Password(benchPassword)
	return b.compare(ctx, "SFTP, password, hashed", loginClients, float64(b.options.accounts), trial{t.server, func() (job, error) {
		if err := b.gateway.restart(ctx); err != nil { // it remembers none
			return job{}, err
		}
		return loginJob(ctx, t.server, b.options.accounts, func(i int) error {
			t := t
			t.user = accountName(i)
			return t.visit(ctx)
		})
	}})
}

// rememberedLogins are of one account, whose password was verified before.
func rememberedLogins(ctx context.Context, b *bench) error {
	t := b.sftpTargets()[0]
	t.auth = ssh.Password(benchPassword)
	return b.compare(ctx, "SFTP, password, from the memo", loginClients, float64(b.options.logins), trial{t.server, func() (job, error) {
		if err := t.visit(ctx); err != nil {
			return job{}, err
		}
		return loginJob(ctx, t.server, b.options.logins, func(int) error { return t.visit(ctx) })
	}})
}

// visit opens a session and leaves.
func (t sftpTarget) visit(ctx context.Context) error {
	c, err := t.open(ctx, smallBuffer)
	if err != nil {
		return err
	}
	_ = c.Close()
	return nil
}

// ftpLogins have next to no cryptography: they show what the way in costs. Each
// logs in, asks where it is, and takes its leave. vsftpd's are anonymous, and
// verify nothing.
func ftpLogins(ctx context.Context, b *bench, secure bool) error {
	var trials []trial
	for _, t := range b.ftpTargets(secure) {
		trials = append(trials, trial{t.server, func() (job, error) {
			if err := t.visit(ctx); err != nil { // the gateway remembers the password
				return job{}, err
			}
			return loginJob(ctx, t.server, b.options.logins, func(int) error { return t.visit(ctx) })
		}})
	}
	return b.compare(ctx, ftpName(secure)+", password, from the memo", loginClients, float64(b.options.logins), trials...)
}

// visit is the shortest session that has done something.
func (t ftpTarget) visit(ctx context.Context) error {
	c, err := t.login(ctx, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.do(257, "PWD", ""); err != nil {
		return err
	}
	_, err = c.do(221, "QUIT", "")
	return err
}

// loginJob pays n visits by loginClients at once. What the server
// does after a session was closed counts as its processor time.
func loginJob(ctx context.Context, s server, n int, visit func(i int) error) (job, error) {
	before, err := s.group().processes()
	if err != nil {
		return job{}, err
	}
	var next atomic.Int64
	return job{
		work: func() error {
			return parallel(loginClients, func(int) error {
				for {
					i := int(next.Add(1)) - 1
					if i >= n {
						return nil
					}
					if err := visit(i); err != nil {
						return fmt.Errorf("login %d: %w", i+1, err)
					}
				}
			})
		},
		settle: func() error { return settle(ctx, s.group(), len(before)) },
	}, nil
}

// settle waits until the processes of sessions have ended.
func settle(ctx context.Context, g *group, processes int) error {
	deadline := time.Now().Add(settleTimeout)
	for time.Now().Before(deadline) {
		now, err := g.processes()
		if err != nil || len(now) <= processes {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
