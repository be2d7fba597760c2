//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// heldSize is sent of each upload before it is held.
	heldSize = 4 << 20
	// weighEvery is how often the server is weighed while the uploads arrive.
	weighEvery = 100 * time.Millisecond
)

// ftpUploads weighs a server that has many uploads in flight: the most that it takes
// while they arrive or wait, less what it takes when only one session was there.
func ftpUploads(ctx context.Context, b *bench, secure bool) error {
	row := row{what: ftpName(secure) + " put", atOnce: b.options.uploads}
	for _, t := range b.ftpTargets(secure) {
		bytes, err := b.weighRounds(ctx, row.what+" in flight", t.server, func() (float64, error) {
			return weighUploads(ctx, t, b.options.uploads)
		})
		if err != nil {
			return err
		}
		row.results = append(row.results, result{server: t.name(), rate: bytes / (1 << 20)})
	}
	b.table.rows = append(b.table.rows, row)
	return nil
}

// weighUploads holds n uploads, and then ends them properly.
func weighUploads(ctx context.Context, t ftpTarget, n int) (most float64, err error) {
	first, err := t.open(ctx) // what the first one needs is not the uploads'
	if err != nil {
		return 0, err
	}
	defer first.Close()
	before, err := t.group().memory()
	if err != nil {
		return 0, err
	}
	clients, data := make([]*ftpClient, n), make([]*dataConn, n)
	defer func() {
		for i, c := range clients {
			if c != nil {
				_ = c.Close()
			}
			if data[i] != nil {
				_ = data[i].Close()
			}
			_ = os.Remove(filepath.Join(t.local, fileName(i)))
		}
	}()
	arrived := make(chan error, 1)
	go func() {
		err := parallel(idleDialers, func(i int) (err error) {
			for ; i < n && err == nil; i += idleDialers {
				if clients[i], err = t.open(ctx); err == nil {
					data[i], err = clients[i].begin("STOR", t.folder+fileName(i))
				}
			}
			return err
		})
		if err == nil {
			err = parallel(n, func(i int) error { return data[i].write(heldSize, clients[i].buffer()) })
		}
		if err == nil {
			time.Sleep(idleRest)
		}
		arrived <- err
	}()
	heaviest := before
	for done := false; !done; {
		select {
		case err := <-arrived:
			if err != nil {
				return 0, err
			}
			done = true
		case <-time.After(weighEvery):
		}
		now, err := t.group().memory()
		if err != nil {
			return 0, errors.Join(err, <-arrived)
		}
		heaviest = max(heaviest, now)
	}
	err = parallel(n, func(i int) error {
		if err := data[i].finish(); err != nil {
			return fmt.Errorf("end of upload %d: %w", i+1, err)
		}
		return clients[i].end()
	})
	return float64(heaviest - before), err
}
