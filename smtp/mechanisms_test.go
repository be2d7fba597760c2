package smtp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"gateway/session"
	"gateway/session/sessiontest"
)

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// hello greets over TLS, as a client with a certificate if there is one.
func hello(t *testing.T, addr string, cert *tls.Certificate) *peer {
	t.Helper()
	p := dialPeer(t, addr, false)
	cfg := clientTLS()
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	c := tls.Client(p.conn, cfg)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	p = newPeer(t, c)
	p.expect("220 ")
	p.send("EHLO x\n")
	return p
}

// The server's own proof comes only after the login is granted, as a challenge that
// is answered with nothing (RFC 4954, section 4). The stand-in behind the gate takes
// the password for the response to "challenge".
func TestSCRAMDialogue(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	addr := f.listen(t)
	first := encoded("n,,n=alice,r=x")
	for name, c := range map[string]struct {
		send string
		want []string
	}{
		"granted":                {"AUTH SCRAM-SHA-256 " + first + "\n" + encoded("right") + "\n\nMAIL FROM:<alice@example.com>\n", []string{"334 " + encoded("challenge"), "334 " + encoded("final"), "235 2.7.0", "250 "}},
		"no initial response":    {"AUTH SCRAM-SHA-256-PLUS\n" + first + "\n" + encoded("right") + "\n\n", []string{"334 ", "334 " + encoded("challenge"), "334 " + encoded("final"), "235 2.7.0"}},
		"wrong":                  {"AUTH SCRAM-SHA-256 " + first + "\n" + encoded("wrong") + "\nNOOP\n", []string{"334 ", "535 5.7.8", "250 "}},
		"unknown":                {"AUTH SCRAM-SHA-256 " + encoded("n,,n=jim,r=x") + "\n" + encoded("right") + "\nNOOP\n", []string{"334 " + encoded("challenge"), "535 5.7.8", "250 "}},
		"given up":               {"AUTH SCRAM-SHA-256 " + first + "\n*\nNOOP\n", []string{"334 ", "501 5.5.2", "250 "}},
		"given up at the end":    {"AUTH SCRAM-SHA-256 " + first + "\n" + encoded("right") + "\n*\nMAIL FROM:<alice@example.com>\n", []string{"334 ", "334 ", "501 5.5.2", "530 5.7.0"}},
		"no base64":              {"AUTH SCRAM-SHA-256 " + first + "\n!\nNOOP\n", []string{"334 ", "501 5.5.2", "250 "}},
		"says something at last": {"AUTH SCRAM-SHA-256 " + first + "\n" + encoded("right") + "\n" + encoded("x") + "\nMAIL FROM:<alice@example.com>\n", []string{"334 ", "334 ", "501 5.5.2", "530 5.7.0"}},
		"no first message":       {"AUTH SCRAM-SHA-256 " + encoded("hello") + "\nNOOP\n", []string{"501 5.5.2", "250 "}},
		"for somebody else":      {"AUTH SCRAM-SHA-256 " + encoded("n,a=bob,n=alice,r=x") + "\nNOOP\n", []string{"501 5.5.2", "250 "}},
		"bad escape":             {"AUTH SCRAM-SHA-256 " + encoded("n,,n=a=b,r=x") + "\nNOOP\n", []string{"501 5.5.2", "250 "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := hello(t, addr, nil)
			if ehlo := p.reply(); !strings.Contains(ehlo, "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN") {
				t.Errorf("got %q", ehlo)
			}
			p.send(c.send)
			p.expect(c.want...)
		})
	}
}

// A grant that cannot be recorded is not told: the final message says that the
// password is right.
func TestSCRAMUnrecorded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	addr := f.listen(t)
	p := hello(t, addr, nil)
	p.expect("250-")
	f.Record.Fail(session.ErrUnavailable)
	p.send("AUTH SCRAM-SHA-256 " + encoded("n,,n=alice,r=x") + "\n" + encoded("right") + "\n")
	p.expect("334 ", "454 4.7.0")
	f.Record.Fail(nil)
}

// Where more than one factor is asked for, a right password reads like a wrong one,
// and the server proves nothing.
func TestSCRAMIsNoOracle(t *testing.T) {
	t.Parallel()
	f := newFixture(t, sessiontest.Factors("publickey+password"), implicit)
	addr := f.listen(t)
	for _, password := range []string{"right", "wrong"} {
		p := hello(t, addr, nil)
		p.expect("250-")
		p.send("AUTH SCRAM-SHA-256 " + encoded("n,,n=alice,r=x") + "\n" + encoded(password) + "\n")
		p.expect("334 "+encoded("challenge"), "535 5.7.8 Authentication failed")
	}
}

func clientCertificate(t *testing.T, name string) (*tls.Certificate, session.Key) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, session.CertificateKey(cert)
}

// A certificate whose key the account has is the proof of EXTERNAL; it is offered to
// whoever shows one, known or not, and to nobody else.
func TestExternal(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, func(cfg *Config) { cfg.Implicit, cfg.TLS.ClientAuth = true, tls.RequestClientCert })
	own, key := clientCertificate(t, "alice")
	stranger, _ := clientCertificate(t, "alice")
	f.Accounts.Add("alice", "right", key.Blob, "users")
	addr := f.listen(t)
	for name, c := range map[string]struct {
		cert *tls.Certificate
		send string
		want []string
	}{
		"named":        {own, "AUTH EXTERNAL " + encoded("alice") + "\nMAIL FROM:<alice@example.com>\n", []string{"235 ", "250 "}},
		"asked":        {own, "AUTH EXTERNAL\n" + encoded("alice") + "\n", []string{"334 ", "235 "}},
		"by its name":  {own, "AUTH EXTERNAL =\n", []string{"235 "}},
		"another name": {own, "AUTH EXTERNAL " + encoded("bob") + "\n", []string{"535 5.7.8"}},
		"a stranger":   {stranger, "AUTH EXTERNAL =\n", []string{"535 5.7.8"}},
		"NUL":          {own, "AUTH EXTERNAL " + encoded("alice\x00bob") + "\n", []string{"501 5.5.2"}},
		"none":         {nil, "AUTH EXTERNAL " + encoded("alice") + "\n", []string{"504 5.5.4"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := hello(t, addr, c.cert)
			if ehlo := p.reply(); strings.Contains(ehlo, "EXTERNAL") != (c.cert != nil) {
				t.Errorf("got %q", ehlo)
			}
			p.send(c.send)
			p.expect(c.want...)
		})
	}
}

// A token is typed where the password goes; its senders bind the session.
func TestTokenSenders(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, implicit)
	token := session.NewToken().Reveal()
	f.Accounts.Token("alice", token, "scan@example.com")
	addr := f.listen(t)
	p := hello(t, addr, nil)
	p.expect("250-")
	p.send("AUTH PLAIN " + encoded("\x00alice\x00"+token) + "\nMAIL FROM:<alice@example.com>\n")
	p.expect("235 ", "550 5.7.1")
	e := f.Record.Events(session.EventLogin)[0]
	if e.Method != session.MethodToken || e.Token != "token" {
		t.Errorf("got %+v", e)
	}
}

// What the two ends of a TLS connection bind to is the same, by every kind that the
// version has.
func TestBindings(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, nil)
	for version, kinds := range map[uint16][]string{
		tls.VersionTLS13: {bindingExporter, bindingEndPoint},
		tls.VersionTLS12: {bindingExporter, bindingEndPoint, bindingUnique},
	} {
		client, server := newPipe(t)
		c := &conn{tls: tls.Server(&offering{Conn: server}, f.server.cfg.TLS)}
		done := make(chan error, 1)
		go func() { done <- c.tls.Handshake() }()
		cfg := clientTLS()
		cfg.MaxVersion = version
		peer := tls.Client(client, cfg)
		if err := peer.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		state := peer.ConnectionState()
		exported, err := state.ExportKeyingMaterial(exporterLabel, nil, exporterBytes)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]byte{
			bindingExporter: exported, bindingUnique: state.TLSUnique, bindingEndPoint: endPoint(state.PeerCertificates[0].Raw),
		}
		got := c.bindings()
		if len(got) != len(kinds) {
			t.Errorf("%s: got %d kinds, want %q", tls.VersionName(version), len(got), kinds)
		}
		for _, kind := range kinds {
			if len(got[kind]) == 0 || string(got[kind]) != string(want[kind]) {
				t.Errorf("%s: %s: got %x, want %x", tls.VersionName(version), kind, got[kind], want[kind])
			}
		}
	}
}
