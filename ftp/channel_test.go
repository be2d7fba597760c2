package ftp_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"strings"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/session"
)

// After CCC commands come in clear and data stays protected, whether the client
// ends TLS on its side (as it should) or not (as curl has it by default).
func TestCCC(t *testing.T) {
	t.Parallel()
	for _, polite := range []bool{true, false} {
		f := start(t, granting(session.DataRules{ClearControl: true}), ftp.Config{TLS: serverTLS(t)})
		f.tree.put(t, "f", "content")
		c := f.dial(t)
		c.do("CCC", "533 *")
		c.secure()
		c.do("CCC", "534 *") // whose rule?
		c.login().private()
		c.do("CCC now", "501 *")
		c.do("CCC", "200 *")
		secured := c.conn.(*tls.Conn)
		if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
			t.Fatalf("behind the 200: got %q, %v, want the end of TLS", rest, err)
		}
		if polite {
			_ = secured.CloseWrite()
			_ = c.raw.SetDeadline(time.Now().Add(20 * time.Second)) // crypto/tls has let it pass
		}
		c.conn, c.r = c.raw, bufio.NewReader(c.raw)
		c.do("PWD", `257 "/"*`)
		c.do("CCC", "533 *")
		c.do("AUTH TLS", "534 *")
		c.do("TYPE I", "200 *")
		raw := c.data()
		c.do("RETR f", "150 *")
		if got, err := io.ReadAll(dataTLS(t, raw, c.tls)); string(got) != "content" || err != nil {
			t.Errorf("protected data after CCC: got %q, %v", got, err)
		}
		c.expect("226 *")
		c.do("QUIT", "221 *")
	}
}

// A name that is said after CCC is said in clear, and the rules see it so.
func TestNoPasswordIsAskedForAfterCCC(t *testing.T) {
	t.Parallel()
	rules := func(q session.Request) session.Verdict {
		if q.Phase != session.PhaseConnect && !q.Channel.Encrypted() {
			return session.Verdict{Insecure: true, Rule: "test"}
		}
		return session.Verdict{Allowed: true, Data: session.DataRules{ClearControl: true}}
	}
	f := start(t, rules, ftp.Config{TLS: serverTLS(t)})
	c := f.dial(t).secure().login()
	c.do("CCC", "200 *")
	c.conn, c.r = c.raw, bufio.NewReader(afterTLS{c})
	c.do("USER alice", "530 *")
	c.do("PWD", "530 *")
}

// afterTLS skips the close_notify of the server.
type afterTLS struct{ c *client }

func (a afterTLS) Read(p []byte) (int, error) {
	n, err := a.c.raw.Read(p)
	if n > 5 && p[0] == 23 { // the alert, under TLS 1.3
		length := 5 + int(p[3])<<8 + int(p[4])
		n = copy(p, p[length:n])
	}
	return n, err
}

// CCC with something behind it in one piece is refused: that was encrypted.
func TestNothingIsPipelinedBehindCCC(t *testing.T) {
	t.Parallel()
	f := start(t, granting(session.DataRules{ClearControl: true}), ftp.Config{TLS: serverTLS(t)})
	c := f.dial(t).secure().login()
	c.send("CCC\r\nPWD\r\n")
	c.expect("503 *")
	c.expect(`257 "/"*`)
	c.send("AUTH TLS\r\nPWD\r\n") // nor is what comes behind a refused AUTH lost
	c.expect("534 *")
	c.expect(`257 "/"*`)
}

// A certificate whose key the account has logs in at USER; any other is no
// better than none.
func TestCertificateLogin(t *testing.T) {
	t.Parallel()
	server := serverTLS(t)
	server.ClientAuth = tls.RequestClientCert
	f := start(t, nil, ftp.Config{TLS: server})
	own, foreign := serverTLS(t).Certificates, serverTLS(t).Certificates
	leaf, err := x509.ParseCertificate(own[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	f.core.Accounts.Add("device", "right", session.CertificateKey(leaf).Blob)
	f.tree.put(t, "f", "content")

	c := f.dial(t)
	c.tls.Certificates = own
	c.secure()
	c.do("USER alice", "331 *") // somebody else's name
	c.do("USER device", "232 *")
	c.do("PASS whatever", "202 *")
	c.private().do("TYPE I", "200 *")
	raw := c.data()
	c.do("RETR f", "150 *")
	if got, _ := io.ReadAll(dataTLS(t, raw, c.tls)); string(got) != "content" {
		t.Errorf("got %q", got)
	}
	c.expect("226 *")
	c.do("USER alice", "331 *") // logged out
	c.do("PWD", "530 *")

	c = f.dial(t)
	c.tls.Certificates = foreign
	c.secure()
	c.do("USER device", "331 *")
	c.do("PASS right", "230 *")

	var methods []string
	for _, e := range f.core.Record.Events(session.EventLogin) {
		methods = append(methods, string(e.Method)+" "+e.Outcome)
	}
	if got := strings.Join(methods, ", "); got != "publickey granted, password granted" {
		t.Errorf("logins: %s", got)
	}
}
