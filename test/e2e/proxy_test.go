package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// balanced is a gateway behind a balancer on loopback. The listener "direct" has its
// balancer elsewhere.
const balanced = `
hostname       = "localhost"
shutdown_grace = "10s"
listener "ftp" {
  protocol       = "ftp"
  address        = "127.0.0.1:0"
  proxy_protocol = ["127.0.0.0/8"]
}
listener "sftp" {
  protocol       = "sftp"
  address        = "127.0.0.1:0"
  proxy_protocol = ["127.0.0.0/8"]
}
listener "submission" {
  protocol       = "submission"
  address        = "127.0.0.1:0"
  proxy_protocol = ["127.0.0.0/8"]
}
listener "direct" {
  protocol       = "ftp"
  address        = "127.0.0.1:0"
  proxy_protocol = ["192.0.2.0/24"]
}
ftp    { passive_ports = "20000-29999" }
mail   { route = "maildir://mail" }
limits { trusted = ["127.0.0.0/8"] }
`

// balancer forwards connections to addr, each with header before it, and returns the
// port on which it listens.
func balancer(t *testing.T, addr, header string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { forward(client, addr, header) })
		}
	})
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func forward(client net.Conn, addr, header string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := io.WriteString(server, header); err != nil {
		return
	}
	var wg sync.WaitGroup
	for to, from := range map[net.Conn]net.Conn{server: client, client: server} {
		wg.Go(func() {
			_, _ = io.Copy(to, from)
			_ = to.(*net.TCPConn).CloseWrite()
		})
	}
	wg.Wait()
}

const (
	headerV1 = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 22\r\n"
	headerV2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xc0\x00\x02\x07" + "\xc6\x33\x64\x01" + "\x9c\x40\x02\x4b"
)

// Clients that know nothing of the balancer have their own address in the record, on
// every protocol and by both versions of the header.
func TestBehindBalancer(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Config: balanced, Users: map[string]string{alice: password}})
	path, content := file(t, "up.bin", 1<<20+3)
	t.Run("sftp", func(t *testing.T) {
		out, status := batch(t, balancer(t, g.Addr("sftp"), headerV1), fmt.Sprintf("put %s a.bin\nget a.bin %s.back\n", path, path))
		if status != 0 {
			t.Fatalf("exit status %d\n%s", status, out)
		}
		same(t, "sftp", read(t, path+".back"), content)
		behindBalancer(t, g, session.SFTP, "198.51.100.1:22")
	})
	t.Run("submission", func(t *testing.T) {
		must(t, "From: alice@example.com\r\n\r\nHello.\r\n", "curl", "--silent", "--show-error", "--ssl-reqd", "--insecure", "--user", alice+":"+password,
			"--url", "smtp://127.0.0.1:"+balancer(t, g.Addr("submission"), headerV2), "--mail-from", alice+"@example.com", "--mail-rcpt", "bob@example.org", "--upload-file", "-")
		behindBalancer(t, g, session.Submission, "198.51.100.1:587")
	})
	t.Run("curl as the balancer", func(t *testing.T) {
		if help, _ := client(t, "", "curl", "--help", "all"); !strings.Contains(help, "--haproxy-protocol") {
			t.Skip("curl has no --haproxy-protocol")
		}
		// It says that the client is curl itself.
		must(t, "", "curl", "--silent", "--show-error", "--haproxy-protocol", "--url", "smtp://"+g.Addr("submission"), "--request", "NOOP", "--ssl-reqd", "--insecure", "--user", alice+":"+password)
	})
}

// behindBalancer looks for the login and the connection of the client at 192.0.2.7.
func behindBalancer(t *testing.T, g *gatewaytest.Gateway, p session.Protocol, local string) {
	t.Helper()
	eventually(t, "the record of the connection", func() bool {
		return len(events(t, g, "--event", "connection", "--remote", "192.0.2.7", "--protocol", string(p))) > 0
	})
	for _, kind := range []string{"connection", "login"} {
		list := events(t, g, "--event", kind, "--protocol", string(p), "--remote", "192.0.2.7")
		if len(list) != 1 || list[0].Remote.String() != "192.0.2.7:40000" || list[0].Local.String() != local {
			t.Errorf("%s, %s: got %+v", p, kind, list)
		}
	}
}

// hello sends text to addr and returns all that is answered.
func hello(t *testing.T, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(clientTimeout))
	_, _ = io.WriteString(c, text)
	_ = c.(*net.TCPConn).CloseWrite()
	all, _ := io.ReadAll(bufio.NewReader(c))
	return string(all)
}

// Who is no balancer can claim what he likes: he is served and recorded as himself.
// A balancer that says nothing of its client is not served.
func TestHeaderFromElsewhere(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Config: balanced, Users: map[string]string{alice: password}})
	if got := hello(t, g.Addr("direct"), headerV1+"QUIT\r\n"); !strings.HasPrefix(got, "220") || !strings.Contains(got, "\n530") || !strings.Contains(got, "\n221") {
		t.Errorf("a stranger's header: got %q", got)
	}
	if got := hello(t, g.Addr("ftp"), "USER alice\r\nQUIT\r\n"); got != "" {
		t.Errorf("no header: got %q", got)
	}
	if got := hello(t, g.Addr("ftp"), "PROXY UNKNOWN\r\nQUIT\r\n"); !strings.HasPrefix(got, "220") {
		t.Errorf("a health check: got %q", got)
	}
	eventually(t, "three records", func() bool { return len(events(t, g, "--event", "connection")) == 3 })
	for _, e := range events(t, g, "--event", "connection") {
		if e.Remote.Addr().String() != "127.0.0.1" {
			t.Errorf("recorded as from %v: %+v", e.Remote, e)
		}
	}
	failed := events(t, g, "--event", "connection", "--outcome", session.OutcomeHandshakeFailed)
	if len(failed) != 1 || !strings.Contains(failed[0].Reason, "PROXY header") {
		t.Errorf("got %+v", failed)
	}
}
