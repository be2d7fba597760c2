//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// idleDialers open sessions at once; more would measure the handshakes.
	idleDialers = 4
	// idleRest is how long sessions are left alone before they are weighed.
	idleRest = 2 * time.Second
)

// holder is a server, and how a session of it is opened.
type holder struct {
	server
	open func() (io.Closer, error)
}

// measureIdle holds sessions, logged in, in which nothing happens. The gateway is
// started anew for each protocol, since a Go program keeps memory that was used.
func measureIdle(ctx context.Context, b *bench) error {
	var sftp, mail []holder
	for _, t := range b.sftpTargets() {
		sftp = append(sftp, holder{t.server, func() (io.Closer, error) { return t.open(ctx, smallBuffer) }})
	}
	for _, t := range b.mailTargets() {
		mail = append(mail, holder{t.server, func() (io.Closer, error) { return t.open(ctx) }})
	}
	ftp := func(secure bool) (all []holder) {
		for _, t := range b.ftpTargets(secure) {
			all = append(all, holder{t.server, func() (io.Closer, error) { return t.open(ctx) }})
		}
		return all
	}
	for _, p := range []struct {
		name    string
		holders []holder
	}{{"SFTP", sftp}, {"FTP", ftp(false)}, {"FTPS", ftp(true)}, {"submission, TLS", mail}} {
		row := row{what: p.name, atOnce: b.options.idle}
		for _, h := range p.holders {
			each, err := b.weighRounds(ctx, p.name, h)
			if err != nil {
				return fmt.Errorf("%s, %s: %w%s", p.name, h.name(), err, lastWords(h.server))
			}
			row.results = append(row.results, result{server: h.name(), rate: each / 1024})
		}
		b.table.rows = append(b.table.rows, row)
	}
	return nil
}

// weighRounds returns the median of the gateway's rounds: how much garbage it has
// when it is weighed, that of the first password's hash above all, is chance. The
// memory of peers, which fork, varies little, and they are weighed once.
func (b *bench) weighRounds(ctx context.Context, what string, h holder) (float64, error) {
	if h.server != server(b.gateway) {
		b.progress.show("idle %s: %s", what, h.name())
		return weigh(ctx, h, b.options.idle)
	}
	var all []float64
	for round := range b.options.rounds {
		b.progress.show("idle %s: gateway, round %d of %d", what, round+1, b.options.rounds)
		if err := b.gateway.restart(ctx); err != nil {
			return 0, err
		}
		each, err := weigh(ctx, h, b.options.idle)
		if err != nil {
			return 0, err
		}
		all = append(all, each)
	}
	return middle(all), nil
}

// weigh returns the bytes that each of n sessions takes.
func weigh(ctx context.Context, h holder, n int) (float64, error) {
	first, err := h.open() // what the first one needs is not each one's
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
			c, err := h.open()
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
