//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// copyCalls are the system calls by which bytes can move.
func copyCalls() []string {
	return []string{"sendfile", "splice", "copy_file_range", "read", "pread64", "recvfrom", "write", "pwrite64", "writev", "sendto"}
}

// ftpCopies shows by which system calls the gateway moves a file in clear. It is
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
		if err != nil {
			return err
		}
		b.table.notes = append(b.table.notes, fmt.Sprintf("%s of %d MiB by the gateway: %s", move.what, b.options.size>>20, calls))
	}
	return nil
}

// traced runs work, and returns what strace saw the gateway do meanwhile.
func (b *bench) traced(ctx context.Context, strace string, work func() error) (string, error) {
	file := filepath.Join(b.dir, "strace")
	pid := b.gateway.group().cmd.Process.Pid
	cmd := exec.CommandContext(ctx, strace, "-f", "-q", "-s", "0", "-e", "signal=none",
		"-e", "trace="+strings.Join(copyCalls(), ","), "-o", file, "-p", strconv.Itoa(pid))
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		return "", err
	}
	err := waitTraced(ctx, pid)
	if err == nil {
		err = work()
	}
	_ = cmd.Process.Signal(syscall.SIGINT) // it lets go, and writes the rest
	_ = cmd.Wait()                         // and then ends by the same signal
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, complaint.String())
	}
	trace, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return summary(string(trace)), nil
}

// waitTraced waits until each thread of a process is traced.
func waitTraced(ctx context.Context, pid int) error {
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(names, func(name string) bool {
			status, err := os.ReadFile(name)
			return err == nil && bytes.Contains(status, []byte("\nTracerPid:\t0\n"))
		}) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("strace could not attach to process %d", pid)
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
