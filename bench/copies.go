//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// copyCalls are the system calls by which bytes can move.
func copyCalls() []string {
	return []string{"sendfile", "splice", "copy_file_range", "read", "pread64", "recvfrom", "write", "pwrite64", "writev", "sendto"}
}

// ftpCopies shows by which system calls the gateway moves a file in clear, how often
// and how many bytes. splice counts each byte twice, into a pipe and out of it. It is
// evidence rather than a measure: strace slows down what it watches.
func ftpCopies(ctx context.Context, b *bench) error {
	strace, err := findProgram("strace")
	if err != nil {
		b.table.notes = append(b.table.notes, "system calls: left out, "+err.Error())
		return nil
	}
	t := b.ftpTargets(false)[0]
	c, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, move := range []struct {
		what string
		run  func(name string, size int64) error
	}{{"FTP put", c.put}, {"FTP get", c.get}} {
		b.progress.show("system calls: %s", move.what)
		calls, err := b.traced(ctx, strace, func() error { return move.run("copied", b.options.size) })
		var skip errSkip
		if errors.As(err, &skip) {
			b.table.notes = append(b.table.notes, "system calls: left out, "+err.Error())
			return nil
		}
		if err != nil {
			return err
		}
		b.table.notes = append(b.table.notes, fmt.Sprintf("%s of %d MiB by the gateway: %s", move.what, b.options.size>>20, calls))
	}
	return nil
}

// traced runs work, and returns what strace saw the gateway do meanwhile. It is an
// errSkip where one process may not look into another.
func (b *bench) traced(ctx context.Context, strace string, work func() error) (string, error) {
	file := filepath.Join(b.dir, "strace")
	pid := b.gateway.group().cmd.Process.Pid
	watcher, err := startGroup("strace", exec.Command(strace, "-f", "-q", "-s", "0", "-e", "signal=none",
		"-e", "trace="+strings.Join(copyCalls(), ","), "-o", file, "-p", strconv.Itoa(pid)))
	if err != nil {
		return "", err
	}
	err = waitTraced(ctx, watcher, pid)
	if err == nil {
		err = work()
	}
	watcher.stop() // it lets go, and writes the rest
	if err != nil {
		return "", err
	}
	trace, err := os.ReadFile(file)
	return summary(string(trace)), err
}

// waitTraced waits until each thread of a process is traced.
func waitTraced(ctx context.Context, watcher *group, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil {
			return err
		}
		free := func(name string) bool {
			status, err := os.ReadFile(name)
			return err == nil && bytes.Contains(status, []byte("\nTracerPid:\t0\n"))
		}
		if !slices.ContainsFunc(names, free) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("strace does not attach to process %d: %w", pid, ctx.Err())
		case <-watcher.ended:
			return errSkip(watcher.output.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tracedCall finds the name and the outcome of a call that succeeded, in a line of
// its own or in the second half of an interrupted one.
var tracedCall = regexp.MustCompile(`^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed).* = (\d+)$`)

// summary counts the calls of a trace and the bytes that they moved.
func summary(trace string) string {
	calls, moved := map[string]int{}, map[string]int64{}
	for line := range strings.Lines(trace) {
		if found := tracedCall.FindStringSubmatch(strings.TrimSpace(line)); found != nil {
			n, err := strconv.ParseInt(found[2], 10, 64)
			if err != nil {
				continue // no count of bytes is that long
			}
			calls[found[1]]++
			moved[found[1]] += n
		}
	}
	var parts []string
	for _, name := range copyCalls() {
		if calls[name] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d (%.1f MiB)", name, calls[name], float64(moved[name])/(1<<20)))
		}
	}
	return strings.Join(parts, ", ")
}
