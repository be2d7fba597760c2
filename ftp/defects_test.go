package ftp_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/session"
)

// Defects that other FTP servers were seen to have are numbered D1 to D34; each
// has a test or a dialogue that names it. These are those that stand beside no
// subject of their own.

// D8: PROT P protects data in active mode too, and we are the TLS server there as
// well, whoever dials.
func TestD08ActiveDataIsProtected(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TLS: serverTLS(t)})
	f.tree.put(t, "f", "content")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	c := f.dial(t).secure().login().private()
	c.do("TYPE I", "200 *")
	for _, command := range []string{"RETR f", "STOR g", "LIST"} {
		c.do("EPRT |1|127.0.0.1|"+itoa(port)+"|", "200 *")
		c.send(command + "\r\n")
		raw, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
		c.expect("150 *")
		d := tls.Client(raw, c.tls)
		if command == "STOR g" {
			_, err = io.WriteString(d, "sent")
		} else {
			var got []byte
			got, err = io.ReadAll(d)
			if !strings.Contains(string(got), "content") && !strings.Contains(string(got), " f\r\n") {
				t.Errorf("%s: got %q", command, got)
			}
		}
		if err != nil || !d.ConnectionState().DidResume {
			t.Errorf("%s: %v, resumed %v", command, err, d.ConnectionState().DidResume)
		}
		_ = d.Close()
		c.expect("226 *")
	}
	if got := f.tree.get(t, "g"); got != "sent" {
		t.Errorf("got %q", got)
	}
}

// D11: each option given to New has its effect. One that is added to Config must
// be added here.
func TestD11EveryOptionHasAnEffect(t *testing.T) {
	t.Parallel()
	first := func(t *testing.T, cfg ftp.Config) string { return start(t, nil, cfg).dialSilent(t).line() }
	upload := func(t *testing.T, cfg ftp.Config, content string) string {
		f := start(t, nil, cfg)
		f.dial(t).login().stor("STOR f", content, "226 *")
		return f.tree.get(t, "f")
	}
	public, err := ftp.ParsePublicAddresses([]string{"203.0.113.7"})
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 1)
	effects := map[string]func(t *testing.T) (got, want string){
		"Hostname": func(t *testing.T) (string, string) {
			return first(t, ftp.Config{Hostname: "files.example.com"}), "220 files.example.com FTP ready."
		},
		"Banner": func(t *testing.T) (string, string) {
			return first(t, ftp.Config{Banner: "Hello\r\nthere\r\n", Hostname: "h"}), "220-Hello"
		},
		"Implicit": func(t *testing.T) (string, string) {
			c := start(t, nil, ftp.Config{Implicit: true, TLS: serverTLS(t)}).dialSilent(t)
			c.handshake()
			return c.line(), "220 FTP ready."
		},
		"TLS": func(t *testing.T) (string, string) {
			return start(t, nil, ftp.Config{}).dial(t).sent("AUTH TLS"), "502 TLS is not configured."
		},
		"MaxLine": func(t *testing.T) (string, string) {
			return start(t, nil, ftp.Config{MaxLine: 64}).dial(t).sent(strings.Repeat("x", 65)), "500 Line too long."
		},
		"PassivePorts": func(t *testing.T) (string, string) {
			start(t, nil, ftp.Config{PassivePorts: ports}).dial(t).login().epsv()
			_, busy, _ := ports.Stats()
			return itoa(busy), "1"
		},
		"PublicAddresses": func(t *testing.T) (string, string) {
			got := start(t, nil, ftp.Config{PublicAddresses: public}).dial(t).login().sent("PASV")
			return got[:min(len(got), 39)], "227 Entering Passive Mode (203,0,113,7,"
		},
		"ConvertASCII": func(t *testing.T) (string, string) {
			return upload(t, ftp.Config{ConvertASCII: true}, "a\r\nb"), "a\nb"
		},
		"IdleTimeout": func(t *testing.T) (string, string) {
			c := start(t, nil, ftp.Config{IdleTimeout: 90 * time.Second}).dial(t).login()
			return c.sent("SITE IDLE"), "200 Current IDLE time limit is 90 seconds; max 90."
		},
		"LoginGrace": func(t *testing.T) (string, string) {
			return start(t, nil, ftp.Config{LoginGrace: time.Millisecond}).dial(t).line(), "421 Login timeout."
		},
		"DataTimeout": func(t *testing.T) (string, string) {
			c := start(t, nil, ftp.Config{DataTimeout: time.Millisecond}).dial(t).login()
			c.epsv()
			return c.sent("NLST"), "425 Can't open data connection."
		},
		"TransferStall": func(t *testing.T) (string, string) {
			c := start(t, nil, ftp.Config{TransferStall: time.Millisecond}).dial(t).login()
			c.data()
			c.do("STOR f", "150 *")
			return c.line(), "426 Transfer stalled; aborted."
		},
		"Log": func(t *testing.T) (string, string) {
			f := start(t, nil, ftp.Config{})
			f.dial(t).do("NOOP", "200 *")
			return fmt.Sprint(strings.Contains(f.log.String(), "verb=NOOP")), "true"
		},
	}
	// Those whose effect takes more to see are held by tests of their own; Gate, Name
	// and Files by all.
	elsewhere := []string{"Gate", "Name", "Files", "Proxies", "ProxyData", "Resumption", "TakeTruncated", "LeastRate"}
	options := reflect.TypeFor[ftp.Config]()
	for i := range options.NumField() {
		name := options.Field(i).Name
		effect, ok := effects[name]
		if !ok {
			if !slices.Contains(elsewhere, name) {
				t.Errorf("option %s has no test", name)
			}
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, want := effect(t); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// D20: replies of commands and of transfers do not mix, whatever comes when. The
// race detector looks at the rest.
func TestD20RepliesDoNotMix(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "f", "content")
	c := f.dial(t).login()
	for range 20 {
		d := c.data()
		c.send("RETR f\r\n" + strings.Repeat("STAT\r\nNOOP\r\n", 5) + "XYZZY\r\nNOOP\r\nSTAT\r\n")
		go func() { // as clients do
			_, _ = io.Copy(io.Discard, d)
			_ = d.Close()
		}()
		var codes []string
		for range 15 {
			got := c.reply()
			answered(t, "one of many", got)
			codes = append(codes, got[:3])
		}
		slices.Sort(codes)
		if got, want := strings.Join(codes, " "), "150 200 200 200 200 200 200 211 211 211 211 211 211 226 500"; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

// D25: what survives between REST and the transfer, and what makes it void.
func TestD25RestartOffset(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	const content = "0123456789"
	f.tree.put(t, "f", content)
	c := f.dial(t).login()
	for between, want := range map[string]string{
		"": content[4:], "TYPE I": content[4:], "NOOP": content[4:], "SIZE f": content[4:], "MODE S": content[4:], "STRU F": content[4:],
		"ALLO 5": content[4:], "PORT 127,0,0,1,200,1": content[4:], "PASV": content[4:], "REST 6": content[6:], "REST 0": content,
		"REST 10": "", "RANG 2 3": "23", "RANG 1 0": content,
		"PWD": content, "CWD .": content, "REST -5": content, "REST 5x": content, "REST +5": content, "MDTM f": content, "XYZZY": content[4:],
		"ABOR": content, "HASH f": content, "RETR missing": content, "LIST missing": content, "STAT": content, "OPTS UTF8 ON": content,
	} {
		c.do("REST 4", "350 *")
		if between != "" {
			c.send(between + "\r\n")
			answered(t, between, c.reply())
		}
		if got := c.retr("RETR f"); got != want {
			t.Errorf("%q: got %q, want %q", between, got, want)
		}
		if got := c.retr("RETR f"); got != content {
			t.Errorf("%q: the next got %q", between, got)
		}
	}
	c.epsv()
	for command, want := range map[string]string{"REST 11": "554 *", "REST 9223372036854775807": "554 *"} {
		c.do(command, "350 *")
		c.do("RETR f", want)
		c.do(command, "350 *")
		c.do("STOR f", want)
	}
	c.do("REST 9223372036854775808", "501 *")
	c.do("REST 4", "350 *")
	c.stor("APPE f", "X", "226 *") // always at the end
	c.do("REST 0", "350 *")
	if got := c.retr("RETR f"); got != content+"X" {
		t.Errorf("after APPE: %q", got)
	}
	c.do("REST 4", "350 *")
	c.do("USER alice", "331 *")
	c.do("PASS right", "230 *")
	if got := c.retr("RETR f"); got != content+"X" {
		t.Errorf("after USER: %q", got)
	}
}

// D28: LIST has the lines of ls, as all clients parse them.
func TestD28ListIsThatOfLs(t *testing.T) {
	t.Parallel()
	f, _ := startLocal(t, ftp.Config{})
	c := f.dial(t).login()
	c.do("MKD folder", "257 *")
	c.stor("STOR file with  spaces ", "12345", "226 *")
	c.do("SITE CHMOD 755 file with  spaces ", "200 *")
	c.do("SITE SYMLINK folder link", "200 *")
	line := regexp.MustCompile(`^[-dl]([-r][-w][-xsStT]){3} +\d+ ftp +ftp +\d+ [A-Z][a-z]{2} [ \d]\d [ \d]\d[:\d]\d\d (folder|link|file with  spaces )$`)
	list := strings.Split(strings.TrimSuffix(c.retr("LIST"), "\r\n"), "\r\n")
	if len(list) != 3 {
		t.Errorf("%d lines: %q", len(list), list)
	}
	for _, l := range list {
		if !line.MatchString(l) {
			t.Errorf("not a line of ls: %q", l)
		}
	}
	if !slices.ContainsFunc(list, func(l string) bool { return strings.HasPrefix(l, "-rwxr-xr-x ") }) {
		t.Errorf("no mode of the file: %q", list)
	}
}

// D24: EPSV ALL is the session's, and void with it.
func TestD24EPSVAllEndsWithTheSession(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TLS: serverTLS(t)})
	c := f.dial(t).login()
	c.do("PASV", "227 *")
	for _, end := range []string{"REIN", "USER alice", "AUTH TLS"} {
		c.do("EPSV ALL", "200 *")
		c.do("NLST", "425 *") // the port of before is gone
		for _, other := range []string{"PASV", "P@SW", "PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|51201|", "PORT x", "EPRT x"} {
			c.do(other, "503 *")
		}
		c.do("LPSV", "502 *")
		c.do("LPRT 4,4,127,0,0,1,2,200,1", "502 *")
		c.do("epsv all", "200 *")
		c.retr("NLST")
		c.send(end + "\r\n")
		c.reply()
		if end == "AUTH TLS" {
			c.handshake()
		}
		c.login()
		c.do("PASV", "227 *")
	}
}

// D2, D10: one connection, from the right peer; whoever else connects to the same
// port afterwards, the peer's own too, is closed and gets nothing.
func TestD02OneConnectionForAPort(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "f", "content")
	c := f.dial(t).login()
	at := c.epsv()
	first, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if got := whatComes(t, at, "127.0.0.1"); got != "" { // before the command
		t.Errorf("the second connection got %q", got)
	}
	c.do("RETR f", "150 *")
	if got := whatComes(t, at, "127.0.0.1"); got != "" {
		t.Errorf("the third connection got %q", got)
	}
	if got, _ := io.ReadAll(first); string(got) != "content" {
		t.Errorf("got %q", got)
	}
	_ = first.Close()
	c.expect("226 *")
	c.do("RETR f", "425 Use PORT or PASV first.")
}

// D5, D7: nothing that one user set or opened is there for the next, on whatever
// way one becomes the other.
func TestD07NothingIsInherited(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TLS: serverTLS(t)})
	f.tree.put(t, "sub/f", "0123456789")
	f.core.Accounts.Add("bob", "bobs", "")
	for _, way := range []string{"USER bob", "REIN", "AUTH TLS"} {
		c := f.dial(t).login()
		for _, command := range []string{"CWD sub", "TYPE I", "OPTS MLST Size;", "OPTS HASH MD5", "SITE IDLE 30", "EPSV ALL"} {
			c.do(command, "2*")
		}
		at := c.epsv()
		d, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		c.do("RNFR f", "350 *")
		c.do("REST 5", "350 *")
		c.send(way + "\r\n")
		answered(t, way, c.reply())
		if way == "AUTH TLS" {
			c.handshake()
			c.private()
		}
		c.do("PWD", "530 *")
		c.do("USER bob", "331 *")
		c.do("PASS bobs", "230 *")
		if got, _ := bufio.NewReader(d).ReadString('\n'); got != "" {
			t.Errorf("%s: the connection of before got %q", way, got)
		}
		c.do("RETR sub/f", "425 *")
		c.do("RNTO g", "503 *")
		c.do("PWD", `257 "/" *`)
		c.do("OPTS HASH", "200 SHA-256")
		c.do("SITE IDLE", "200 Current IDLE time limit is 300*")
		c.do("PASV", "227 *")
		c.do("MLST sub/f", "250-*Type=file;Size=10;Modify=*")
	}
	var users []string
	for _, e := range f.core.Record.Events(session.EventFile) {
		users = append(users, e.User+" "+string(e.Verb))
	}
	if slices.Contains(users, "bob read") {
		t.Errorf("recorded: %q", users)
	}
}
