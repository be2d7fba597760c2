package ftp_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"strings"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/session"
	"gateway/session/sessiontest"
)

// accountKey is the key of a certificate as an account has it.
func accountKey(t *testing.T, c []tls.Certificate) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(c[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return session.CertificateKey(leaf).Blob
}

// A certificate that does not log in is answered as none at all, whatever is
// wrong: with the certificate, the name, the account or the rules. The answer to
// the password tells no more.
func TestCertificateIsNoOracle(t *testing.T) {
	t.Parallel()
	server := serverTLS(t)
	server.ClientAuth = tls.RequestClientCert
	now := time.Now()
	good := serverTLS(t).Certificates
	expired := certificateFor(t, now.Add(-48*time.Hour), now.Add(-24*time.Hour)).Certificates
	future := certificateFor(t, now.Add(24*time.Hour), now.Add(48*time.Hour)).Certificates
	noKeys := func(q session.Request) session.Verdict {
		return session.Verdict{Allowed: q.Method != session.MethodPublicKey}
	}
	for name, c := range map[string]struct {
		shown []tls.Certificate
		user  string
		rules sessiontest.Rules
	}{
		"no certificate":      {nil, "device", nil},
		"expired":             {expired, "expired", nil},
		"not valid yet":       {future, "future", nil},
		"of another account":  {good, "expired", nil},
		"unknown name":        {good, "nobody", nil},
		"account disabled":    {good, "gone", nil},
		"refused by the rule": {good, "device", noKeys},
		"name of a path":      {good, "../device", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, c.rules, ftp.Config{TLS: server})
			for user, key := range map[string][]tls.Certificate{"device": good, "gone": good, "expired": expired, "future": future} {
				f.core.Accounts.Add(user, "right", accountKey(t, key))
			}
			f.core.Accounts.Disable("gone")
			cl := f.dial(t)
			cl.tls.Certificates = c.shown
			cl.secure()
			cl.do("USER "+c.user, "331 Please specify the password.")
			cl.do("PWD", "530 Please login with USER and PASS.")
			cl.do("PASS wrong", "530 Login incorrect.")
			if granted := strings.Join(f.core.Record.Outcomes(), "\n"); strings.Contains(granted, "granted") {
				t.Errorf("recorded: %s", granted)
			}
		})
	}
}

// A rule that hangs up on a certificate is asked once.
func TestCertificateIsDropped(t *testing.T) {
	t.Parallel()
	server, own := serverTLS(t), serverTLS(t).Certificates
	server.ClientAuth = tls.RequestClientCert
	f := start(t, sessiontest.Rules(func(q session.Request) session.Verdict {
		return session.Verdict{Allowed: q.Phase == session.PhaseConnect, Drop: q.Phase == session.PhaseNamed, Rule: "drop"}
	}), ftp.Config{TLS: server})
	f.core.Accounts.Add("device", "right", accountKey(t, own))
	c := f.dial(t)
	c.tls.Certificates = own
	c.secure()
	c.send("USER device\r\n")
	if said, _ := io.ReadAll(c.conn); len(said) != 0 {
		t.Errorf("it is told %q", said)
	}
	waitFor(t, func() bool { return len(f.core.Record.Events(session.EventConnection)) == 1 })
	if n := len(f.core.Record.Events(session.EventLogin)); n != 1 {
		t.Errorf("%d logins are recorded, want one", n)
	}
}

// The certificate is that of this handshake: a ticket of another control
// connection brings nobody's, and a data connection cannot bring one in.
func TestCertificateDoesNotTravelInTickets(t *testing.T) {
	t.Parallel()
	server := serverTLS(t)
	server.ClientAuth = tls.RequestClientCert
	own := serverTLS(t).Certificates
	f := start(t, nil, ftp.Config{TLS: server})
	f.core.Accounts.Add("device", "right", accountKey(t, own))
	f.tree.put(t, "f", "content")

	first := f.dial(t)
	first.tls.Certificates = own
	first.secure()
	first.do("USER device", "232 *")
	first.private().do("TYPE I", "200 *")

	// The same tickets, and no certificate of its own.
	second := f.dial(t)
	second.tls = &tls.Config{InsecureSkipVerify: true, ServerName: "h", ClientSessionCache: first.tls.ClientSessionCache}
	second.secure()
	if second.conn.(*tls.Conn).ConnectionState().DidResume {
		t.Error("a control connection resumed the session of another")
	}
	second.do("USER device", "331 *")

	// Logging out and in again on one connection asks for the certificate's word anew.
	first.do("REIN", "220 *")
	first.do("PWD", "530 *")
	first.do("PASS x", "503 *")
	f.core.Accounts.Disable("device")
	first.do("USER device", "331 *")

	// And on a connection without one, a data connection that shows it changes nothing.
	third := f.dial(t).secure().login().private()
	settings := clientTLS()
	settings.Certificates = own
	raw := third.data()
	third.do("RETR f", "150 *")
	if got, _ := io.ReadAll(dataTLS(t, raw, settings)); len(got) > 0 {
		t.Errorf("got %q", got)
	}
	third.expect("522 *")
	third.do("USER device", "331 *")
}

// A session by certificate ends like any other: by another USER, by CCC followed
// by USER, and when the account is disabled.
func TestCertificateSessionEnds(t *testing.T) {
	t.Parallel()
	server := serverTLS(t)
	server.ClientAuth = tls.RequestClientCert
	own := serverTLS(t).Certificates
	f := start(t, granting(session.DataRules{ClearControl: true}), ftp.Config{TLS: server})
	f.core.Accounts.Add("device", "right", accountKey(t, own))
	dial := func() *client {
		c := f.dial(t)
		c.tls.Certificates = own
		c.secure()
		c.do("USER device", "232 *")
		return c
	}
	c := dial()
	c.do("USER device", "232 *")
	c.do("USER alice", "331 *")
	c.do("PASS wrong", "530 *")
	c.do("PASS whatever", "503 *")

	c = dial()
	f.core.Gate.Revoke("device")
	c.expect("421 *")
	c.closed()
}
