//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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

// movers are sessions with one server, and the folder on disk that they move files
// to and from.
type movers struct {
	server server
	folder string
	open   func() (mover, error)
}

// sftpTransfers put and get by 1, 4 and 16 sessions at once.
func sftpTransfers(ctx context.Context, b *bench) error {
	var peers []movers
	for _, t := range b.sftpTargets() {
		peers = append(peers, movers{t.server, t.local, func() (mover, error) {
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
		}})
	}
	return b.compareMoves(ctx, "SFTP", peers)
}

// ftpTransfers do the same by FTP.
func ftpTransfers(ctx context.Context, b *bench, secure bool) error {
	var peers []movers
	for _, t := range b.ftpTargets(secure) {
		peers = append(peers, movers{t.server, t.local, func() (mover, error) {
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
		}})
	}
	return b.compareMoves(ctx, ftpName(secure), peers)
}

// compareMoves measures both directions. Sessions are opened before, and closed
// after what is measured; a get reads what the put before it wrote.
func (b *bench) compareMoves(ctx context.Context, what string, peers []movers) error {
	for _, n := range sessions() {
		each := b.options.size / int64(n)
		for _, put := range []bool{true, false} {
			name := what + " get"
			if put {
				name = what + " put"
			}
			var trials []trial
			for _, p := range peers {
				trials = append(trials, trial{p.server, func() (job, error) { return p.job(n, put, each) }})
			}
			if err := b.compare(ctx, name, n, float64(each)*float64(n), trials...); err != nil {
				return err
			}
		}
	}
	return nil
}

// job moves n files of a size at once. What is put is not there before: to replace a
// file whole takes the memory of two, and servers that write over the old one take
// that of one.
func (p movers) job(n int, put bool, each int64) (job, error) {
	open := make([]mover, 0, n)
	j := job{
		work: func() error {
			return parallel(n, func(i int) error { return open[i].move(put, fileName(i), each) })
		},
		cleanup: func() {
			for _, m := range open {
				_ = m.close()
			}
		},
	}
	for range n {
		m, err := p.open()
		if err != nil {
			return j, err
		}
		open = append(open, m)
	}
	if !put {
		return j, nil
	}
	for i := range n {
		if err := removeOld(filepath.Join(p.folder, fileName(i))); err != nil {
			return j, err
		}
	}
	return j, warmMemory(int64(n) * each)
}

// removeOld removes what an earlier round wrote, if there was one.
func removeOld(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func fileName(i int) string { return fmt.Sprint("file", i) }
