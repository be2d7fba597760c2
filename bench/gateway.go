package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	benchUser     = "bench"
	benchPassword = "Bench-4711-tables"
	startTimeout  = 30 * time.Second
	stopTimeout   = 20 * time.Second
	// ticksPerSecond is USER_HZ, which is 100 on every Linux.
	ticksPerSecond = 100
)

// gateway is an installation that runs for as long as the benchmark.
type gateway struct {
	dir   string
	addrs map[string]string // by the listener's name
	key   ssh.Signer
	cmd   *exec.Cmd
	log   bytes.Buffer
}

// startGateway builds the gateway, makes an installation with one account, and
// waits until it listens.
func startGateway(ctx context.Context, dir string) (g *gateway, err error) {
	g = &gateway{addrs: map[string]string{}}
	base := dir
	if g.dir, err = os.MkdirTemp(base, "gateway-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			g.stop()
		}
	}()
	binary := filepath.Join(g.dir, "gateway")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "gateway/cmd/gateway").CombinedOutput(); err != nil {
		return g, fmt.Errorf("build gateway: %w\n%s", err, out)
	}
	cli := func(stdin string, args ...string) error {
		cmd := exec.CommandContext(ctx, binary, append([]string{"--config", filepath.Join(g.dir, "gateway.hcl")}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("gateway %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := cli("", "init", "--dir", g.dir, "--hostname", "localhost"); err != nil {
		return g, err
	}
	if err := g.configure(); err != nil {
		return g, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return g, err
	}
	if g.key, err = ssh.NewSignerFromKey(private); err != nil {
		return g, err
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		return g, err
	}
	keyFile := filepath.Join(g.dir, "bench.pub")
	if err := os.WriteFile(keyFile, ssh.MarshalAuthorizedKey(line), 0o600); err != nil {
		return g, err
	}
	for _, step := range [][]string{
		{benchPassword + "\n", "user", "add", benchUser, "--group", "users", "--group", "mail", "--password-stdin"},
		{"", "user", "address", "add", benchUser, benchUser + "@example.com"},
		{"", "user", "key", "add", benchUser, keyFile},
	} {
		if err := cli(step[0], step[1:]...); err != nil {
			return g, err
		}
	}
	g.cmd = exec.Command(binary, "--config", filepath.Join(g.dir, "gateway.hcl"), "run")
	g.cmd.Stdout, g.cmd.Stderr = &g.log, &g.log
	if err := g.cmd.Start(); err != nil {
		return g, fmt.Errorf("start gateway: %w", err)
	}
	for _, addr := range g.addrs {
		if err := waitFor(ctx, addr); err != nil {
			return g, fmt.Errorf("gateway does not listen on %s: %w", addr, err)
		}
	}
	return g, nil
}

// waitFor waits until something listens on addr.
func waitFor(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the gateway and removes the installation.
func (g *gateway) stop() {
	if g.cmd != nil && g.cmd.Process != nil {
		_ = g.cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(stopTimeout, func() { _ = g.cmd.Process.Kill() })
		_ = g.cmd.Wait()
		timer.Stop()
	}
	_ = os.RemoveAll(g.dir)
}

// configure writes gateway.hcl, with listeners on free ports.
func (g *gateway) configure() error {
	text := "hostname = \"localhost\"\nshutdown_grace = \"5s\"\n"
	for _, l := range []struct{ name, protocol, tls string }{
		{"ftp", "ftp", "explicit"}, {"ftps", "ftp", "implicit"}, {"sftp", "sftp", ""},
		{"submission", "submission", "explicit"}, {"submissions", "submission", "implicit"},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		g.addrs[l.name] = ln.Addr().String()
		_ = ln.Close()
		text += fmt.Sprintf("listener %q {\n  protocol = %q\n  address = %q\n", l.name, l.protocol, g.addrs[l.name])
		if l.tls != "" {
			text += fmt.Sprintf("  tls = %q\n", l.tls)
		}
		text += "}\n"
	}
	text += "mail { route = \"maildir://mail\" }\n" +
		"limits {\n  trusted = [\"127.0.0.0/8\"]\n  connections = 20000\n  unauthenticated = 4096\n  sessions_per_user = 20000\n}\n"
	if err := os.WriteFile(filepath.Join(g.dir, "gateway.hcl"), []byte(text), 0o600); err != nil {
		return err
	}
	// Plain FTP is let in, to be measured.
	policy := "allow \"transfer\" {\n  protocol = [\"ftp\", \"sftp\"]\n  group = [\"users\"]\n}\n" +
		"allow \"submission\" {\n  protocol = [\"submission\"]\n  group = [\"mail\"]\n}\n"
	return os.WriteFile(filepath.Join(g.dir, "policy.hcl"), []byte(policy), 0o600)
}

// cpu is the processor time that the gateway has used.
func (g *gateway) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after) // begins with the third field of proc_pid_stat(5)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc stat of %d fields", len(fields))
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("/proc stat %q", stat)
	}
	return time.Duration(user+system) * time.Second / ticksPerSecond, nil
}

// memory is the gateway's resident set in bytes.
func (g *gateway) memory() (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", g.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		return 0, err
	}
	return resident * int64(os.Getpagesize()), nil
}

// measure runs one piece of work and says how long it and the gateway took.
func (g *gateway) measure(work func() error) (took, cpu time.Duration, err error) {
	before, err := g.cpu()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := work(); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	after, err := g.cpu()
	return took, after - before, err
}
