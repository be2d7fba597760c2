package ftp_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/session"
)

// balancer is where the tests' load balancer connects from.
const balancer = "127.0.0.9"

// throughBalancer connects as a balancer does for a client.
func throughBalancer(t *testing.T, to, client string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(balancer)}}
	conn, err := dialer.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if client != "" {
		fmt.Fprintf(conn, "PROXY TCP4 %s 203.0.113.1 40000 21\r\n", client)
	}
	return conn
}

// Behind a load balancer that forwards the passive ports too, a session gets its
// own client's data connection: not that of another client behind the same
// balancer, nor one that comes past it, and a silent one holds up nobody.
func TestDataThroughABalancer(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{Proxies: []netip.Prefix{netip.MustParsePrefix(balancer + "/32")}, ProxyData: true})
	f.tree.put(t, "f", "content")
	conn := throughBalancer(t, f.addr, "192.0.2.7")
	c := &client{t: t, conn: conn, raw: conn, r: bufio.NewReader(conn)}
	c.expect("220 *")
	c.login().do("TYPE I", "200 *")
	at := c.epsv()
	throughBalancer(t, at, "") // says nothing
	c.send("RETR f\r\n")
	for what, stranger := range map[string]func() string{
		"another client": func() string { got, _ := io.ReadAll(throughBalancer(t, at, "192.0.2.8")); return string(got) },
		"past it":        func() string { return whatComes(t, at, "127.0.0.1") },
	} {
		if got := stranger(); got != "" {
			t.Errorf("%s got %q", what, got)
		}
	}
	if got, err := io.ReadAll(throughBalancer(t, at, "192.0.2.7")); string(got) != "content" || err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
	c.expect("150 *")
	c.expect("226 *")
	for _, e := range f.core.Record.Events(session.EventFile) {
		if got := e.Remote.Addr().String(); got != "192.0.2.7" {
			t.Errorf("recorded as from %s", got)
		}
	}
}

// Where only the control connection comes through the balancer, the client's own
// address may be wherever the balancer says; PASV tells ours.
func TestPASVBehindABalancer(t *testing.T) {
	t.Parallel()
	addresses, err := ftp.ParsePublicAddresses([]string{"203.0.113.1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addresses *ftp.PublicAddresses
		want      string
	}{
		{nil, "425 *"}, // the only address is private, and the client is not
		{addresses, "227 Entering Passive Mode (203,0,113,1,*,*)."},
	} {
		f := start(t, nil, ftp.Config{Proxies: []netip.Prefix{netip.MustParsePrefix(balancer + "/32")}, PublicAddresses: c.addresses})
		conn := throughBalancer(t, f.addr, "192.0.2.7")
		k := &client{t: t, conn: conn, raw: conn, r: bufio.NewReader(conn)}
		k.expect("220 *")
		k.login().do("PASV", c.want)
		if strings.HasPrefix(c.want, "425") && !strings.Contains(f.log.String(), "public_address") {
			t.Error("the log does not say what to set")
		}
	}
}
