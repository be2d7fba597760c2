//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	// listRepeats makes a round long enough to be measured.
	listRepeats = 10
	// listExtras is how many lines a listing may have beside its entries: a total,
	// and the two folders that every folder holds.
	listExtras = 3
)

// sftpListing lists one folder again and again in a session of OpenSSH's client.
func sftpListing(ctx context.Context, b *bench) error {
	program, err := findProgram("sftp")
	if err != nil {
		b.table.notes = append(b.table.notes, "listings by SFTP: left out, "+err.Error())
		return nil
	}
	n := b.options.entries
	var trials []trial
	for _, t := range b.sftpTargets() {
		folder := filepath.Join(t.local, "list")
		defer os.RemoveAll(folder)
		if err := makeFiles(folder, n, 0); err != nil {
			return err
		}
		trials = append(trials, trial{t.server, func() (job, error) {
			var lines lineCount
			// The commands are not printed.
			j, err := b.batchJob(ctx, t, program, strings.Repeat("@ls -1f list\n", listRepeats), &lines, "-o", "Ciphers="+t.cipher)
			run := j.work
			j.work = func() error {
				if err := run(); err != nil {
					return err
				}
				if int(lines) < n*listRepeats || int(lines) > (n+listExtras)*listRepeats {
					return fmt.Errorf("ls: %d lines for %d entries, %d times", lines, n, listRepeats)
				}
				return nil
			}
			return j, err
		}})
	}
	return b.compare(ctx, fmt.Sprintf("SFTP, %d entries", n), 1, float64(n*listRepeats), trials...)
}

// ftpListing lists one folder with many entries, again and again.
func ftpListing(ctx context.Context, b *bench) error {
	n := b.options.entries
	var trials []trial
	for _, t := range b.ftpTargets(false) {
		folder := filepath.Join(t.local, "list")
		defer os.RemoveAll(folder)
		if err := makeFiles(folder, n, 0); err != nil {
			return err
		}
		trials = append(trials, trial{t.server, func() (job, error) {
			c, err := t.open(ctx)
			if err != nil {
				return job{}, err
			}
			return job{
				work: func() error {
					for range listRepeats {
						lines, err := c.list(t.folder + "list")
						if err != nil {
							return err
						}
						if lines < n || lines > n+listExtras {
							return fmt.Errorf("LIST: %d lines for %d entries", lines, n)
						}
					}
					return nil
				},
				cleanup: func() { _ = c.Close() },
			}, nil
		}})
	}
	return b.compare(ctx, fmt.Sprintf("FTP, %d entries", n), 1, float64(n*listRepeats), trials...)
}

// lineCount counts the lines that are written to it.
type lineCount int

func (n *lineCount) Write(p []byte) (int, error) {
	*n += lineCount(bytes.Count(p, []byte{'\n'}))
	return len(p), nil
}
