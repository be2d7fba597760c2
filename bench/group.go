//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	stopTimeout = 15 * time.Second
	// maxLog is how much of a server's output is kept, to be shown if it does not start.
	maxLog = 64 << 10
	// ticksPerSecond is USER_HZ, which is 100 on every Linux.
	ticksPerSecond = 100
)

// group is a server: the process that was started, and all its descendants. They
// are in a control group of their own where one can be made (cgroups(7), version 2);
// it counts exactly, and no descendant escapes. Elsewhere the process tree is walked.
type group struct {
	cmd    *exec.Cmd
	cgroup string // folder of the control group; empty means that the tree is walked
	output head
	ended  chan struct{} // closed when the first process has ended
	once   sync.Once
}

// head keeps the first maxLog bytes that are written to it.
type head struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf.Write(p[:min(len(p), maxLog-h.buf.Len())])
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.TrimSpace(h.buf.String())
}

// startGroup starts cmd. Signals of the terminal do not reach it: stop ends it.
func startGroup(name string, cmd *exec.Cmd) (*group, error) {
	g := &group{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &g.output, &g.output
	// A descendant that keeps the output open must not keep Wait waiting.
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		dir := filepath.Join(root, fmt.Sprintf("bench-%d-%s", os.Getpid(), name))
		if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil || os.Mkdir(dir, 0o755) != nil {
			continue
		}
		folder, err := os.Open(dir)
		if err != nil {
			_ = os.Remove(dir)
			continue
		}
		defer folder.Close()
		g.cgroup = dir
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(folder.Fd())
		break
	}
	err := cmd.Start()
	if err != nil && g.cgroup != "" { // one may make groups, but not enter them
		_ = os.Remove(g.cgroup)
		g.cgroup = ""
		cmd.SysProcAttr.UseCgroupFD = false
		retry := exec.Command(cmd.Path, cmd.Args[1:]...)
		retry.Dir, retry.Env, retry.Stdout, retry.Stderr, retry.WaitDelay, retry.SysProcAttr =
			cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay, cmd.SysProcAttr
		g.cmd, err = retry, retry.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = g.cmd.Wait()
		close(g.ended)
	}()
	return g, nil
}

// stop asks the first process to end, kills what is left of the group after
// stopTimeout, and waits. It may be called from any goroutine, and twice.
func (g *group) stop() {
	g.once.Do(func() {
		tree, _ := g.processes()
		_ = g.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-g.ended:
		case <-time.After(stopTimeout):
			_ = g.cmd.Process.Kill()
			<-g.ended
		}
		if g.cgroup == "" {
			for _, p := range tree { // those that outlived the first one
				if now, err := readProcess(p.pid); err == nil && now.began == p.began {
					_ = syscall.Kill(p.pid, syscall.SIGKILL)
				}
			}
			return
		}
		for range 100 {
			_ = os.WriteFile(filepath.Join(g.cgroup, "cgroup.kill"), []byte("1"), 0)
			if err := os.Remove(g.cgroup); err == nil || errors.Is(err, os.ErrNotExist) {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// cpu is the processor time that the group has used, by processes that have
// ended too.
func (g *group) cpu() (time.Duration, error) {
	if g.cgroup != "" {
		stat, err := os.ReadFile(filepath.Join(g.cgroup, "cpu.stat"))
		if err != nil {
			return 0, err
		}
		return parseUsage(string(stat))
	}
	tree, err := g.processes()
	var sum time.Duration
	for _, p := range tree {
		sum += p.cpu
	}
	return sum, err
}

// memory is the group's share of memory in bytes: pages that several processes
// have in common are counted once.
func (g *group) memory() (int64, error) {
	tree, err := g.processes()
	var sum int64
	for _, p := range tree {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		if err != nil {
			continue // it has just ended
		}
		pss, err := parsePss(string(rollup))
		if err != nil {
			return 0, err
		}
		sum += pss
	}
	return sum, err
}

// processes are those that live now.
func (g *group) processes() ([]process, error) {
	if g.cgroup != "" {
		procs, err := os.ReadFile(filepath.Join(g.cgroup, "cgroup.procs"))
		if err != nil {
			return nil, err
		}
		var found []process
		for _, word := range strings.Fields(string(procs)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return nil, err
			}
			if p, err := readProcess(pid); err == nil {
				found = append(found, p)
			}
		}
		return found, nil
	}
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children := map[int][]process{}
	var root []process
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		p, err := readProcess(pid)
		if err != nil {
			continue // it has just ended
		}
		if pid == g.cmd.Process.Pid {
			root = append(root, p)
		}
		children[p.parent] = append(children[p.parent], p)
	}
	for i := 0; i < len(root); i++ {
		root = append(root, children[root[i].pid]...)
	}
	return root, nil
}

// process is one line of /proc/PID/stat.
type process struct {
	pid, parent int
	began       string        // tells two processes of one pid apart
	cpu         time.Duration // with that of children that were waited for
}

func readProcess(pid int) (process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	return parseStat(pid, string(stat))
}

// parseStat reads proc_pid_stat(5). The name of a process may hold anything.
func parseStat(pid int, stat string) (process, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // begins with the third field
	if len(fields) < 20 {
		return process{}, fmt.Errorf("stat of process %d has %d fields", pid, len(fields))
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return process{}, fmt.Errorf("parent of process %d: %w", pid, err)
	}
	var ticks int64
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return process{}, fmt.Errorf("times of process %d: %w", pid, err)
		}
		ticks += n
	}
	return process{pid, parent, fields[19], time.Duration(ticks) * time.Second / ticksPerSecond}, nil
}

// parseUsage finds the time in cpu.stat.
func parseUsage(stat string) (time.Duration, error) {
	for line := range strings.Lines(stat) {
		if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, errors.New("cpu.stat has no usage_usec")
}

// parsePss finds the bytes in smaps_rollup (proc_pid_smaps(5)).
func parsePss(rollup string) (int64, error) {
	for line := range strings.Lines(rollup) {
		if value, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("smaps_rollup has no Pss")
}

// ownCPU is the processor time of the client: of this process, and of the programs
// that it ran and that have ended.
func ownCPU() (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		_ = syscall.Getrusage(who, &u) // fails for a wrong first argument only
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
