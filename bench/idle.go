//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// idleDialers open sessions at once; more would measure the handshakes.
	idleDialers = 4
	// idleRest is how long sessions are left alone before they are weighed.
	idleRest = 2 * time.Second
	// idleSources are the addresses that FTP sessions come from.
	idleSources = 16
	// maxPeerIdle is how many sessions a peer holds at most.
	maxPeerIdle = 1000
)

// holder is a server, and how its session i is opened.
type holder struct {
	server
	open func(i int) (io.Closer, error)
}

// restarter is a server that can be started anew, where it listened before.
type restarter interface {
	restart(context.Context) error
}

func sftpIdle(ctx context.Context, b *bench) error {
	var holders []holder
	for _, t := range b.sftpTargets() {
		holders = append(holders, holder{t.server, func(int) (io.Closer, error) { return t.open(ctx, smallBuffer) }})
	}
	return b.weighIdle(ctx, "SFTP", holders)
}

// ftpIdle comes from several addresses, so that none runs out of ports.
func ftpIdle(ctx context.Context, b *bench, secure bool) error {
	var holders []holder
	for _, t := range b.ftpTargets(secure) {
		holders = append(holders, holder{t.server, func(i int) (io.Closer, error) {
			return t.openFrom(ctx, net.IPv4(127, 0, 0, byte(2+i%idleSources)))
		}})
	}
	return b.weighIdle(ctx, ftpName(secure), holders)
}

func mailIdle(ctx context.Context, b *bench) error {
	var secure, plain []holder
	for _, t := range b.mailTargets() {
		secure = append(secure, holder{t.server, func(int) (io.Closer, error) { return t.open(ctx) }})
		plain = append(plain, holder{t.server, func(int) (io.Closer, error) { return t.openPlain(ctx) }})
	}
	if err := b.weighIdle(ctx, "submission, TLS", secure); err != nil {
		return err
	}
	return b.weighIdle(ctx, "mail in clear", plain)
}

// weighIdle holds sessions, logged in, in which nothing happens. Most peers have
// processes for each, which cost the same however many there are: so they hold
// maxPeerIdle at most.
func (b *bench) weighIdle(ctx context.Context, what string, holders []holder) error {
	row := row{what: what, atOnce: b.options.idle}
	for i, h := range holders {
		n := b.options.idle
		if i > 0 {
			n = min(n, maxPeerIdle)
		}
		each, err := b.weighRounds(ctx, "idle "+what, h.server, func() (float64, error) { return weigh(ctx, h, n) })
		if err != nil {
			return err
		}
		row.results = append(row.results, result{server: h.name(), rate: each / 1024})
	}
	b.table.rows = append(b.table.rows, row)
	return nil
}

// weighRounds returns the median of the gateway's rounds: how much garbage it has
// when it is weighed, that of the first password's hash above all, is chance. The
// memory of peers varies little, and they are weighed once. Servers are started
// anew before, where they can, since most programs keep memory that was used.
func (b *bench) weighRounds(ctx context.Context, what string, s server, weigh func() (float64, error)) (float64, error) {
	rounds := 1
	if s == server(b.gateway) {
		rounds = b.options.rounds
	}
	var all []float64
	for round := range rounds {
		b.progress.show("%s: %s, round %d of %d", what, s.name(), round+1, rounds)
		var weight float64
		var err error
		if r, ok := s.(restarter); ok {
			err = r.restart(ctx)
		}
		if err == nil {
			weight, err = weigh()
		}
		if err != nil {
			return 0, fmt.Errorf("%s, %s: %w%s", what, s.name(), err, lastWords(s))
		}
		all = append(all, weight)
	}
	return middle(all), nil
}

// weigh returns the bytes that each of n sessions takes.
func weigh(ctx context.Context, h holder, n int) (float64, error) {
	first, err := h.open(0) // what the first one needs is not each one's
	if err != nil {
		return 0, err
	}
	defer first.Close()
	before, err := h.group().memory()
	if err != nil {
		return 0, err
	}
	var mu sync.Mutex
	var held []io.Closer
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	err = parallel(idleDialers, func(i int) error {
		for ; i < n; i += idleDialers {
			c, err := h.open(i)
			if err != nil {
				return fmt.Errorf("session %d: %w", i+1, err)
			}
			mu.Lock()
			held = append(held, c)
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(idleRest):
	}
	after, err := h.group().memory()
	return float64(after-before) / float64(n), err
}
