// Package e2e runs the built gateway and moves files and mail through it with
// the clients that people use, as they are.
package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

func TestMain(m *testing.M) {
	status := m.Run()
	gatewaytest.Remove()
	os.Exit(status)
}

const (
	alice    = "alice"
	password = "correct-horse-7351"
)

// start runs a gateway with the account alice.
func start(t *testing.T) *gatewaytest.Gateway {
	t.Helper()
	t.Parallel()
	return gatewaytest.Start(t, gatewaytest.Options{Users: map[string]string{alice: password}})
}

// clientTimeout ends a client that hangs.
const clientTimeout = 60 * time.Second

// client runs a program and returns all that it printed and its exit status. The
// test is skipped where the program is missing.
func client(t *testing.T, stdin string, name string, args ...string) (output string, status int) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C.UTF-8")
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s %s did not end in %v:\n%s", name, strings.Join(args, " "), clientTimeout, out.String())
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out.String(), 0
}

// must is client for what has to work.
func must(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	out, status := client(t, stdin, name, args...)
	if status != 0 {
		t.Fatalf("%s %s: exit status %d\n%s", name, strings.Join(args, " "), status, out)
	}
	return out
}

// file makes a file of random bytes.
func file(t *testing.T, name string, size int) (path string, content []byte) {
	t.Helper()
	content = make([]byte, size)
	_, _ = rand.Read(content)
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes that differ from the %d bytes sent", what, len(got), len(want))
	}
}

// events asks the record.
func events(t *testing.T, g *gatewaytest.Gateway, filter ...string) []session.Event {
	t.Helper()
	var list []session.Event
	dec := json.NewDecoder(strings.NewReader(g.CLI("", append([]string{"audit", "query", "--json"}, filter...)...)))
	for dec.More() {
		var e session.Event
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// eventually waits until ok, for what happens in another process.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen in 30s: %s", what)
		}
		time.Sleep(20 * time.Millisecond) // another process: there is nothing to wait on
	}
}

// ca is the file of the gateway's certificate authority.
func ca(t *testing.T, g *gatewaytest.Gateway) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte(g.CLI("", "cert", "show", "--ca")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
