//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// sink is Postfix's smtp-sink, which takes any mail and forgets it. While it is stopped,
// whoever sends to it waits.
type sink struct {
	addr string
	cmd  *exec.Cmd

	mu    sync.Mutex
	taken int
	more  chan struct{} // closed when taken has changed
}

// sinkConnections is how many it serves at once.
const sinkConnections = 400

func startSink() (*sink, error) {
	path, err := findProgram("smtp-sink")
	if err != nil {
		return nil, err
	}
	s := &sink{more: make(chan struct{})}
	if s.addr, err = freeAddress(); err != nil {
		return nil, err
	}
	s.cmd = exec.Command(path, "-u", "nobody", "-c", "-m", strconv.Itoa(sinkConnections), s.addr, "1000")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start smtp-sink: %w", err)
	}
	go s.follow(out)
	return s, nil
}

// follow reads its counters, "sess=1 quit=0 mesg=17" and a carriage return.
func (s *sink) follow(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\r')
		if err != nil {
			return
		}
		_, number, _ := strings.Cut(line, "mesg=")
		if n, err := strconv.Atoi(strings.TrimSpace(number)); err == nil {
			s.mu.Lock()
			s.taken = n
			close(s.more)
			s.more = make(chan struct{})
			s.mu.Unlock()
		}
	}
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// wait waits until it has taken n messages since it was started.
func (s *sink) wait(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	for {
		s.mu.Lock()
		taken, more := s.taken, s.more
		s.mu.Unlock()
		if taken >= n {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("%d messages of %d have gone on after %v", taken, n, drainTimeout)
		}
	}
}

func (s *sink) stop() error   { return s.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *sink) resume() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// end ends it.
func (s *sink) end() {
	if s != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}
