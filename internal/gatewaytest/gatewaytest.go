// Package gatewaytest runs the built gateway, as a process of its own, for tests
// that look at it from outside: real clients, signals, kill -9.
package gatewaytest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gateway/admin"
)

// Config is a gateway.hcl for tests: every listener on a port of the kernel's
// choice on loopback, under the names and modes that init writes.
const Config = `
hostname       = "localhost"
shutdown_grace = "10s"
listener "ftp"         { 
  protocol = "ftp" 
  address = "127.0.0.1:0" 
}
listener "ftps"        { 
  protocol = "ftp" 
  address = "127.0.0.1:0" 
  tls = "implicit" 
}
listener "sftp"        { 
  protocol = "sftp" 
  address = "127.0.0.1:0" 
}
listener "relay"       { 
  protocol = "relay" 
  address = "127.0.0.1:0" 
}
listener "submission"  { 
  protocol = "submission" 
  address = "127.0.0.1:0" 
}
listener "submissions" { 
  protocol = "submission" 
  address = "127.0.0.1:0" 
  tls = "implicit" 
}
listener "metrics"     { 
  protocol = "metrics" 
  address = "127.0.0.1:0" 
}
ftp {
  passive_ports = "20000-29999"
}
mail { route = "maildir://mail" }
`

// Options change what Start starts. The zero value is what init writes.
type Options struct {
	Config string            // replaces Config
	State  string            // folder of the state; the Config must name it too
	Policy string            // replaces the policy that init writes
	Users  map[string]string // accounts to make, with passwords; all in the groups users and mail
	Env    []string          // added to the environment
}

// Gateway is an installation and, between Run and Stop, its process.
type Gateway struct {
	Dir string

	state  string
	t      testing.TB
	binary string
	env    []string
	cmd    *exec.Cmd
	exited chan error
	stderr *buffer
	addrs  map[string]string
}

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
)

// Start makes an installation in a temporary folder and runs it until the end
// of the test.
func Start(t testing.TB, o Options) *Gateway {
	t.Helper()
	g := Install(t, o)
	g.Run()
	return g
}

// Install makes an installation that is not running yet.
func Install(t testing.TB, o Options) *Gateway {
	t.Helper()
	g := &Gateway{Dir: t.TempDir(), state: o.State, t: t, binary: Binary(t), env: append(os.Environ(), o.Env...)}
	g.CLI("", "init", "--dir", g.Dir, "--hostname", "localhost")
	if o.Config == "" {
		o.Config = Config
	}
	if g.state == "" {
		g.state = filepath.Join(g.Dir, "state")
	}
	g.Write("gateway.hcl", o.Config)
	if o.Policy != "" {
		g.Write("policy.hcl", o.Policy)
	}
	for user, password := range o.Users {
		g.AddUser(user, password)
	}
	return g
}

// AddUser makes an account in the groups users and mail that may send as
// user@example.com.
func (g *Gateway) AddUser(user, password string) {
	g.t.Helper()
	g.CLI(password+"\n", "user", "add", user, "--group", "users", "--group", "mail", "--password-stdin")
	g.CLI("", "user", "address", "add", user, user+"@example.com")
}

// Write writes a file of the installation.
func (g *Gateway) Write(name, content string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.Dir, name), []byte(content), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// Run starts the process and waits until it is ready.
func (g *Gateway) Run() {
	g.t.Helper()
	// The socket of sd_notify(3) tells when the gateway is ready.
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(g.Dir, "notify.sock"), Net: "unixgram"})
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = notify.Close(); _ = os.Remove(notify.LocalAddr().String()) }()
	g.stderr = &buffer{}
	g.cmd = exec.Command(g.binary, "--config", filepath.Join(g.Dir, "gateway.hcl"), "run")
	g.cmd.Env = append(g.env, "NOTIFY_SOCKET="+notify.LocalAddr().String())
	g.cmd.Stdout, g.cmd.Stderr = g.stderr, g.stderr
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	exited := make(chan error, 1)
	g.exited = exited
	cmd := g.cmd
	go func() {
		exited <- cmd.Wait()
		_ = notify.SetReadDeadline(time.Now())
	}()
	g.t.Cleanup(func() { _ = cmd.Process.Kill() })
	_ = notify.SetReadDeadline(time.Now().Add(startTimeout))
	word := make([]byte, 256)
	n, err := notify.Read(word)
	if err != nil || !strings.Contains(string(word[:n]), "READY=1") {
		g.t.Fatalf("the gateway did not become ready (%v):\n%s", err, g.stderr)
	}
	g.learnAddresses()
}

func (g *Gateway) learnAddresses() {
	g.t.Helper()
	client, err := admin.Dial(g.t.Context(), filepath.Join(g.state, "control.sock"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer client.Close()
	status, err := admin.Call[admin.Status](g.t.Context(), client, "node.status", struct{}{})
	if err != nil {
		g.t.Fatal(err)
	}
	g.addrs = map[string]string{}
	for _, l := range status.Listeners {
		g.addrs[l.Name] = l.Address
	}
}

// Addr is the address of a listener, host:port.
func (g *Gateway) Addr(listener string) string {
	g.t.Helper()
	addr := g.addrs[listener]
	if addr == "" {
		g.t.Fatalf("no listener %q", listener)
	}
	return addr
}

// Port is the port of a listener.
func (g *Gateway) Port(listener string) string {
	g.t.Helper()
	_, port, err := net.SplitHostPort(g.Addr(listener))
	if err != nil {
		g.t.Fatal(err)
	}
	return port
}

// PID is the process.
func (g *Gateway) PID() int { return g.cmd.Process.Pid }

// Signal sends a signal to the process.
func (g *Gateway) Signal(s syscall.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.t.Fatal(err)
	}
}

// Wait waits for the process to end and returns its error.
func (g *Gateway) Wait() error {
	g.t.Helper()
	select {
	case err := <-g.exited:
		return err
	case <-time.After(stopTimeout):
		_ = g.cmd.Process.Signal(syscall.SIGQUIT)
		g.t.Fatalf("the gateway did not stop:\n%s", g.stderr)
		return nil
	}
}

// Stop stops the process as an operator would.
func (g *Gateway) Stop() {
	g.t.Helper()
	g.Signal(syscall.SIGTERM)
	if err := g.Wait(); err != nil {
		g.t.Fatalf("stop: %v\n%s", err, g.stderr)
	}
}

// Kill ends the process at once, as a power cut would.
func (g *Gateway) Kill() {
	g.t.Helper()
	g.Signal(syscall.SIGKILL)
	_ = g.Wait()
}

// Log is what the process wrote so far.
func (g *Gateway) Log() string { return g.stderr.String() }

// CLI runs a command of the gateway and returns what it printed; the test fails
// if the command does.
func (g *Gateway) CLI(stdin string, args ...string) string {
	g.t.Helper()
	out, errOut, err := g.Try(stdin, args...)
	if err != nil {
		g.t.Fatalf("gateway %s: %v\n%s%s", strings.Join(args, " "), err, out, errOut)
	}
	return out
}

// Try runs a command that may fail.
func (g *Gateway) Try(stdin string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, g.binary, append([]string{"--config", filepath.Join(g.Dir, "gateway.hcl")}, args...)...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = g.env, strings.NewReader(stdin), &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// builder builds the binary once for all tests of a process.
type builder struct {
	once sync.Once
	path string
	err  error
}

var built builder //nolint: one binary for all tests of the process

// Binary returns the path of the built gateway. With the race detector on in
// the test, it is on in the gateway.
func Binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		dir, err := os.MkdirTemp("", "gateway-bin-")
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "gateway")
		args := []string{"build", "-o", built.path}
		if Race {
			args = append(args, "-race")
		}
		out, err := exec.Command("go", append(args, "gateway/cmd/gateway")...).CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("build the gateway: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// Remove removes the built binary; call it at the end of TestMain.
func Remove() {
	if built.path != "" {
		_ = os.RemoveAll(filepath.Dir(built.path))
	}
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
