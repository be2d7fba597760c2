// Package certstest runs a real ACME CA, Pebble, for tests.
package certstest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"gateway/certs"
)

const pebbleModule = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"

// Pebble is a running ACME CA.
type Pebble struct {
	Directory     string // URL
	Roots         string // PEM file with the root of its own listener
	HTTP, TLSALPN int    // the ports that it connects to for challenges
}

// pebbleBinary finds or builds Pebble in $GATEWAY_TOOLS.
func pebbleBinary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a real ACME CA is left out of short tests")
	}
	tools := os.Getenv("GATEWAY_TOOLS")
	if tools == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skipf("no cache folder for tools: %v", err)
		}
		tools = filepath.Join(cache, "gateway-tools")
	}
	binary := filepath.Join(tools, "pebble")
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "go", "install", pebbleModule)
	install.Dir = t.TempDir()
	install.Env = append(os.Environ(), "GOBIN="+tools, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("Pebble cannot be had: %v\n%s", err, out)
	}
	return binary
}

// StartPebble runs a CA until the end of the test. It resolves every name to
// 127.0.0.1, and knows the profiles "default" of 90 days and "shortlived" of 20
// seconds. The test is skipped where Pebble cannot be had.
func StartPebble(t *testing.T) Pebble {
	t.Helper()
	program := pebbleBinary(t)
	dir := t.TempDir()
	// Its listener has a certificate of an internal CA of ours.
	keys := filepath.Join(dir, "keys")
	own, err := certs.Open(t.Context(), certs.Config{Dir: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	roots := filepath.Join(dir, "roots.pem")
	write(t, roots, own.CA())
	p := Pebble{Roots: roots, HTTP: freePort(t), TLSALPN: freePort(t)}
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p.Directory = "https://" + listen + "/dir"
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		"certificate": filepath.Join(keys, "tls.pem"), "privateKey": filepath.Join(keys, "tls.pem"),
		"httpPort": p.HTTP, "tlsPort": p.TLSALPN,
		"retryAfter":   map[string]int{"authz": 1, "order": 1},
		"keyAlgorithm": "ecdsa",
		"profiles": map[string]any{
			"default":    map[string]any{"description": "90 days", "validityPeriod": 90 * 86400},
			"shortlived": map[string]any{"description": "very short", "validityPeriod": 20},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	write(t, file, config)
	cmd := exec.Command(program, "-config", file, "-dnsserver", serveDNS(t), "-strict")
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	var lines sync.WaitGroup
	lines.Go(func() {
		scan := bufio.NewScanner(out)
		for scan.Scan() {
			if strings.Contains(scan.Text(), "ACME directory available") {
				ready <- true
			}
		}
		close(ready)
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		lines.Wait()
		_ = cmd.Wait()
	})
	if !<-ready {
		t.Fatal("Pebble did not start")
	}
	return p
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// serveDNS answers every A query with 127.0.0.1, and returns its address. Pebble
// asks over TCP, where each message follows its length (RFC 1035, section 4.2.2).
func serveDNS(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); answerDNS(c) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func answerDNS(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	for {
		var size uint16
		if binary.Read(c, binary.BigEndian, &size) != nil {
			return
		}
		p := make([]byte, size)
		var m dnsmessage.Message
		if _, err := io.ReadFull(c, p); err != nil || m.Unpack(p) != nil || len(m.Questions) != 1 {
			return
		}
		q := m.Questions[0]
		m.Response, m.Additionals = true, nil
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
		}
		answer, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}
