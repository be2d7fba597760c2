package e2e

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// trusting is the configuration of tests that misbehave a lot from loopback.
const trusting = gatewaytest.Config + `
limits { trusted = ["127.0.0.0/8"] }
`

// attacked runs a gateway that never bans loopback, with the account alice.
func attacked(t *testing.T) *gatewaytest.Gateway {
	t.Helper()
	t.Parallel()
	return gatewaytest.Start(t, gatewaytest.Options{Config: trusting, Users: map[string]string{alice: password}})
}

// raw is a connection on which a test says whatever it likes.
type raw struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

// dial connects to a listener, from an address of loopback if one is given.
func dial(t *testing.T, g *gatewaytest.Gateway, listener string, from ...string) *raw {
	t.Helper()
	var d net.Dialer
	for _, ip := range from {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(ip)}
	}
	c, err := d.DialContext(t.Context(), "tcp", g.Addr(listener))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(clientTimeout))
	return &raw{t, c, bufio.NewReader(c)}
}

// send writes text in one piece. That the peer closed meanwhile shows later.
func (c *raw) send(text string) {
	c.t.Helper()
	_, _ = io.WriteString(c.c, text)
}

// reply reads one reply, of one line or several, and returns its last line.
func (c *raw) reply() string {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("got %q, %v; want a reply", line, err)
		}
		if len(line) > 3 && line[3] == ' ' && line[0] >= '1' && line[0] <= '5' {
			return strings.TrimRight(line, "\r\n")
		}
	}
}

// want reads one reply for each code that begins as that.
func (c *raw) want(codes ...string) (last string) {
	c.t.Helper()
	for _, code := range codes {
		if last = c.reply(); !strings.HasPrefix(last, code) {
			c.t.Fatalf("got %q, want %s", last, code)
		}
	}
	return last
}

// say sends one line and reads its reply, which must begin with code.
func (c *raw) say(line, code string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	last := c.reply()
	if !strings.HasPrefix(last, code) {
		verb, _, _ := strings.Cut(line, " ")
		c.t.Fatalf("%s: got %q, want %s", verb, last, code)
	}
	return last
}

// rest is all that the peer says until it closes, which it must.
func (c *raw) rest() string {
	c.t.Helper()
	text, err := io.ReadAll(c.r)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatalf("still open after %v; it said %q", clientTimeout, text)
	}
	return string(text)
}

// trust is a client's TLS configuration for the gateway.
func trust(t *testing.T, g *gatewaytest.Gateway) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(read(t, filepath.Join(ca(t, g))))
	return &tls.Config{RootCAs: pool, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
}

// secure puts TLS on the connection.
func (c *raw) secure(cfg *tls.Config) *raw {
	c.t.Helper()
	s := tls.Client(c.c, cfg)
	if err := s.HandshakeContext(c.t.Context()); err != nil {
		c.t.Fatalf("TLS: %v", err)
	}
	return &raw{c.t, s, bufio.NewReader(s)}
}

func ftps(t *testing.T, g *gatewaytest.Gateway, cfg *tls.Config) *raw {
	t.Helper()
	c := dial(t, g, "ftp")
	c.want("220")
	c.say("AUTH TLS", "234")
	return c.secure(cfg)
}

func starttls(t *testing.T, g *gatewaytest.Gateway, cfg *tls.Config) *raw {
	t.Helper()
	c := dial(t, g, "submission")
	c.want("220")
	c.say("EHLO attacker.test", "250")
	c.say("STARTTLS", "220")
	c = c.secure(cfg)
	c.say("EHLO attacker.test", "250")
	return c
}

// plain is the response of AUTH PLAIN.
func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// An unknown user, a wrong password, a right one of an account that is disabled
// or that the rules refuse, and an account without a password are answered with
// the same words on every protocol.
func TestRefusalsReadAlike(t *testing.T) {
	g := attacked(t)
	cfg := trust(t, g)
	g.CLI(password+"\n", "user", "add", "disabled", "--group", "users", "--group", "mail", "--password-stdin")
	g.CLI("", "user", "disable", "disabled")
	g.CLI(password+"\n", "user", "add", "outsider", "--password-stdin")
	g.CLI("\n", "user", "add", "keyless", "--group", "users", "--group", "mail")
	answers := map[string]map[string]bool{"ftp": {}, "sftp": {}, "submission": {}}
	cases := []struct{ user, password string }{
		{"nobody", password}, {alice, "wrong"}, {alice, ""}, {"disabled", password}, {"outsider", password}, {"keyless", password}, {"ALICE", password},
		{strings.Repeat("x", 200), password},
	}
	for _, c := range cases {
		f := ftps(t, g, cfg)
		first := f.say("USER "+c.user, "331")
		answers["ftp"][first+" / "+f.say("PASS "+c.password, "5")] = true
		_, err := dialSFTP(t, g, c.user, c.password)
		if err == nil {
			t.Fatalf("sftp let in %.20q", c.user)
		}
		answers["sftp"][err.Error()] = true
		s := starttls(t, g, cfg)
		answers["submission"][s.say("AUTH PLAIN "+plain(c.user, c.password), "5")] = true
	}
	for protocol, texts := range answers {
		if len(texts) != 1 {
			t.Errorf("%s: got %d different answers, want one: %v", protocol, len(texts), texts)
		}
	}
	// The record tells them apart, and holds no name that does not exist.
	reasons := map[string]int{}
	for _, e := range events(t, g, "--event", "login") {
		reasons[e.Reason]++
		known := e.User == alice || e.User == "disabled" || e.User == "outsider" || e.User == "keyless"
		if !known && !strings.HasPrefix(e.User, "unknown:") || e.Facts == nil || e.Facts.User != e.User {
			t.Errorf("recorded user %.40q, facts %+v", e.User, e.Facts)
		}
	}
	if reasons["unknown user"] == 0 || reasons["account disabled"] == 0 || reasons["wrong proof"] == 0 || len(reasons) < 4 {
		t.Errorf("reasons recorded: %v", reasons)
	}
}

// Names of whatever bytes stay within one line of the record, which still verifies.
func TestNothingIsInjectedIntoTheRecord(t *testing.T) {
	g := attacked(t)
	cfg := trust(t, g)
	evil := "x\x1b[2J\"},{\"seq\":1}\\\xff\xfe\u202e\u2028"
	f := ftps(t, g, cfg)
	f.say("CLNT "+evil, "200")
	f.say("USER "+evil, "331")
	f.say("PASS x", "530")
	f.say("USER "+alice, "331")
	f.say("PASS "+password, "230")
	f.say("MKD "+evil, "")
	f.say("CWD "+evil+"nowhere", "55")
	f.say("SIZE "+evil+"\u0085", "55")
	f.say("QUIT", "221")
	foreign := cfg.Clone()
	for range 200 {
		foreign.NextProtos = append(foreign.NextProtos, strings.Repeat("\x1b]0;\n", 50))
	}
	for _, listener := range []string{"ftps", "submissions"} {
		if err := tls.Client(dial(t, g, listener).c, foreign).HandshakeContext(t.Context()); err == nil {
			t.Errorf("%s took a foreign application protocol", listener)
		}
	}
	dial(t, g, "sftp").send("SSH-2.0-" + evil + "\r\n\x00\x00\x00")
	s := starttls(t, g, cfg)
	s.say("AUTH PLAIN "+plain(evil, "x"), "5")
	s.say("AUTH PLAIN "+plain(alice, password), "235")
	s.say("MAIL FROM:<\"a\\\"},{\"@example.com>", "5")
	s.say("QUIT", "221")
	eventually(t, "all connections are recorded", func() bool { return len(events(t, g, "--event", "connection")) >= 4 })
	g.CLI("", "audit", "verify")
	for _, e := range events(t, g) {
		for _, text := range []string{e.Client, e.User, e.Reason, e.MessageID} {
			if len(text) > 1000 || strings.ContainsAny(text, "\x1b\n\r\x00\u202e\u2028") {
				t.Errorf("%s event holds %.80q (%d bytes)", e.Event, text, len(text))
			}
		}
	}
	if text := g.CLI("", "audit", "query"); strings.ContainsAny(text, "\x1b\u202e\u2028\u0085") || strings.Count(text, "\n") != len(strings.Split(text, "\n"))-1 {
		t.Errorf("the readable record holds control characters:\n%q", text)
	}
}

// Every listener ends a client that does not log in, also one that never begins
// TLS, stops in the middle of it, or stays silent after it.
func TestSilentClientsAreEnded(t *testing.T) {
	t.Parallel()
	config := strings.Replace(trusting, "ftp {", "ftp {\n  login_grace = \"1s\"", 1)
	config += "sftp { login_grace = \"1s\" }\nsmtp { login_grace = \"1s\" }\n"
	g := gatewaytest.Start(t, gatewaytest.Options{Config: config, Users: map[string]string{alice: password}})
	cfg := trust(t, g)
	var open []*raw
	for _, listener := range []string{"ftp", "ftps", "sftp", "relay", "submission", "submissions"} {
		open = append(open, dial(t, g, listener))
		half := dial(t, g, listener)
		half.send("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") // a ClientHello that goes on
		open = append(open, half)
	}
	for _, listener := range []string{"ftps", "submissions"} {
		open = append(open, dial(t, g, listener).secure(cfg))
	}
	upgraded := dial(t, g, "ftp")
	upgraded.want("220")
	upgraded.say("AUTH TLS", "234")
	open = append(open, upgraded)
	agreed := dial(t, g, "submission")
	agreed.want("220")
	agreed.send("EHLO x.test\r\nSTARTTLS\r\n")
	agreed.want("250", "220")
	open = append(open, agreed)
	version := dial(t, g, "sftp")
	version.send("SSH-2.0-slow\r\n")
	open = append(open, version)
	limit := time.Now().Add(15 * time.Second)
	for i, c := range open {
		_ = c.c.SetDeadline(limit)
		if _, err := io.Copy(io.Discard, c.r); err != nil && os.IsTimeout(err) {
			t.Errorf("connection %d from %v is still open", i, c.c.RemoteAddr())
		}
	}
	eventually(t, "each connection has one record", func() bool { return accounted(t, g) >= int64(len(open)) })
	if got := accounted(t, g); got != int64(len(open)) {
		t.Errorf("got %d connections recorded, want %d", got, len(open))
	}
}

// accounted is how many connections the record speaks of.
func accounted(t *testing.T, g *gatewaytest.Gateway) (n int64) {
	t.Helper()
	for _, e := range events(t, g, "--event", "connection") {
		n += e.Count
	}
	return n
}

// A source that misbehaves is banned on every listener and told nothing but to go
// away; other sources are served, the ban is explained, and the record accounts
// for every single connection.
func TestBannedSource(t *testing.T) {
	t.Parallel()
	config := gatewaytest.Config + "limits {\n penalty_threshold = \"40s\"\n}\n"
	g := gatewaytest.Start(t, gatewaytest.Options{Config: config, Users: map[string]string{alice: password}})
	dialed := int64(0)
	knock := func(listener, from string) *raw {
		dialed++
		return dial(t, g, listener, from)
	}
	for banned := false; !banned; {
		if dialed > 200 {
			t.Fatal("not banned after 200 foreign requests")
		}
		c := knock("ftp", "127.0.0.1")
		c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\nUSER alice\r\n")
		text := c.rest()
		_ = c.c.Close()
		if strings.Contains(text, "331") || strings.Contains(text, "530") {
			t.Errorf("what stood behind the request was executed: %q", text)
		}
		banned = !strings.HasPrefix(text, "220")
		if banned && !strings.Contains(g.CLI("", "bans", "list", "--json"), "127.0.0.1/32") {
			banned = false // so many at once are refused as well
		}
	}
	for _, listener := range []string{"ftp", "ftps", "sftp", "relay", "submission", "submissions"} {
		c := knock(listener, "127.0.0.1")
		if text := c.rest(); strings.Contains(text, "220") {
			t.Errorf("%s greeted a banned source: %q", listener, text)
		}
	}
	other := knock("ftp", "127.0.0.99") // of another /26
	other.want("220")
	other.say("QUIT", "221")
	var bans []struct {
		Source   string                  `json:"source"`
		Reason   string                  `json:"reason"`
		Offences map[session.Offence]int `json:"offences"`
	}
	unmarshal(t, g.CLI("", "bans", "list", "--json"), &bans)
	found := false
	for _, b := range bans {
		found = found || b.Source == "127.0.0.1/32" && b.Offences[session.BadProtocol] > 0 && strings.Contains(b.Reason, "bad protocol")
	}
	if !found {
		t.Errorf("the ban is not explained: %+v", bans)
	}
	g.CLI("", "bans", "remove", "127.0.0.1/32")
	again := knock("ftp", "127.0.0.1")
	again.want("220")
	again.say("QUIT", "221")
	g.Stop() // what is held back of the banned is written
	if got := accounted(t, g); got != dialed {
		t.Errorf("the record accounts for %d connections, want %d", got, dialed)
	}
}

// One source cannot take every place before login; who is over the limit is told
// so, and places come back.
func TestConnectionsWithoutALogin(t *testing.T) {
	t.Parallel()
	config := gatewaytest.Config + "limits { unauthenticated_per_source = 4 }\n"
	g := gatewaytest.Start(t, gatewaytest.Options{Config: config, Users: map[string]string{alice: password}})
	var open []*raw
	for _, listener := range []string{"ftp", "submission", "ftp", "relay"} {
		c := dial(t, g, listener)
		c.want("220")
		open = append(open, c)
	}
	for _, listener := range []string{"ftp", "submission"} {
		over := dial(t, g, listener)
		over.want("421")
	}
	dial(t, g, "ftp", "127.0.0.2").want("220")
	open[0].say("QUIT", "221")
	open[0].rest()
	eventually(t, "the place is given back", func() bool {
		return strings.HasPrefix(dial(t, g, "submission").reply(), "220")
	})
	if n := len(events(t, g, "--event", "connection", "--outcome", "refused")); n < 2 {
		t.Errorf("got %d refused connections recorded, want at least 2", n)
	}
}

// after is events of those recorded since mark, a time of this machine.
func after(t *testing.T, g *gatewaytest.Gateway, mark time.Time, filter ...string) []session.Event {
	t.Helper()
	mark = mark.Truncate(time.Microsecond) // as the record has it
	return slices.DeleteFunc(events(t, g, filter...), func(e session.Event) bool { return e.Time.Before(mark) })
}

// descriptors is how many files the gateway has open.
func descriptors(t *testing.T, g *gatewaytest.Gateway) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.PID()))
	if err != nil {
		t.Skip("needs /proc")
	}
	return len(list)
}

// Peers that vanish, whenever they do, leave nothing behind.
func TestVanishingPeers(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{
		Config: trusting, Policy: exempted, Users: map[string]string{"scanner": "scan-pw"}, Env: []string{"GOTRACEBACK=all"},
	})
	script := map[string]string{
		"ftp":  "USER scanner\r\nPASS scan-pw\r\nPASV\r\nPWD\r\nTYPE I\r\nEPSV\r\nSTOR a.bin\r\nNOOP\r\nPASV\r\nLIST\r\nAUTH TLS\r\n\x16\x03\x01",
		"ftps": "\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + strings.Repeat("\x00", 150), "submissions": "\x16\x03\x01\x40\x00\x01",
		"sftp":       "SSH-2.0-vanish\r\n\x00\x00\x05\xdc\x06\x14" + strings.Repeat("a", 900),
		"submission": "EHLO x.test\r\nAUTH PLAIN\r\nNOOP\r\nMAIL FROM:<a@example.com>\r\nSTARTTLS\r\n\x16\x03\x01\x02",
		"relay":      "EHLO x.test\r\nRSET\r\nAUTH LOGIN\r\n*\r\nVRFY x\r\nSTARTTLS\r\n",
	}
	names := []string{"ftp", "ftps", "sftp", "submission", "submissions", "relay"}
	vanish := func(i int) {
		name := names[i%len(names)]
		text := script[name]
		c := dial(t, g, name)
		c.send(text[:(i*7919)%(len(text)+1)])
		if i%3 > 0 {
			_ = c.c.SetReadDeadline(time.Now().Add(time.Duration(i%5) * time.Millisecond))
			_, _ = c.r.ReadByte()
		}
		if i%2 == 0 {
			_ = c.c.(*net.TCPConn).SetLinger(0) // a reset
		}
		_ = c.c.Close()
	}
	for i := range 12 {
		vanish(i)
	}
	quiet := func() bool { return accounted(t, g)%12 == 0 && len(sessions(t, g)) == 0 }
	eventually(t, "the first twelve are over", quiet)
	baseline := descriptors(t, g)
	const many = 204
	for i := range many {
		vanish(i)
	}
	eventually(t, "every connection is recorded", func() bool { return accounted(t, g) == many+12 })
	got := 0
	eventually(t, "the descriptors are back at "+strconv.Itoa(baseline), func() bool {
		got = descriptors(t, g)
		return got <= baseline
	})
	g.Signal(syscall.SIGQUIT)
	_ = g.Wait()
	dump := g.Log()
	if !strings.Contains(dump, "goroutine ") {
		t.Fatal("no stacks in the log")
	}
	for _, left := range []string{"gateway/ftp.(*conn)", "gateway/sftp.(*conn)", "gateway/sftp.(*login)", "gateway/smtp.(*conn)", "gateway/smtp.(*wire)", "ssh.(*handshakeTransport)"} {
		if strings.Contains(dump, left) {
			t.Errorf("a goroutine is left in %s", left)
		}
	}
	if strings.Contains(dump, "scan-pw") {
		t.Error("the stacks show a password")
	}
}

func sessions(t *testing.T, g *gatewaytest.Gateway) []session.Info {
	t.Helper()
	var list []session.Info
	unmarshal(t, g.CLI("", "sessions", "list", "--json"), &list)
	return list
}
