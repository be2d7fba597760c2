//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	benchUser     = "bench"
	benchPassword = "Bench-4711-tables"
	benchAddress  = benchUser + "@example.com"
)

// gateway is an installation that runs for as long as the benchmark.
type gateway struct {
	dir, binary string
	home        string            // of benchUser, on disk
	sink        *sink             // where mail goes; nil where there is none
	addrs       map[string]string // by the listener's name
	running     *group
}

func (g *gateway) name() string  { return "gateway" }
func (g *gateway) group() *group { return g.running }

// startGateway builds the gateway, makes an installation with its accounts, and
// waits until it listens.
func startGateway(ctx context.Context, b *bench) (*gateway, error) {
	g := &gateway{dir: filepath.Join(b.dir, "gateway"), binary: b.options.binary, addrs: map[string]string{}}
	if g.binary == "" {
		b.progress.show("building the gateway")
		g.binary = filepath.Join(b.dir, "gateway-binary")
		build := exec.CommandContext(ctx, "go", "build", "-o", g.binary, "gateway/cmd/gateway")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released
		if out, err := build.CombinedOutput(); err != nil {
			return g, fmt.Errorf("build gateway: %w\n%s", err, out)
		}
	}
	if err := g.cli(ctx, "", "init", "--dir", g.dir, "--hostname", "localhost"); err != nil {
		return g, err
	}
	if b.options.wants("smtp", "mail") {
		g.sink, _ = startSink() // without it there is no mail to measure
	}
	if err := g.configure(b.files); err != nil {
		return g, err
	}
	if err := g.makeAccounts(ctx, b); err != nil {
		return g, err
	}
	b.progress.show("starting the gateway")
	return g, g.start(ctx)
}

// cli runs a command of the gateway.
func (g *gateway) cli(ctx context.Context, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, g.binary, append([]string{"--config", filepath.Join(g.dir, "gateway.hcl")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("gateway %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// makeAccounts adds the one that everything is done with, and those whose
// passwords are to be hashed.
func (g *gateway) makeAccounts(ctx context.Context, b *bench) error {
	keyFile := filepath.Join(b.dir, "bench.pub")
	if err := os.WriteFile(keyFile, ssh.MarshalAuthorizedKey(b.key.PublicKey()), 0o644); err != nil {
		return err
	}
	for _, step := range [][]string{
		{benchPassword + "\n", "user", "add", benchUser, "--group", "users", "--group", "mail", "--password-stdin"},
		{"", "user", "address", "add", benchUser, benchAddress},
		{"", "user", "key", "add", benchUser, keyFile},
	} {
		if err := g.cli(ctx, step[0], step[1:]...); err != nil {
			return err
		}
	}
	if !b.options.wants("sftp", "logins") {
		return nil
	}
	for i := range b.options.accounts {
		b.progress.show("making accounts: %d of %d", i+1, b.options.accounts)
		if err := g.cli(ctx, benchPassword+"\n", "user", "add", accountName(i), "--group", "users", "--password-stdin"); err != nil {
			return err
		}
	}
	return nil
}

func accountName(i int) string { return fmt.Sprint("bench", i) }

func (g *gateway) start(ctx context.Context) (err error) {
	cmd := exec.Command(g.binary, "--config", filepath.Join(g.dir, "gateway.hcl"), "run")
	if g.running, err = startGroup("gateway", cmd); err != nil {
		return err
	}
	for _, addr := range g.addrs {
		if err := waitFor(ctx, g.running, addr); err != nil {
			return fmt.Errorf("gateway %w", err)
		}
	}
	return nil
}

// restart forgets which passwords were verified, and the memory of sessions.
func (g *gateway) restart(ctx context.Context) error {
	g.stop()
	return g.start(ctx)
}

// stop may be followed by start.
func (g *gateway) stop() {
	if g.running != nil {
		g.running.stop()
	}
}

// configure writes gateway.hcl, with listeners on free ports, and rules that let
// plain FTP in, to be measured.
func (g *gateway) configure(files string) error {
	g.home = filepath.Join(files, "gateway", benchUser)
	text := "hostname = \"localhost\"\nshutdown_grace = \"5s\"\n"
	for _, l := range []struct{ name, protocol, tls string }{
		{"ftp", "ftp", "explicit"}, {"sftp", "sftp", ""}, {"submissions", "submission", "implicit"}, {"submission", "submission", "explicit"}, {"relay", "relay", "explicit"}, {"metrics", "metrics", ""},
	} {
		addr, err := freeAddress()
		if err != nil {
			return err
		}
		g.addrs[l.name] = addr
		text += fmt.Sprintf("listener %q {\n  protocol = %q\n  address = %q\n", l.name, l.protocol, addr)
		if l.tls != "" {
			text += fmt.Sprintf("  tls = %q\n", l.tls)
		}
		text += "}\n"
	}
	route := "maildir://mail"
	if g.sink != nil {
		route = "smtp://" + g.sink.addr
	}
	text += fmt.Sprintf("storage {\n  type = \"local\"\n  path = %q\n}\n", filepath.Join(files, "gateway")) +
		fmt.Sprintf("mail { route = %q }\n", route) +
		fmt.Sprintf("limits {\n  trusted = [\"127.0.0.0/8\"]\n  connections = %d\n  unauthenticated = %[1]d\n  sessions_per_user = %[1]d\n  guesses = 100000\n}\n", maxSessions)
	if err := os.WriteFile(filepath.Join(g.dir, "gateway.hcl"), []byte(text), 0o600); err != nil {
		return err
	}
	policy := "allow \"transfer\" {\n  protocol = [\"ftp\", \"sftp\"]\n  group = [\"users\"]\n}\n" +
		"allow \"submission\" {\n  protocol = [\"submission\"]\n  group = [\"mail\"]\n}\n" +
		fmt.Sprintf("device \"bench\" {\n  from = \"127.0.0.1\"\n  allow = \"no-auth\"\n  sender = %q\n  recipients = \"example.net\"\n  expires = %q\n  owner = %[1]q\n  because = \"measured\"\n}\n",
			benchAddress, time.Now().AddDate(0, 0, 30).Format(time.DateOnly))
	return os.WriteFile(filepath.Join(g.dir, "policy.hcl"), []byte(policy), 0o600)
}
