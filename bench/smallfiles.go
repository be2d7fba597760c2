//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	smallSize    = 4 << 10
	smallClients = 4 // connections of lftp
)

// ftpSmallFiles mirrors a folder to the server and back by lftp.
func ftpSmallFiles(ctx context.Context, b *bench) error {
	lftp, err := findProgram("lftp")
	if err != nil {
		b.table.notes = append(b.table.notes, "small files: left out, "+err.Error())
		return nil
	}
	n, source := b.options.small, filepath.Join(b.files, "small")
	if err := makeFiles(source, n, smallSize); err != nil {
		return err
	}
	defer os.RemoveAll(source)
	var puts, gets []trial
	for _, t := range b.ftpTargets(false) {
		up, down := filepath.Join(t.local, "small-put"), filepath.Join(t.local, "small-get")
		defer os.RemoveAll(down)
		if err := makeFiles(down, n, smallSize); err != nil {
			return err
		}
		mirror := func(commands, made string) (job, error) {
			return job{
				work: func() error {
					if err := t.lftp(ctx, lftp, commands); err != nil {
						return err
					}
					names, err := readNames(made)
					if err == nil && len(names) != n {
						err = fmt.Errorf("lftp made %d files of %d", len(names), n)
					}
					return err
				},
				cleanup: func() { _ = os.RemoveAll(made) },
			}, nil
		}
		copied := filepath.Join(b.files, "small-copied")
		puts = append(puts, trial{t.server, func() (job, error) {
			return mirror(fmt.Sprintf("mirror -R %s %s %ssmall-put", mirrorOptions, source, t.folder), up)
		}})
		gets = append(gets, trial{t.server, func() (job, error) {
			return mirror(fmt.Sprintf("mirror %s %ssmall-get %s", mirrorOptions, t.folder, copied), copied)
		}})
	}
	if err := b.compare(ctx, "FTP put, 4 KiB", smallClients, float64(n), puts...); err != nil {
		return err
	}
	return b.compare(ctx, "FTP get, 4 KiB", smallClients, float64(n), gets...)
}

// mirrorOptions leave modes out. Times are set where FEAT says that they can be, as
// everywhere but with vsftpd.
var mirrorOptions = fmt.Sprintf("--no-perms --parallel=%d", smallClients)

// lftp runs a command after a login, without the settings of the user.
func (t ftpTarget) lftp(ctx context.Context, program, command string) error {
	script := fmt.Sprintf("set cmd:fail-exit true; set net:max-retries 1; set ftp:ssl-allow false; open -u %s,%s ftp://%s && %s",
		t.user, t.password, t.addr, command)
	cmd := exec.CommandContext(ctx, program, "--norc", "-c", script)
	cmd.Env = append(os.Environ(), "LFTP_HOME="+os.DevNull)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lftp %s: %w\n%s", command, err, strings.TrimSpace(string(out)))
	}
	return nil
}
