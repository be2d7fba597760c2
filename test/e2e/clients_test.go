package e2e

import (
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
)

// cell is one way in which a client moves files, and what it needs for that.
type cell struct {
	channel string // plain, explicit or implicit
	active  bool

	host, port, ca, user, password string

	folder string // on the gateway, from the root, in which down is
	up     string // name in folder to send local to
	down   string // name in folder to fetch as got
	local  string // file to send
	got    string // where to put what is fetched
}

// newCell is how a client reaches g. In clear the account is the one that may.
func newCell(t *testing.T, g *gatewaytest.Gateway, channel, authority string) cell {
	t.Helper()
	c := cell{channel: channel, host: "localhost", port: g.Port("ftp"), ca: authority, user: alice, password: password}
	switch channel {
	case "plain":
		c.user, c.password = scanner, scannerPassword
	case "implicit":
		c.port = g.Port("ftps")
	}
	return c
}

func (c cell) mode() string {
	if c.active {
		return "active"
	}
	return "passive"
}

// url is where name is in the folder, for clients that are given one.
func (c cell) url(scheme, name string) string {
	return scheme + "://" + c.host + ":" + c.port + "/" + url.PathEscape(c.folder) + "/" + url.PathEscape(name)
}

// ftpClient is a client as it is installed, and the cells that it can do.
type ftpClient struct {
	name  string
	cells []string
	// lenient says why the client needs settings other than the strictest: a data
	// connection must resume, an upload must end with close_notify.
	lenient string
	// silent clients cannot list; downloader and uploader can do but that.
	silent, downloader bool
	// move sends, fetches and lists, and returns what was listed.
	move func(t *testing.T, c cell) string
}

const (
	plainBoth    = "plain passive, plain active"
	explicitBoth = "explicit passive, explicit active"
	implicitBoth = "implicit passive, implicit active"
)

// ftpClients are the rows. A cell that is not in a row is one that the client
// cannot do.
func ftpClients() []ftpClient {
	return []ftpClient{
		// curl 7.88 breaks off its own active data connections under TLS before their
		// handshake, whatever the server.
		{name: "curl", cells: []string{plainBoth, "explicit passive", "implicit passive"}, move: moveByCurl},
		// wget only fetches and lists.
		{name: "wget", cells: []string{plainBoth, explicitBoth, implicitBoth}, downloader: true, move: moveByWget},
		{name: "lftp", cells: []string{plainBoth, explicitBoth, implicitBoth}, move: moveByLftp},
		// tnftp, inetutils ftp and ncftp know no TLS for FTP.
		{name: "tnftp", cells: []string{plainBoth}, move: moveByTnftp},
		{name: "inetutils-ftp", cells: []string{plainBoth}, move: moveByInetutils},
		{name: "ncftp", cells: []string{plainBoth}, move: moveByNcftp},
		// ftp-ssl knows no implicit TLS.
		{name: "ftp-ssl", cells: []string{plainBoth, explicitBoth}, lenient: "closes without close_notify", move: moveByFTPSSL},
		{name: "ftplib", cells: []string{plainBoth, explicitBoth, implicitBoth}, move: func(t *testing.T, c cell) string {
			return moveByFtplib(t, c, "resumed")
		}},
		{
			name: "ftplib without session", cells: []string{explicitBoth, implicitBoth}, lenient: "does not resume",
			move: func(t *testing.T, c cell) string { return moveByFtplib(t, c, "fresh") },
		},
		// rclone and basic-ftp know no active mode.
		{name: "rclone", cells: []string{"plain passive", "explicit passive", "implicit passive"}, move: moveByRclone},
		{name: "basic-ftp", cells: []string{"plain passive", "explicit passive", "implicit passive"}, move: moveByBasicFTP},
		// ftpput and ftpget know neither TLS, nor active mode, nor listings.
		{name: "busybox", cells: []string{"plain passive"}, silent: true, move: moveByBusybox},
	}
}

// Each client, as it is installed, sends and fetches a file and lists the
// folder, in every way that it can. All but those that say why do so where data
// connections must resume the TLS session of their control connection.
func TestClients(t *testing.T) {
	t.Parallel()
	strict := gatewaytest.Start(t, ftpSettings{resumption: required}.options())
	lenient := gatewaytest.Start(t, ftpSettings{resumption: preferred, truncation: warn}.options())
	authority := map[*gatewaytest.Gateway]string{strict: ca(t, strict), lenient: ca(t, lenient)}
	for _, row := range ftpClients() {
		g := strict
		if row.lenient != "" {
			g = lenient
		}
		for _, name := range strings.Split(strings.Join(row.cells, ", "), ", ") {
			channel, mode, _ := strings.Cut(name, " ")
			t.Run(row.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				c := newCell(t, g, channel, authority[g])
				c.active = mode == "active"
				c.folder, c.up, c.down = row.name+" "+name+" é", "sent by ü.bin", "to be fetched ñ.bin"
				var sent []byte
				c.local, sent = file(t, "local ü.bin", 300_000+17)
				fetched := append([]byte("the other way"), sent...)
				c.got = filepath.Join(t.TempDir(), "got.bin")
				folder := filepath.Join(g.Dir, "files", c.user, c.folder)
				if err := os.MkdirAll(folder, 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(folder, c.down), fetched, 0o640); err != nil {
					t.Fatal(err)
				}

				listed := row.move(t, c)

				same(t, "fetched", read(t, c.got), fetched)
				if !row.downloader {
					same(t, "sent", read(t, filepath.Join(folder, c.up)), sent)
				}
				if !row.silent && !strings.Contains(listed, c.down) {
					t.Errorf("%q is not in what was listed:\n%s", c.down, listed)
				}
				if !row.silent && !row.downloader && !strings.Contains(listed, c.up) {
					t.Errorf("%q is not in what was listed:\n%s", c.up, listed)
				}
			})
		}
	}
}

func moveByCurl(t *testing.T, c cell) string {
	args, scheme := []string{"-sS", "--user", c.user + ":" + c.password, "--cacert", c.ca}, "ftp"
	switch c.channel {
	case "explicit":
		args = append(args, "--ssl-reqd")
	case "implicit":
		scheme = "ftps"
	}
	if c.active {
		args = append(args, "--ftp-port", "-", "-4")
	}
	curl := func(more ...string) string { return must(t, "", "curl", append(args, more...)...) }
	curl("-T", c.local, c.url(scheme, c.up))
	curl("-o", c.got, c.url(scheme, c.down))
	return curl(c.url(scheme, ""))
}

func moveByWget(t *testing.T, c cell) string {
	args, scheme := []string{"-nv", "-t", "1", "-T", "20", "--user", c.user, "--password", c.password}, "ftps"
	switch c.channel {
	case "plain":
		scheme = "ftp"
	case "explicit":
		args = append(args, "--ca-certificate", c.ca)
	case "implicit":
		args = append(args, "--ca-certificate", c.ca, "--ftps-implicit")
	}
	if c.active {
		args = append(args, "--no-passive-ftp")
	}
	args = append(args, "-P", t.TempDir()) // for its .listing
	wget := func(to, from string) { must(t, "", "wget", append(args, "-O", to, c.url(scheme, from))...) }
	wget(c.got, c.down)
	index := filepath.Join(t.TempDir(), "index")
	wget(index, "")
	return html.UnescapeString(string(read(t, index)))
}

func moveByLftp(t *testing.T, c cell) string {
	settings, scheme := lftpSettings(c.ca), "ftp"
	switch c.channel {
	case "plain":
		settings += "set ftp:ssl-force no; set ftp:ssl-allow no; "
	case "implicit":
		scheme = "ftps"
	}
	if c.active {
		settings += "set ftp:passive-mode off; "
	}
	return must(t, "", "lftp", "-e", settings+fmt.Sprintf("open -u %s,%s %s://%s:%s; cd '%s'; put '%s' -o '%s'; get '%s' -o '%s'; cls -1; bye",
		c.user, c.password, scheme, c.host, c.port, c.folder, c.local, c.up, c.down, c.got))
}

// commands are for the clients that read them from a terminal.
func (c cell) commands() string {
	return fmt.Sprintf("user %s %s\nbinary\ncd \"%s\"\nput \"%s\" \"%s\"\nget \"%s\" \"%s\"\nls\nquit\n",
		c.user, c.password, c.folder, c.local, c.up, c.down, c.got)
}

func moveByTnftp(t *testing.T, c cell) string {
	how := "-p"
	if c.active {
		how = "-A"
	}
	return must(t, c.commands(), "tnftp", "-n", how, c.host, c.port)
}

func moveByInetutils(t *testing.T, c cell) string {
	how := "-p"
	if c.active {
		how = "-A"
	}
	return must(t, c.commands(), "inetutils-ftp", "-n", how, c.host, c.port)
}

func moveByNcftp(t *testing.T, c cell) string {
	how := "-F"
	if c.active {
		how = "-E"
	}
	login := []string{"-u", c.user, "-p", c.password, "-P", c.port, how}
	must(t, "", "ncftpput", append(login, "-C", c.host, c.local, c.folder+"/"+c.up)...)
	must(t, "", "ncftpget", append(login, "-C", c.host, c.folder+"/"+c.down, c.got)...)
	return must(t, "", "ncftpls", append(login, c.url("ftp", ""))...)
}

func moveByFTPSSL(t *testing.T, c cell) string {
	args := []string{"-n", "-z", "secure", "-z", "verify=1", "-z", "cacert=" + c.ca}
	if c.channel == "plain" {
		args = []string{"-n", "-z", "nossl"}
	}
	if !c.active {
		args = append(args, "-p")
	}
	return must(t, c.commands(), "ftp-ssl", append(args, c.host, c.port)...)
}

func moveByFtplib(t *testing.T, c cell, session string) string {
	return must(t, "", "python3", "testdata/move_ftplib.py", c.channel, c.mode(), session, c.host, c.port, c.ca,
		c.user, c.password, c.folder, c.local, c.up, c.down, c.got)
}

// rclone returns a way to run rclone with the gateway as ":ftp:".
func rclone(t *testing.T, c cell) func(args ...string) string {
	t.Helper()
	secret := strings.TrimSpace(must(t, "", "rclone", "obscure", c.password))
	login := []string{"--config", filepath.Join(t.TempDir(), "none"), "--retries", "1", "--low-level-retries", "1",
		"--ftp-host", c.host, "--ftp-port", c.port, "--ftp-user", c.user, "--ftp-pass", secret}
	switch c.channel {
	case "explicit":
		login = append(login, "--ftp-explicit-tls")
	case "implicit":
		login = append(login, "--ftp-tls")
	}
	return func(args ...string) string {
		t.Helper()
		return must(t, "", "env", append(append([]string{"SSL_CERT_FILE=" + c.ca, "rclone"}, args...), login...)...)
	}
}

func moveByRclone(t *testing.T, c cell) string {
	run := rclone(t, c)
	// Its connections share their tickets, so it resumes if it has but one.
	alone := []string{"--ftp-concurrency", "1", "--transfers", "1", "--checkers", "1"}
	run(append([]string{"copyto", c.local, ":ftp:" + c.folder + "/" + c.up}, alone...)...)
	run(append([]string{"copyto", ":ftp:" + c.folder + "/" + c.down, c.got}, alone...)...)
	return run(append([]string{"lsf", ":ftp:" + c.folder}, alone...)...)
}

func moveByBasicFTP(t *testing.T, c cell) string { return basicFTP(t, c, false) }

// basicFTP runs testdata/move_basic_ftp.mjs.
func basicFTP(t *testing.T, c cell, resume bool) string {
	t.Helper()
	module := npmModule(t, "basic-ftp", "dist/index.js")
	port, err := strconv.Atoi(c.port)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(map[string]any{
		"module": module, "channel": c.channel, "host": c.host, "port": port, "ca": c.ca, "user": c.user, "password": c.password,
		"folder": c.folder, "local": c.local, "up": c.up, "down": c.down, "got": c.got, "resume": resume,
	})
	if err != nil {
		t.Fatal(err)
	}
	return must(t, "", "node", "testdata/move_basic_ftp.mjs", string(settings))
}

func moveByBusybox(t *testing.T, c cell) string {
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("busybox is not installed")
	}
	login := []string{"-u", c.user, "-p", c.password, "-P", c.port, c.host}
	must(t, "", "busybox", append(append([]string{"ftpput"}, login...), c.folder+"/"+c.up, c.local)...)
	must(t, "", "busybox", append(append([]string{"ftpget"}, login...), c.got, c.folder+"/"+c.down)...)
	return ""
}
