//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
)

// ftpTarget is where sessions are opened, in clear, or by TLS for commands and data.
type ftpTarget struct {
	server
	addr, user, password string
	folder               string // that can be written to; empty, or ends in a slash
	local                string // the same folder on disk
	secure               bool
}

// ftpTargets are the gateway and the peers that run.
func (b *bench) ftpTargets(secure bool) []ftpTarget {
	targets := []ftpTarget{{
		server: b.gateway, addr: b.gateway.addrs["ftp"], user: benchUser, password: benchPassword,
		local: b.gateway.home, secure: secure,
	}}
	for _, p := range b.ftpPeers {
		targets = append(targets, ftpTarget{
			server: p, addr: p.addr, user: p.user, password: p.password,
			folder: p.folder, local: filepath.Join(p.home, p.folder), secure: secure,
		})
	}
	return targets
}

// ftpName is what a row is called.
func ftpName(secure bool) string {
	if secure {
		return "FTPS"
	}
	return "FTP"
}

// overFTP are the parts of a table that one function measures both ways.
func overFTP(run func(ctx context.Context, b *bench, secure bool) error) []part {
	return []part{
		{"ftp", func(ctx context.Context, b *bench) error { return run(ctx, b, false) }},
		{"ftps", func(ctx context.Context, b *bench) error { return run(ctx, b, true) }},
	}
}

// makeFiles puts n files of size zeros into a new folder on disk. The one above it
// is missing where nobody has logged in yet.
func makeFiles(dir string, n, size int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	zeros := make([]byte, size)
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fileName(i)), zeros, 0o644); err != nil {
			return err
		}
	}
	return nil
}
