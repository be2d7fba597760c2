//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	smallSize    = 4 << 10
	smallClients = 4 // connections of lftp
)

// sftpSmallFiles copies a folder to the server and back by OpenSSH's client, in one
// session each.
func sftpSmallFiles(ctx context.Context, b *bench) error {
	program, err := findProgram("sftp")
	if err != nil {
		b.table.notes = append(b.table.notes, "small files by SFTP: left out, "+err.Error())
		return nil
	}
	n, source := b.options.small, filepath.Join(b.files, "small")
	if err := makeFiles(source, n, smallSize); err != nil {
		return err
	}
	defer os.RemoveAll(source)
	var puts, gets []trial
	for _, t := range b.sftpTargets() {
		down := filepath.Join(t.local, "small-get")
		defer os.RemoveAll(down)
		if err := makeFiles(down, n, smallSize); err != nil {
			return err
		}
		copied := filepath.Join(b.files, "small-copied")
		puts = append(puts, trial{t.server, func() (job, error) {
			return b.copyTree(ctx, t, program, putTree+"put -r "+source+" put", filepath.Join(t.local, "put/small"))
		}})
		gets = append(gets, trial{t.server, func() (job, error) {
			return b.copyTree(ctx, t, program, "get -r small-get "+copied, copied)
		}})
	}
	if err := b.compare(ctx, "SFTP put, 4 KiB", 1, float64(n), puts...); err != nil {
		return err
	}
	return b.compare(ctx, "SFTP get, 4 KiB", 1, float64(n), gets...)
}

// putTree makes the folders first, where they are not there: the client asks for the
// whole path of that into which it puts, and mod_sftp knows none of what is not there.
const putTree = "-mkdir put\n-mkdir put/small\n"

// copyTree runs commands that must make a folder with the small files.
func (b *bench) copyTree(ctx context.Context, t sftpTarget, program, commands, made string) (job, error) {
	j, err := b.batchJob(ctx, t, program, commands+"\n", io.Discard, "-o", "Ciphers="+t.cipher)
	run := j.work
	j.work = func() error {
		if err := run(); err != nil {
			return err
		}
		names, err := readNames(made)
		if err == nil && len(names) != b.options.small {
			err = fmt.Errorf("sftp made %d files of %d", len(names), b.options.small)
		}
		return err
	}
	j.cleanup = func() { _ = os.RemoveAll(made) }
	return j, err
}

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
