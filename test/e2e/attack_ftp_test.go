package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// TestAttackFTP runs them all against one gateway, one after the other.
func TestAttackFTP(t *testing.T) {
	g := attacked(t)
	t.Run("PlaintextBehindAuthTLS", func(t *testing.T) { plaintextBehindAuthTLS(t, g) })
	t.Run("CommandsBehindARefusal", func(t *testing.T) { commandsBehindARefusal(t, g) })
	t.Run("UserTwice", func(t *testing.T) { userTwice(t, g) })
	t.Run("ProtTricks", func(t *testing.T) { protTricks(t, g) })
	t.Run("PortBounce", func(t *testing.T) { portBounce(t, g) })
	t.Run("ForeignProtocolsOnFTP", func(t *testing.T) { foreignProtocolsOnFTP(t, g) })
	t.Run("FloodBeforeLogin", func(t *testing.T) { floodBeforeLogin(t, g) })
}

// CVE-2011-1575 and its like: what was sent in clear behind AUTH TLS is not
// executed, in the same segment or in one of its own.
func plaintextBehindAuthTLS(t *testing.T, g *gatewaytest.Gateway) {
	mark := time.Now()
	c := dial(t, g, "ftp")
	c.want("220")
	c.send("AUTH TLS\r\nUSER alice\r\nPASS " + password + "\r\nMKD injected\r\n")
	if text := c.rest(); !strings.HasPrefix(text, "503") || strings.Count(text, "\n") != 1 {
		t.Errorf("got %q, want one 503 and the end", text)
	}
	c = dial(t, g, "ftp")
	c.want("220")
	c.say("AUTH TLS", "234")
	c.send("USER alice\r\nPASS " + password + "\r\nMKD injected\r\n")
	if text := c.rest(); strings.Contains(text, "331") || strings.Contains(text, "230") {
		t.Errorf("got %q", text)
	}
	if _, err := os.Stat(filepath.Join(g.Dir, "files", alice, "injected")); err == nil {
		t.Error("the command was executed")
	}
	if granted := after(t, g, mark, "--event", "login"); len(granted) != 0 {
		t.Errorf("%d logins recorded, want none", len(granted))
	}
}

// Whatever a client sends behind a refusal, none of it is done as somebody.
func commandsBehindARefusal(t *testing.T, g *gatewaytest.Gateway) {
	mark := time.Now()
	c := dial(t, g, "ftp")
	c.want("220")
	c.send("PASS " + password + "\r\nUSER alice\r\nPASS " + password + "\r\nMKD x\r\nPASV\r\nSTOR y\r\nPASS again\r\nQUIT\r\n")
	c.want("503", "530", "503", "530", "530", "530", "503", "221")
	c.rest()
	logins := after(t, g, mark, "--event", "login")
	if len(logins) != 2 || logins[0].Credential != session.CredentialNone || logins[1].Credential != session.CredentialPlaintext || logins[1].Outcome != session.OutcomeRefused {
		t.Errorf("recorded: %+v", logins)
	}
	if list, _ := os.ReadDir(filepath.Join(g.Dir, "files", alice)); len(list) != 0 {
		t.Errorf("there are files: %v", list)
	}
}

// USER begins anew: the name before is forgotten, and whoever was logged in is
// logged out, also when the new login fails.
func userTwice(t *testing.T, g *gatewaytest.Gateway) {
	g.AddUser("bob", "bobs-own-password")
	c := ftps(t, g, trust(t, g))
	c.say("USER alice", "331")
	c.say("USER bob", "331")
	c.say("PASS "+password, "530")
	c.say("PASS bobs-own-password", "503")
	c.say("USER alice", "331")
	c.say("PASS "+password, "230")
	c.say("PWD", "257")
	c.say("USER bob", "331")
	c.say("PWD", "530")
	c.say("MKD x", "530")
	c.say("PASS "+password, "530")
	c.say("PWD", "530")
	if live := sessions(t, g); len(live) != 0 {
		t.Errorf("sessions live on: %+v", live)
	}
}

// The protection of the data connection cannot be talked away.
func protTricks(t *testing.T, g *gatewaytest.Gateway) {
	cfg := trust(t, g)
	c := dial(t, g, "ftp")
	c.want("220")
	c.say("PBSZ 0", "503")
	c.say("PROT C", "503")
	c.say("AUTH KERBEROS_V4", "504")
	c.say("AUTH TLS", "234")
	c = c.secure(cfg)
	c.say("PROT P", "503")
	c.say("PBSZ 99999999999999999999", "501")
	c.say("PBSZ 0", "200")
	c.say("PROT C", "534")
	c.say("PROT X", "504")
	c.say("CCC", "534")
	c.say("AUTH TLS", "534")
	c.say("USER alice", "331")
	c.say("PASS "+password, "230")
	c.say("PROT C", "534")
	c.say("EPSV", "229")
	c.say("LIST", "522") // PROT P was never said
}

// PORT and EPRT go to the peer itself and to no reserved port.
func portBounce(t *testing.T, g *gatewaytest.Gateway) {
	c := ftps(t, g, trust(t, g))
	c.say("PORT 127,0,0,1,200,1", "530")
	c.say("USER alice", "331")
	c.say("PASS "+password, "230")
	for _, command := range []string{
		"PORT 127,0,0,2,200,1", "PORT 10,0,0,1,200,1", "PORT 127,0,0,1,0,25", "PORT 127,0,0,1,3,255", "PORT 127,0,0,1,256,1",
		"PORT 127,0,0,1,-1,1", "PORT 127,0,0,1,1", "PORT 0,0,0,0,200,1", "EPRT |1|127.0.0.2|50000|", "EPRT |1|127.0.0.1|22|",
		"EPRT |1|127.0.0.1|70000|", "EPRT |1|localhost|50000|", "EPRT |2|::1|50000|", "EPRT |2|::ffff:127.0.0.2|50000|",
	} {
		c.send(command + "\r\n")
		if r := c.reply(); !strings.HasPrefix(r, "5") {
			t.Errorf("%s: got %q, want a refusal", command, r)
		}
	}
}

// A stranger who finds the passive port gets nothing, and does not take the
// transfer from the peer.
func TestStrangerOnThePassivePort(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Config: trusting, Policy: exempted, Users: map[string]string{"scanner": "scan-pw"}})
	c := dial(t, g, "ftp")
	c.want("220")
	c.say("USER scanner", "331")
	c.say("PASS scan-pw", "230")
	c.say("MKD here", "257")
	var port int
	if _, err := fmt.Sscanf(c.say("EPSV", "229"), "229 Entering Extended Passive Mode (|||%d|)", &port); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	stranger := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	var strangers []net.Conn
	for range 3 {
		s, err := stranger.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		strangers = append(strangers, s)
	}
	c.send("NLST\r\n")
	own, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	_ = own.SetDeadline(time.Now().Add(clientTimeout))
	list, _ := io.ReadAll(own)
	if string(list) != "here\r\n" {
		t.Errorf("the peer got %q, want its list", list)
	}
	c.want("150", "226")
	for _, s := range strangers {
		_ = s.SetDeadline(time.Now().Add(clientTimeout))
		if got, err := io.ReadAll(s); len(got) > 0 || os.IsTimeout(err) {
			t.Errorf("a stranger got %q, %v", got, err)
		}
	}
}

// ALPACA: a browser that was sent here is turned away at its first word.
func foreignProtocolsOnFTP(t *testing.T, g *gatewaytest.Gateway) {
	cfg := trust(t, g)
	for _, request := range []string{"GET / HTTP/1.1", "POST /x HTTP/1.1", "EHLO mail.test", "OPTIONS * HTTP/1.1"} {
		for _, listener := range []string{"ftp", "ftps"} {
			c := dial(t, g, listener)
			if listener == "ftps" {
				c = c.secure(cfg)
			}
			c.want("220")
			c.send(request + "\r\nHost: x\r\n\r\nUSER alice\r\nPASS x\r\n")
			if text := c.rest(); !strings.HasPrefix(text, "421") || strings.Count(text, "\n") != 1 {
				t.Errorf("%s %s: got %q, want one 421 and the end", listener, request, text)
			}
		}
	}
	foreign := cfg.Clone()
	foreign.NextProtos = []string{"h2", "http/1.1"}
	for _, listener := range []string{"ftps", "submissions"} {
		if err := tls.Client(dial(t, g, listener).c, foreign).HandshakeContext(t.Context()); err == nil {
			t.Errorf("%s took http/1.1", listener)
		}
	}
}

// A peer that says nothing but names, or a line without an end, is cut off, and
// leaves a bounded record.
func floodBeforeLogin(t *testing.T, g *gatewaytest.Gateway) {
	mark := time.Now()
	c := dial(t, g, "ftp")
	c.want("220")
	c.send(strings.Repeat("USER someone\r\n", 500))
	text := c.rest()
	if refused := strings.Count(text, "530 "); refused == 0 || refused > 20 || !strings.Contains(text, "421 ") {
		t.Errorf("got %d refusals of 500 and %.60q at the end", refused, text[max(0, len(text)-60):])
	}
	if logins := after(t, g, mark, "--event", "login"); len(logins) > 20 {
		t.Errorf("%d events recorded of one connection", len(logins))
	}
	endless := strings.Repeat("A", 64<<10)
	for _, listener := range []string{"ftp", "submission", "sftp"} {
		c := dial(t, g, listener)
		sent := 0
		for ; sent < 1<<30; sent += len(endless) { // a gigabyte without an end of line
			if _, err := io.WriteString(c.c, endless); err != nil {
				break
			}
		}
		if sent > 64<<20 {
			t.Errorf("%s swallowed %d bytes of one line", listener, sent)
		}
	}
	if peak := peakMemory(t, g); peak > 512<<10 {
		t.Errorf("the gateway used %d KiB", peak)
	}
}

// peakMemory is the most memory that the gateway had, in KiB.
func peakMemory(t *testing.T, g *gatewaytest.Gateway) (kib int) {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", g.PID()))
	if err != nil {
		t.Skip("needs /proc")
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kib); err == nil {
			return kib
		}
	}
	return 0
}
