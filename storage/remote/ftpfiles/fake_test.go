package ftpfiles

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/big"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/session"
	"gateway/storage/remote/ftpclient"
)

// fake is an FTP server in this process, with files in memory and faults on demand.
type fake struct {
	address, pin string
	config       *tls.Config // nil serves in clear
	pipes        *pipes      // nil listens to TCP
	old          bool        // it knows RFC 959, and SIZE and MDTM

	mu    sync.Mutex
	tree  map[string]*node
	conns []net.Conn
	// fault answers in place of the server, if it says so. An empty answer is none at all.
	fault func(verb, arg string) (answer string, instead bool)
	// cut ends a data connection after so many bytes of a verb, and the control connection.
	cut map[string]int
}

// node is a file, or a folder without content.
type node struct {
	folder  bool
	content []byte
	mode    int64
	time    time.Time
}

// startFake starts one.
func startFake(t *testing.T, protected bool) *fake {
	t.Helper()
	return (&fake{}).start(t, protected)
}

// startPiped starts one that is reached without the system, so that time can be that of
// package synctest.
func startPiped(t *testing.T) *fake {
	t.Helper()
	return (&fake{pipes: &pipes{waiting: make(map[string]*pipe)}}).start(t, false)
}

func (f *fake) listen() (net.Listener, error) {
	if f.pipes != nil {
		return f.pipes.listen(), nil
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

func (f *fake) start(t *testing.T, protected bool) *fake {
	t.Helper()
	ln, err := f.listen()
	if err != nil {
		t.Fatal(err)
	}
	f.address, f.tree = ln.Addr().String(), map[string]*node{"/": {folder: true, mode: 0o750, time: time.Now()}}
	if protected {
		f.config, f.pin = certificate(t)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); f.cutAll(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			wg.Go(func() { (&fakeConn{fake: f, bare: conn, wire: conn}).serve() })
		}
	})
	return f
}

// certificate makes one, and its pin.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, hex.EncodeToString(sum[:])
}

// cutAll ends all connections, as a failing network would.
func (f *fake) cutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.conns = nil
}

// failing sets the fault; nil takes it away.
func (f *fake) failing(fault func(verb, arg string) (string, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *fake) cutting(cut map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = cut
}

func (f *fake) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.tree))
}

func (f *fake) serverConfig() Config {
	cfg := Config{Address: f.address, User: "gateway", Password: session.NewSecret("secret"), Protection: ftpclient.None, Root: "/"}
	if f.pipes != nil {
		cfg.dial = f.pipes.dial
	}
	if f.config != nil {
		cfg.Protection, cfg.Pin = ftpclient.Explicit, f.pin
	}
	return cfg
}

// fakeConn is a control connection.
type fakeConn struct {
	*fake
	bare, wire net.Conn
	ln         net.Listener
	rest       int
	from       string
	folder     string
}

func (c *fakeConn) serve() {
	defer func() {
		_ = c.bare.Close()
		if c.ln != nil {
			_ = c.ln.Close()
		}
	}()
	in := bufio.NewReader(c.wire)
	c.say("220 fake")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		c.mu.Lock()
		fault := c.fault
		c.mu.Unlock()
		if fault != nil {
			if answer, instead := fault(verb, arg); instead {
				if answer != "" {
					c.say(answer)
				}
				continue
			}
		}
		if c.old && slices.Contains([]string{"AUTH", "FEAT", "EPSV", "MLSD", "MLST"}, verb) {
			c.say("500 what?")
			continue
		}
		switch verb {
		case "AUTH":
			if c.config == nil {
				c.say("502 no")
				continue
			}
			c.say("234 go on")
			c.wire = tls.Server(c.bare, c.config)
			in = bufio.NewReader(c.wire)
		case "EPSV", "PASV":
			c.passive(verb)
		case "RETR", "STOR", "APPE", "MLSD", "LIST":
			if !c.transfer(verb, arg) {
				return
			}
		case "QUIT":
			return
		default:
			c.say(c.answer(verb, arg))
		}
	}
}

func (c *fakeConn) say(s string) { _, _ = io.WriteString(c.wire, s+"\r\n") }

// passive listens. By PASV it names an address at which nobody is.
func (c *fakeConn) passive(verb string) {
	if c.ln != nil {
		_ = c.ln.Close()
	}
	ln, err := c.listen()
	if err != nil {
		c.say("425 no port")
		return
	}
	c.ln = ln
	port := ln.Addr().(*net.TCPAddr).Port
	if verb == "PASV" {
		c.say(fmt.Sprintf("227 here (192,0,2,7,%d,%d)", port>>8, port&0xff))
		return
	}
	c.say(fmt.Sprintf("229 here (|||%d|)", port))
}

// answer is that to what needs no data connection.
func (c *fakeConn) answer(verb, arg string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.tree[arg]
	switch verb {
	case "USER":
		return "331 password"
	case "PASS":
		if arg != "secret" {
			return "530 no"
		}
		return "230 in"
	case "FEAT":
		return "211-features\r\n MLST type*;size*;modify*;UNIX.mode*;\r\n REST STREAM\r\n UTF8\r\n211 end"
	case "PBSZ", "PROT", "TYPE", "OPTS", "NOOP":
		return "200 good"
	case "REST":
		c.rest, _ = strconv.Atoi(arg)
		return "350 go on"
	case "MKD":
		if n != nil || c.tree[path.Dir(arg)] == nil {
			return "550 no"
		}
		c.tree[arg] = &node{folder: true, mode: 0o750, time: time.Now()}
		return "257 made"
	case "RNFR":
		c.from = arg
		return "350 go on"
	case "RNTO":
		return c.rename(c.from, arg)
	case "SITE":
		var mode int64
		var name string
		if _, err := fmt.Sscanf(arg, "CHMOD %o", &mode); err == nil {
			_, name, _ = strings.Cut(strings.TrimPrefix(arg, "CHMOD "), " ")
		}
		if n = c.tree[name]; n == nil {
			return "550 no"
		}
		n.mode = mode
		return "200 good"
	}
	if n == nil {
		return "550 no"
	}
	switch verb {
	case "MLST":
		return "250-this\r\n " + n.facts() + " " + arg + "\r\n250 end"
	case "CWD":
		if !n.folder {
			return "550 no"
		}
		c.folder = arg
		return "250 there"
	case "SIZE":
		if n.folder {
			return "550 no"
		}
		return fmt.Sprint("213 ", len(n.content))
	case "MDTM":
		return "213 " + n.time.UTC().Format("20060102150405")
	case "DELE", "RMD":
		if n.folder != (verb == "RMD") || len(c.inside(arg)) > 0 {
			return "550 no"
		}
		delete(c.tree, arg)
		return "250 gone"
	}
	return "502 what?"
}

func (n *node) facts() string {
	kind := "file"
	if n.folder {
		kind = "dir"
	}
	return fmt.Sprintf("type=%s;size=%d;modify=%s;UNIX.mode=%04o;", kind, len(n.content), n.time.UTC().Format("20060102150405"), n.mode)
}

// long is its line of LIST.
func (n *node) long(name string) string {
	mode := fs.FileMode(n.mode)
	if n.folder {
		mode |= fs.ModeDir
	}
	return fmt.Sprintf("%s 1 ftp ftp %d %s %s", mode, len(n.content), n.time.UTC().Format("Jan _2 15:04"), name)
}

// inside are the paths of what is in a folder.
func (f *fake) inside(folder string) []string {
	var list []string
	for name := range f.tree {
		if name != "/" && path.Dir(name) == folder {
			list = append(list, name)
		}
	}
	return list
}

func (f *fake) rename(from, to string) string {
	n := f.tree[from]
	if over := f.tree[to]; n == nil || f.tree[path.Dir(to)] == nil || over != nil && over.folder {
		return "550 no"
	}
	for name, moved := range maps.Clone(f.tree) {
		if rest, below := strings.CutPrefix(name, from+"/"); below {
			delete(f.tree, name)
			f.tree[to+"/"+rest] = moved
		}
	}
	delete(f.tree, from)
	f.tree[to] = n
	return "250 moved"
}

// transfer serves a data connection; false ends the control connection.
func (c *fakeConn) transfer(verb, arg string) bool {
	c.mu.Lock()
	cut, cuts := c.cut[verb]
	if verb == "LIST" {
		arg = c.folder
	}
	n := c.tree[arg]
	if n == nil && (verb == "STOR" || verb == "APPE") && c.tree[path.Dir(arg)] != nil {
		n = &node{mode: 0o640, time: time.Now()}
		c.tree[arg] = n
	}
	var content []byte
	if n != nil {
		content = bytes.Clone(n.content)
	}
	if verb == "MLSD" {
		for _, name := range c.inside(arg) {
			content = fmt.Appendf(content, "%s %s\r\n", c.tree[name].facts(), path.Base(name))
		}
	}
	if verb == "LIST" {
		for _, name := range c.inside(arg) {
			content = fmt.Appendf(content, "%s\r\n", c.tree[name].long(path.Base(name)))
		}
	}
	c.mu.Unlock()
	if n == nil || c.ln == nil {
		c.say("550 no")
		return true
	}
	c.say("150 here it comes")
	data, err := c.accept()
	if err != nil {
		c.say("425 no connection")
		return true
	}
	defer data.Close()
	switch verb {
	case "STOR", "APPE":
		if verb == "STOR" {
			content = nil
		}
		in := io.Reader(data)
		if cuts {
			in = io.LimitReader(data, int64(cut))
		}
		got, _ := io.ReadAll(in)
		c.mu.Lock()
		n.content = append(content, got...)
		c.mu.Unlock()
	default:
		content = content[min(c.rest, len(content)):]
		c.rest = 0
		if cuts {
			content = content[:min(cut, len(content))]
		}
		_, _ = data.Write(content)
	}
	_ = data.Close()
	if cuts {
		return false
	}
	c.say("226 done")
	return true
}

func (c *fakeConn) accept() (net.Conn, error) {
	conn, err := c.ln.Accept()
	if err != nil || c.config == nil {
		return conn, err
	}
	return tls.Server(conn, c.config), nil
}
