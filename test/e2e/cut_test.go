package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
)

// cutFTPS uploads content over FTPS and then dies: the connections end without a
// word, as when a cable is pulled.
func cutFTPS(t *testing.T, g *gatewaytest.Gateway, name string, content []byte) {
	t.Helper()
	c, err := net.Dial("tcp", g.Addr("ftp"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(clientTimeout))
	// The authority is checked by the other tests; here it is the cut that counts.
	settings := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	conn, r := c, bufio.NewReader(c)
	say := func(command, code string) string {
		t.Helper()
		if command != "" {
			if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
				t.Fatal(err)
			}
		}
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, code) {
			t.Fatalf("%s: got %q, %v; want %s", command, line, err, code)
		}
		return line
	}
	say("", "220 ")
	say("AUTH TLS", "234 ")
	secure := tls.Client(c, settings)
	conn, r = secure, bufio.NewReader(secure)
	say("USER "+alice, "331 ")
	say("PASS "+password, "230 ")
	say("PBSZ 0", "200 ")
	say("PROT P", "200 ")
	say("TYPE I", "200 ")
	var port int
	answer := say("EPSV", "229 ")
	if _, err := fmt.Sscanf(answer[strings.Index(answer, "|||"):], "|||%d|", &port); err != nil {
		t.Fatalf("%q: %v", answer, err)
	}
	data, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	say("STOR "+name, "150 ")
	protected := tls.Client(data, settings)
	if _, err := protected.Write(content); err != nil {
		t.Fatal(err)
	}
	// The server has taken it in once it has answered on the other connection.
	eventually(t, "the content has arrived", func() bool {
		say("STAT", "211-")
		return moved(t, r, len(content))
	})
}

// moved reads the rest of an answer to STAT and reports whether it says that so
// many bytes were moved.
func moved(t *testing.T, r *bufio.Reader, bytes int) bool {
	t.Helper()
	seen := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		seen = seen || strings.Contains(line, fmt.Sprintf("%d bytes moved", bytes))
		if strings.HasPrefix(line, "211 ") {
			return seen
		}
	}
}

// cutSFTP does the same over SFTP.
func cutSFTP(t *testing.T, g *gatewaytest.Gateway, name string, content []byte) {
	t.Helper()
	c, err := dialSFTP(t, g, alice, password)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	_ = c.conn.Close()
}
