package ftp_test

import (
	"crypto/tls"
	"io"
	"strings"
	"testing"

	"gateway/ftp"
	"gateway/session"
)

// A client that uploads under TLS 1.3 and closes without having read anything
// must find nothing unread in its socket, or its system resets the connection and
// the tail of the file with it (curl issue 6149, ProFTPD issue 959).
func TestUploadLeavesNothingUnread(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]session.Resumption{
		"resumed": session.ResumptionRequired, "unbound": session.ResumptionOff, "1.2 only": session.ResumptionRequired,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serverTLS(t)
			if name == "1.2 only" { // whatever the client offers: its ticket must be taken
				server.MaxVersion = tls.VersionTLS12
			}
			f := start(t, nil, ftp.Config{TLS: server, Resumption: mode})
			content := strings.Repeat("x", 3<<20)
			c := f.dial(t).secure().login().private()
			c.do("TYPE I", "200 *")
			for range 5 {
				raw := c.data()
				c.do("STOR f", "150 *")
				cfg := c.tls
				if mode == session.ResumptionOff {
					cfg = clientTLS()
				}
				d := tls.Client(raw, cfg)
				if err := d.Handshake(); err != nil {
					t.Fatal(err)
				}
				if got := d.ConnectionState().DidResume; got != (mode == session.ResumptionRequired) {
					t.Fatalf("resumed: %v", got)
				}
				if _, err := io.WriteString(d, content); err != nil {
					t.Fatal(err)
				}
				if err := d.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if err := raw.Close(); err != nil { // with what is unread
					t.Fatal(err)
				}
				c.expect("226 *")
				if got := f.tree.get(t, "f"); got != content {
					t.Fatalf("got %d bytes, want %d", len(got), len(content))
				}
			}
		})
	}
}
