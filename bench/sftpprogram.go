//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// sftpClientTransfers put and get one file by OpenSSH's client, which asks for as much at
// once as the server says that it may. It names one cipher, and then takes the first of
// its own that the server has.
func sftpClientTransfers(ctx context.Context, b *bench) error {
	program, err := findProgram("sftp")
	if err != nil {
		b.table.notes = append(b.table.notes, "OpenSSH's client: left out, "+err.Error())
		return nil
	}
	source := filepath.Join(b.files, "client-source")
	defer os.Remove(source)
	if err := writeZeros(source, b.options.size); err != nil {
		return err
	}
	for _, way := range []struct {
		what    string
		options []string
	}{
		{b.options.cipher, []string{"-o", "Ciphers=" + b.options.cipher}},
		{"its own cipher", nil},
	} {
		var puts, gets []trial
		for _, t := range b.sftpTargets() {
			made := filepath.Join(t.local, "client")
			defer os.Remove(made)
			puts = append(puts, trial{t.server, func() (job, error) {
				if err := errors.Join(removeOld(made), warmMemory(b.options.size)); err != nil {
					return job{}, err
				}
				j, err := b.batchJob(ctx, t, program, "put "+source+" client\n", io.Discard, way.options...)
				run := j.work
				j.work = func() error {
					if err := run(); err != nil {
						return err
					}
					stat, err := os.Stat(made)
					if err == nil && stat.Size() != b.options.size {
						err = fmt.Errorf("put made %d bytes of %d", stat.Size(), b.options.size)
					}
					return err
				}
				return j, err
			}})
			gets = append(gets, trial{t.server, func() (job, error) {
				return b.batchJob(ctx, t, program, "get client "+os.DevNull+"\n", io.Discard, way.options...)
			}})
		}
		if err := b.compare(ctx, "SFTP put, "+way.what, 1, float64(b.options.size), puts...); err != nil {
			return err
		}
		if err := b.compare(ctx, "SFTP get, "+way.what, 1, float64(b.options.size), gets...); err != nil {
			return err
		}
	}
	return nil
}

// writeZeros makes a file of that size, without holes.
func writeZeros(name string, size int64) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	zeros := make([]byte, 1<<20)
	for left := size; left > 0; left -= int64(len(zeros)) {
		if _, err := file.Write(zeros[:min(left, int64(len(zeros)))]); err != nil {
			return err
		}
	}
	return file.Close()
}

// batchJob is one session of OpenSSH's client, from its start to its end. What the
// server does after that counts as its processor time.
func (b *bench) batchJob(ctx context.Context, t sftpTarget, program, commands string, out io.Writer, options ...string) (job, error) {
	before, err := t.group().processes()
	if err != nil {
		return job{}, err
	}
	return job{
		work:   func() error { return t.batch(ctx, program, b.identity, commands, out, options...) },
		settle: func() error { return settle(ctx, t.group(), len(before)) },
	}, nil
}

// batch runs commands in a session of OpenSSH's client, without the settings of the user.
func (t sftpTarget) batch(ctx context.Context, program, identity, commands string, out io.Writer, options ...string) error {
	host, port, err := net.SplitHostPort(t.addr)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, append(options, "-q", "-F", "none", "-o", "UserKnownHostsFile="+os.DevNull,
		"-o", "GlobalKnownHostsFile="+os.DevNull, "-o", "StrictHostKeyChecking=no", "-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes",
		"-i", identity, "-P", port, "-b", "-", t.user+"@"+host)...)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(commands), out, &errs
	if err := cmd.Run(); err != nil {
		first, _, _ := strings.Cut(commands, "\n")
		return fmt.Errorf("sftp %s: %w\n%s", first, err, strings.TrimSpace(errs.String()))
	}
	return nil
}
