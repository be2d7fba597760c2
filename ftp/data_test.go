package ftp_test

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/storage"
)

func TestTransfersInClear(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	content := strings.Repeat("0123456789abcdef", 200_000) // 3.2 MB, more than a chunk
	f.tree.put(t, "big", content)
	c := f.dial(t).login()
	c.do("TYPE I", "200 *")
	if got := c.retr("RETR big"); got != content {
		t.Errorf("got %d bytes, want %d", len(got), len(content))
	}
	c.do("REST 3199990", "350 *")
	if got := c.retr("RETR big"); got != content[3199990:] {
		t.Errorf("after REST: got %q", got)
	}
	c.stor("STOR new", content, "226 *")
	if f.tree.get(t, "new") != content {
		t.Error("the upload is not what was sent")
	}
	c.stor("APPE new", "tail", "226 *")
	if got := f.tree.get(t, "new"); got != content+"tail" {
		t.Errorf("after APPE: %d bytes", len(got))
	}
	c.do("REST 4", "350 *")
	c.stor("STOR new", "XY", "226 *")
	if got := f.tree.get(t, "new"); got != "0123XY" {
		t.Errorf("after REST and STOR: %q", got)
	}
	c.do("REST 99", "350 *")
	c.do("EPSV", "229 *")
	c.do("STOR new", "554 *")
	c.do("RETR missing", "550 *")
	c.do("QUIT", "221 *")
	c.closed()
	want := []string{
		"read done /big", "read done /big", "write begun /new", "write done /new", "append begun /new",
		"append done /new", "write begun /new", "write done /new", "write begun /new", "write failed /new", "read failed /missing",
	}
	if got := f.outcomes(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, e := range f.core.Record.Events(session.EventFile)[:4] {
		if e.Outcome == session.OutcomeDone && e.Path == "/new" && e.Bytes != int64(len(content)) {
			t.Errorf("recorded %d bytes, want %d", e.Bytes, len(content))
		}
	}
}

// The connection record holds the bytes of the data connections too.
func TestConnectionRecordCountsData(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "f", strings.Repeat("x", 100_000))
	c := f.dial(t).login()
	c.do("TYPE I", "200 *")
	c.retr("RETR f")
	c.stor("STOR g", strings.Repeat("y", 200_000), "226 *")
	c.do("QUIT", "221 *")
	c.closed()
	_ = c.conn.Close()
	if err := f.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := f.core.Record.Events(session.EventConnection)
	if len(e) != 1 || e[0].BytesOut < 100_000 || e[0].BytesIn < 200_000 || e[0].Outcome != session.OutcomeSession {
		t.Errorf("got %+v", e)
	}
}

func TestASCII(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{ConvertASCII: true})
	f.tree.put(t, "unix", "a\nb\n\nlast")
	f.tree.put(t, "dos", "a\r\nb\r\n")
	f.tree.put(t, "none", "no newline")
	c := f.dial(t).login()
	for name, want := range map[string]string{"unix": "a\r\nb\r\n\r\nlast", "dos": "a\r\nb\r\n", "none": "no newline"} {
		if got := c.retr("RETR " + name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	c.stor("STOR in", "a\r\nb\rc\r\r\nlast\r", "226 *")
	if got := f.tree.get(t, "in"); got != "a\nb\rc\r\nlast\r" {
		t.Errorf("got %q", got)
	}
	c.do("SIZE unix", "213 9")
}

func TestListings(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "a.txt", "12345")
	f.tree.put(t, "sub/b.txt", "1")
	f.tree.put(t, "sub/c.dat", "1")
	f.tree.put(t, "-dash", "1")
	f.tree.put(t, "we\r\n226 forged", "1") // D23
	c := f.dial(t).login()
	for command, want := range map[string]string{
		"NLST sub/*.txt":   "sub/b.txt\r\n",
		"NLST -al sub/b*":  "sub/b.txt\r\n",
		"NLST a.txt":       "a.txt\r\n",
		"NLST -dash":       "-dash\r\n",
		"NLST we*":         "we??226 forged\r\n",
		"NLST *zzz":        "",
		"NLST {a,b}*{c,d}": "",
	} {
		if got := c.retr(command); got != want {
			t.Errorf("%s: got %q, want %q", command, got, want)
		}
	}
	list := c.retr("LIST -al")
	if !strings.Contains(list, " a.txt\r\n") || !strings.Contains(list, "drwx") || strings.Contains(list, "\n226") {
		t.Errorf("LIST: %q", list)
	}
	if got := c.retr("MLSD sub"); !strings.Contains(got, "Type=file;Size=1;") || !strings.Contains(got, "; c.dat\r\n") {
		t.Errorf("MLSD: %q", got)
	}
	if got := c.do("STAT /", "212-*"); strings.Contains(got, "%s") || strings.Contains(got, "\n226") { // D22, D23
		t.Errorf("STAT: %q", got)
	}
	c.do("MLSD a.txt", "501 *")
	c.do("LIST nowhere", "550 *")
	c.do("STAT "+strings.Repeat("*/", 400)+"*", "5*") // glob bombs
	c.do("STAT "+strings.Repeat("*a", 100), "550 *")
}

// D2: a stranger at the passive port gets nothing, and the peer still gets its file.
func TestD02StrangerAtThePassivePort(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "f", "content")
	c := f.dial(t).login()
	at := c.epsv()
	stranger := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	s, err := stranger.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c.send("RETR f\r\n")
	_ = s.SetDeadline(time.Now().Add(5 * time.Second))
	if got, _ := io.ReadAll(s); len(got) != 0 {
		t.Errorf("the stranger got %q", got)
	}
	own, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	c.expect("150 *")
	if got, _ := io.ReadAll(own); string(got) != "content" {
		t.Errorf("got %q", got)
	}
	_ = own.Close()
	c.expect("226 *")
}

func TestActive(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "f", "content")
	c := f.dial(t).login()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	_, control, _ := net.SplitHostPort(f.addr)
	for i, command := range []string{
		"PORT 127,0,0,1," + itoa(port>>8) + "," + itoa(port&255), "EPRT |1|127.0.0.1|" + itoa(port) + "|", "EPRT !1!127.0.0.1!" + itoa(port) + "!",
	} {
		c.do(command, "200 *")
		c.send("RETR f\r\n")
		_ = ln.SetDeadline(time.Now().Add(5 * time.Second))
		d, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && itoa(d.RemoteAddr().(*net.TCPAddr).Port+1) != control {
			t.Logf("source port %s is not below %s: it was taken", d.RemoteAddr(), control)
		}
		if got, _ := io.ReadAll(d); string(got) != "content" {
			t.Errorf("%s: got %q", command, got)
		}
		_ = d.Close()
		c.expect("150 *")
		c.expect("226 *")
	}
	_ = ln.Close()
	c.do("PORT 127,0,0,1,"+itoa(port>>8)+","+itoa(port&255), "200 *")
	c.do("RETR f", "425 *")
}

// D17: ABOR is answered at once: while bytes move, and while the data connection
// is awaited, NOOP before it or not.
func TestD17Abort(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "big", strings.Repeat("x", 30<<20))
	c := f.dial(t).login()
	c.do("TYPE I", "200 *")

	c.epsv()
	c.send("RETR big\r\n")
	c.do("NOOP", "200 *")
	c.do("STAT", "211-*RETR in progress*")
	c.send("ABOR\r\n")
	c.expect("426 *")
	c.expect("226 *")

	d := c.data()
	c.do("RETR big", "150 *")
	c.do("NOOP", "200 *")
	c.send("PWD\r\n\xff\xf4\xf2ABOR\r\n") // PWD waits, ABOR does not
	c.expect("426 *")
	c.expect("226 *")
	c.expect("257 *")
	if got, err := io.ReadAll(d); err == nil {
		t.Errorf("the client took %d bytes for a whole file", len(got))
	}

	d = c.data()
	c.do("STOR part", "150 *")
	_, _ = io.WriteString(d, "some bytes")
	waitFor(t, func() bool { i, err := f.parts(t, "part"); return err == nil && i == 10 })
	c.do("ABOR", "426 *")
	c.expect("226 *")
	if f.tree.has("part") {
		t.Error("an aborted upload is visible")
	}
	c.do("SIZE part", "213 10")
	c.do("REST 10", "350 *")
	c.stor("STOR part", " and more", "226 *")
	if got := f.tree.get(t, "part"); got != "some bytes and more" {
		t.Errorf("resumed: %q", got)
	}
	c.do("QUIT", "221 *")
}

// QUIT during a transfer lets it finish.
func TestQuitDuringTransfer(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	c := f.dial(t).login()
	d := c.data()
	c.do("STOR f", "150 *")
	c.send("QUIT\r\n")
	_ = c.conn.(*net.TCPConn).CloseWrite() // it said goodbye, so it is not lost
	_, _ = io.WriteString(d, "content")
	_ = d.Close()
	c.expect("226 *")
	c.expect("221 *")
	c.closed()
	if got := f.tree.get(t, "f"); got != "content" {
		t.Errorf("got %q", got)
	}
}

// A client that dies in mid-upload closes both connections; what came is not a file.
func TestLostControlConnectionAbortsUpload(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	c := f.dial(t).login()
	d := c.data()
	c.do("STOR f", "150 *")
	_, _ = io.WriteString(d, "half")
	_ = c.conn.Close()
	waitFor(t, func() bool {
		e := f.core.Record.Events(session.EventFile)
		return len(e) == 2 && e[1].Outcome == session.OutcomeFailed
	})
	if f.tree.has("f") {
		t.Error("half an upload is visible")
	}
}

// The same for one whose two connections end at once, as when it is killed, and for
// one whose end is not heard because the queue of commands is full. Who said QUIT
// and closed has sent a whole file.
func TestKilledClientLeavesNoFile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only the system could tell")
	}
	f := start(t, nil, ftp.Config{TLS: serverTLS(t), TakeTruncated: true})
	const rounds = 60
	for i := range rounds {
		c := f.dial(t)
		if i%3 == 1 {
			c.secure().login().private()
		} else {
			c.login()
		}
		d := c.data()
		c.do("STOR f"+itoa(i), "150 *")
		if i%3 == 1 {
			_, _ = io.WriteString(dataTLS(t, d, c.tls), "half")
		} else {
			_, _ = io.WriteString(d, "half")
		}
		if i%3 == 2 {
			c.send(strings.Repeat("PWD\r\n", 200))
		}
		_ = c.raw.Close()
		_ = d.Close()
	}
	c := f.dial(t).login()
	d := c.data()
	c.do("STOR whole", "150 *")
	c.send("QUIT\r\n")
	_, _ = io.WriteString(d, "content")
	_ = c.raw.Close()
	_ = d.Close()
	waitFor(t, func() bool {
		ends := 0
		for _, outcome := range f.outcomes() {
			if !strings.HasPrefix(outcome, "write begun") {
				ends++
			}
		}
		return ends == rounds+1
	})
	for _, outcome := range f.outcomes() {
		if strings.HasPrefix(outcome, "write done") && outcome != "write done /whole" {
			t.Errorf("half a file: %s", outcome)
		}
	}
	if !f.tree.has("whole") {
		t.Error("the upload before QUIT is lost")
	}
}

// Promise 5: 226 only after the commit.
func TestFailedCommitIsNot226(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{{session.ErrNoSpace, "452 *"}, {session.ErrQuota, "552 *"}, {errors.New("disk on fire at /srv/x"), "451 Requested action aborted: local error."}} {
		f := start(t, nil, ftp.Config{})
		f.tree.commit = c.err
		cl := f.dial(t).login()
		cl.stor("STOR f", "x", c.want)
		if f.tree.has("f") {
			t.Error("the file is visible")
		}
	}
}

// D15: a port is given up for the next; a thousand of them leave no descriptor
// behind, and nothing serves whoever connects to one that was given up.
func TestD15PortsAreGivenUpForTheNext(t *testing.T) {
	ports := freePorts(t, 2)
	f := start(t, nil, ftp.Config{PassivePorts: ports, TLS: serverTLS(t)})
	c := f.dial(t).login()
	round := func() {
		at := c.epsv()
		c.do("PORT 127,0,0,1,200,1", "200 *")
		if got := whatComes(t, at, "127.0.0.1"); got != "" {
			t.Fatalf("%s served %q", at, got)
		}
		c.do("PASV", "227 Entering Passive Mode (127,0,0,1,*,*).")
	}
	for range 20 {
		round()
	}
	before := descriptors(t)
	for range 1000 {
		round()
	}
	if after := descriptors(t); after > before+2 { // other tests' are not ours: this one is not parallel
		t.Errorf("%d descriptors, before %d", after, before)
	}
	c.do("USER alice", "331 *") // gives the port back
	c.do("PASS right", "230 *")
	d := f.dial(t).login()
	c.epsv()
	d.epsv()
	e := f.dial(t).login()
	e.do("EPSV", "425 *")
	e.do("PASV", "425 *")
	c.do("QUIT", "221 *")
	_ = c.conn.Close()
	waitFor(t, func() bool { e.send("EPSV\r\n"); return strings.HasPrefix(e.reply(), "229") })
}

// whatComes connects from an address and returns what the server sends before it
// closes.
func whatComes(t *testing.T, to, from string) string {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", to)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	got, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%s keeps a connection that nobody waits for", to)
	}
	return string(got)
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(list)
}

// Clients of different addresses share one port, each gets its own file, and one
// address cannot have the port twice.
func TestOnePortServesManyClients(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 1)
	f := start(t, nil, ftp.Config{PassivePorts: ports})
	var waiting []*client
	for i := range 5 {
		from := "127.0.0." + itoa(10+i)
		f.tree.put(t, from, "for "+from)
		c := f.dialFrom(t, from).login()
		waiting = append(waiting, c)
		at := c.epsv()
		c.send("RETR " + from + "\r\n")
		c.at, c.from = at, from
	}
	if free, busy, _ := ports.Stats(); free != 0 || busy != 5 {
		t.Errorf("%d free, %d busy; want 0, 5", free, busy)
	}
	again := f.dialFrom(t, "127.0.0.10").login()
	again.do("EPSV", "425 *")
	if _, _, exhausted := ports.Stats(); exhausted != 1 {
		t.Errorf("exhausted %d times, want 1", exhausted)
	}
	if got := whatComes(t, waiting[0].at, "127.0.0.99"); got != "" {
		t.Errorf("a stranger got %q", got)
	}
	for i := range waiting {
		c := waiting[len(waiting)-1-i]
		if got := whatComes(t, c.at, c.from); got != "for "+c.from {
			t.Errorf("%s got %q", c.from, got)
		}
		c.expect("150 *")
		c.expect("226 *")
	}
	again.epsv()
}

// D16: a passive port that nobody uses is given back.
func TestD16UnusedPassivePortIsClosed(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 1)
	f := start(t, nil, ftp.Config{PassivePorts: ports, DataTimeout: 50 * time.Millisecond})
	c, d := f.dial(t).login(), f.dial(t).login()
	c.epsv()
	waitFor(t, func() bool { d.send("EPSV\r\n"); return strings.HasPrefix(d.reply(), "229") })
	c.do("LIST", "425 *")
}

// D14: no peer is waited for without end.
func TestD14Deadlines(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TLS: serverTLS(t), DataTimeout: 60 * time.Millisecond, TransferStall: 60 * time.Millisecond})
	f.tree.put(t, "big", strings.Repeat("x", 30<<20))
	c := f.dial(t).login()
	c.do("TYPE I", "200 *")
	c.epsv()
	c.do("RETR big", "425 *")
	c.data()
	c.do("STOR f", "150 *")
	c.expect("426 Transfer stalled*")
	c.data()
	c.do("RETR big", "150 *")
	c.expect("426 Transfer stalled*")

	s := f.dial(t).secure().login().private()
	s.data()
	s.do("RETR big", "150 *")
	s.expect("522 *handshake*")

	implicit := start(t, nil, ftp.Config{TLS: serverTLS(t), Implicit: true, LoginGrace: 60 * time.Millisecond})
	silent := implicit.dialSilent(t)
	silent.closed()
	waitFor(t, func() bool { return len(implicit.core.Record.Events(session.EventConnection)) == 1 })
	if e := implicit.core.Record.Events(session.EventConnection)[0]; e.Outcome != session.OutcomeHandshakeFailed {
		t.Errorf("got %s", sessiontest.String(e))
	}
}

// D12: implicit TLS is a property of the connection.
func TestD12ImplicitTLS(t *testing.T) {
	t.Parallel()
	f := start(t, sessiontest.Encrypted, ftp.Config{TLS: serverTLS(t), Implicit: true})
	f.tree.put(t, "f", "x")
	c := f.dialSilent(t)
	c.handshake()
	c.expect("220 *")
	c.login()
	c.do("AUTH TLS", "534 *")
	raw := c.data() // private from the start
	c.do("RETR f", "150 *")
	if got, err := io.ReadAll(dataTLS(t, raw, c.tls)); err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = raw.Close()
	c.expect("226 *")
	bad := ftp.New(ftp.Config{Implicit: true})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := bad.Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), "implicit TLS") {
		t.Errorf("Serve without a certificate: %v", err)
	}
}

// ALPACA, CVE-2021-3618: a foreign protocol in ALPN fails the handshake.
func TestForeignALPNIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TLS: serverTLS(t)})
	for proto, fine := range map[string]bool{"http/1.1": false, "ftp": true} {
		c := f.dial(t)
		c.do("AUTH TLS", "234 *")
		c.tls.NextProtos = []string{proto}
		err := tls.Client(c.conn, c.tls).Handshake()
		if fine != (err == nil) {
			t.Errorf("%s: %v", proto, err)
		}
	}
}

// ALLO is the moment to learn that there is no room.
func TestAlloChecksSpace(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.space = 1000
	c := f.dial(t).login()
	c.do("ALLO 1000", "200 *")
	c.do("ALLO 1001", "552 *")
}

// Peers that come and go at every moment leave nothing behind: the fixture
// counts connections and sessions, and the pool its ports.
func TestAcceptRaces(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{PassivePorts: freePorts(t, 1), TLS: serverTLS(t), DataTimeout: 100 * time.Millisecond})
	f.tree.put(t, "f", "content")
	scripts := []string{
		"", "USER alice\r\n", "USER alice\r\nPASS right\r\nEPSV\r\n", "USER alice\r\nPASS right\r\nEPSV\r\nRETR f\r\n",
		"USER alice\r\nPASS right\r\nEPSV\r\nSTOR g\r\nQUIT\r\n", "AUTH TLS\r\n", "AUTH TLS\r\n\x16\x03",
	}
	const rounds = 210
	for i := range rounds {
		c := f.dialSilent(t)
		c.send(scripts[i%len(scripts)])
		_ = c.conn.Close()
	}
	waitFor(t, func() bool { return len(f.core.Record.Events(session.EventConnection)) == rounds })
	c := f.dial(t).login()
	c.epsv()
}

func TestStou(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	c := f.dial(t).login()
	d := c.data()
	name, _ := strings.CutPrefix(c.do("STOU", "150 FILE: upload.*"), "150 FILE: ")
	_, _ = io.WriteString(d, "x")
	_ = d.Close()
	c.expect("226 *")
	if got := f.tree.get(t, name); got != "x" {
		t.Errorf("got %q", got)
	}
}

// A panic in a transfer ends that connection only, and the upload with it.
func TestPanicInTransfer(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "f", "x")
	f.tree.open = func(file storage.File) storage.File { return panicking{file} }
	c := f.dial(t).login()
	d := c.data()
	c.do("RETR f", "150 *")
	c.expect("451 *")
	c.expect("421 *")
	c.closed()
	_ = d.Close()
	f.dial(t).login().do("NOOP", "200 *")
	if got := f.outcomes(); len(got) != 1 || got[0] != "read failed /f" {
		t.Errorf("events %q", got)
	}
	if strings.Contains(f.log.String(), "right") {
		t.Error("the password is in the log")
	}
}

type panicking struct{ storage.File }

func (panicking) OS() *os.File                      { return nil }
func (panicking) ReadAt([]byte, int64) (int, error) { panic("boom") }

// freePorts is a pool of n ports that nobody uses, outside of the range from
// which the kernel gives ports to other tests.
func freePorts(t *testing.T, n int) *ftp.PassivePorts {
	t.Helper()
	for range 100 {
		low := 20000 + rand.IntN(10000)
		free := true
		for port := low; port < low+n; port++ {
			ln, err := net.Listen("tcp", "127.0.0.1:"+itoa(port))
			if err != nil {
				free = false
				break
			}
			_ = ln.Close()
		}
		if free {
			ports, err := ftp.NewPassivePorts(uint16(low), uint16(low+n-1))
			if err != nil {
				t.Fatal(err)
			}
			return ports
		}
	}
	t.Skip("no free ports")
	return nil
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// parts is how much of an upload lies in the tree.
func (f *fixture) parts(t *testing.T, name string) (int64, error) {
	t.Helper()
	i, err := f.tree.parts.Stat(partName(name))
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

func itoa(n int) string { return strconv.Itoa(n) }
