//go:build linux

package main

import (
	"context"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// sessions is how many share a transfer.
func sessions() []int { return []int{1, 4, 16} }

// sftpBuffer is the client's, while something moves.
const sftpBuffer = 256 << 10

// sftpTargets are the gateway and the peers that run.
func (b *bench) sftpTargets() []sftpTarget {
	auth := ssh.PublicKeys(b.key)
	targets := []sftpTarget{{b.gateway, b.gateway.addrs["sftp"], benchUser, b.options.cipher, auth, b.gateway.home}}
	if b.openssh != nil {
		targets = append(targets, sftpTarget{b.openssh, b.openssh.addr, peerAccount, b.options.cipher, auth, b.openssh.folder})
	}
	for _, p := range b.sftpPeers {
		targets = append(targets, sftpTarget{p, p.addr, p.user, b.options.cipher, auth, p.home})
	}
	return targets
}

// mover is a session that moves files.
type mover struct {
	move  func(put bool, name string, size int64) error
	close func() error
}

// sftpTransfers put and get by 1, 4 and 16 sessions at once.
func sftpTransfers(ctx context.Context, b *bench) error {
	var servers []server
	var open []func() (mover, error)
	for _, t := range b.sftpTargets() {
		servers = append(servers, t.server)
		open = append(open, func() (mover, error) {
			c, err := t.open(ctx, sftpBuffer)
			if err != nil {
				return mover{}, err
			}
			return mover{func(put bool, name string, size int64) error {
				if put {
					return c.put(name, size)
				}
				return c.get(name, size)
			}, c.Close}, nil
		})
	}
	return b.compareMoves(ctx, "SFTP", servers, open)
}

// ftpTransfers do the same by FTP.
func ftpTransfers(ctx context.Context, b *bench, secure bool) error {
	var servers []server
	var open []func() (mover, error)
	for _, t := range b.ftpTargets(secure) {
		servers = append(servers, t.server)
		open = append(open, func() (mover, error) {
			c, err := t.open(ctx)
			if err != nil {
				return mover{}, err
			}
			return mover{func(put bool, name string, size int64) error {
				if put {
					return c.put(t.folder+name, size)
				}
				return c.get(t.folder+name, size)
			}, c.Close}, nil
		})
	}
	return b.compareMoves(ctx, ftpName(secure), servers, open)
}

// compareMoves measures both directions. Sessions are opened before, and closed
// after what is measured; a get reads what the put before it wrote.
func (b *bench) compareMoves(ctx context.Context, what string, servers []server, open []func() (mover, error)) error {
	for _, n := range sessions() {
		each := b.options.size / int64(n)
		for _, put := range []bool{true, false} {
			name := what + " get"
			if put {
				name = what + " put"
			}
			var trials []trial
			for i, s := range servers {
				trials = append(trials, trial{s, func() (job, error) { return moveJob(open[i], n, put, each) }})
			}
			if err := b.compare(ctx, name, n, float64(each)*float64(n), trials...); err != nil {
				return err
			}
		}
	}
	return nil
}

func moveJob(open func() (mover, error), n int, put bool, each int64) (job, error) {
	movers := make([]mover, 0, n)
	j := job{
		work: func() error {
			return parallel(n, func(i int) error { return movers[i].move(put, fileName(i), each) })
		},
		cleanup: func() {
			for _, m := range movers {
				_ = m.close()
			}
		},
	}
	for range n {
		m, err := open()
		if err != nil {
			return j, err
		}
		movers = append(movers, m)
	}
	return j, nil
}

func fileName(i int) string { return fmt.Sprint("file", i) }
