package e2e

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// The default policy: a plain login is refused at USER with a hint, the
// password is never asked for, the connection stays open, and AUTH TLS on it
// works.
func TestPlainFTPIsRefusedBeforeThePassword(t *testing.T) {
	g := start(t)
	c, err := net.Dial("tcp", g.Addr("ftp"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(clientTimeout))
	r := bufio.NewReader(c)
	expect := func(code string) string {
		t.Helper()
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, code) {
			t.Fatalf("got %q, %v; want %s", line, err, code)
		}
		return line
	}
	say := func(line string) {
		t.Helper()
		if _, err := fmt.Fprintf(c, "%s\r\n", line); err != nil {
			t.Fatal(err)
		}
	}
	expect("220")
	say("USER alice")
	if hint := expect("530"); !strings.Contains(hint, "FTPS") && !strings.Contains(hint, "AUTH TLS") {
		t.Errorf("the refusal does not say what to do: %q", hint)
	}
	say("USER nobody-at-all")
	expect("530")
	say("AUTH TLS")
	expect("234")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(g.CLI("", "cert", "show", "--ca")))
	secure := tls.Client(c, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	if err := secure.HandshakeContext(t.Context()); err != nil {
		t.Fatalf("TLS on the same connection: %v", err)
	}
	c, r = secure, bufio.NewReader(secure)
	say("USER alice")
	expect("331")
	say("PASS " + password)
	expect("230")
	say("QUIT")
	expect("221")

	refused := events(t, g, "--event", "login", "--outcome", "refused")
	if len(refused) != 2 || refused[0].User != alice || refused[0].Credential != session.CredentialNone || !strings.HasPrefix(refused[1].User, "unknown:") {
		t.Errorf("refusals recorded: %+v", refused)
	}
	if granted := events(t, g, "--event", "login", "--outcome", "granted", "--channel", "tls"); len(granted) != 1 {
		t.Errorf("%d grants recorded, want 1", len(granted))
	}
}

func TestCurlPlainFTPIsRefused(t *testing.T) {
	g := start(t)
	out, status := client(t, "", "curl", "-sv", "--user", alice+":"+password, "ftp://"+g.Addr("ftp")+"/")
	if status == 0 || !strings.Contains(out, "530") || strings.Contains(out, "PASS") {
		t.Errorf("exit status %d:\n%s", status, out)
	}
}

func TestCurlFTPS(t *testing.T) {
	g := start(t)
	authority := ca(t, g)
	path, content := file(t, "up.bin", 3<<20+17)
	for name, url := range map[string][]string{
		"explicit": {"--ssl-reqd", "ftp://" + g.Addr("ftp")},
		"implicit": {"ftps://" + g.Addr("ftps")},
	} {
		args := append([]string{"-sS", "--cacert", authority, "--user", alice + ":" + password}, url[:len(url)-1]...)
		base := url[len(url)-1]
		base = strings.Replace(base, "127.0.0.1", "localhost", 1)
		must(t, "", "curl", append(args, "-T", path, base+"/"+name+".bin")...)
		got := filepath.Join(t.TempDir(), "down.bin")
		must(t, "", "curl", append(args, "-o", got, base+"/"+name+".bin")...)
		same(t, name, read(t, got), content)
		if list := must(t, "", "curl", append(args, base+"/")...); !strings.Contains(list, name+".bin") {
			t.Errorf("%s: not in the listing:\n%s", name, list)
		}
		must(t, "", "curl", append(args, "-Q", "-RNFR "+name+".bin", "-Q", "-RNTO moved-"+name, base+"/")...)
		must(t, "", "curl", append(args, "-Q", "-DELE moved-"+name, base+"/")...)
	}
	if left, err := os.ReadDir(filepath.Join(g.Dir, "files", alice)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// An upload that was cut is not visible under its name, and curl -C - and lftp
// put -c finish it.
func TestInterruptedUploadResumes(t *testing.T) {
	g := start(t)
	authority := ca(t, g)
	path, content := file(t, "big.bin", 8<<20)
	base := "ftp://localhost:" + g.Port("ftp")
	args := []string{"-sS", "--ssl-reqd", "--cacert", authority, "--user", alice + ":" + password}
	cut := func(name string) {
		t.Helper()
		before := len(events(t, g, "--event", "file", "--outcome", "failed"))
		cutFTPS(t, g, name, content[:len(content)/2])
		eventually(t, "the cut upload is recorded", func() bool {
			return len(events(t, g, "--event", "file", "--outcome", "failed")) > before
		})
	}
	cut("a.bin")
	if list := must(t, "", "curl", append(args, base+"/")...); strings.Contains(list, "a.bin") {
		t.Errorf("the cut upload is in the listing:\n%s", list)
	}
	if _, status := client(t, "", "curl", append(args, "-o", os.DevNull, base+"/a.bin")...); status == 0 {
		t.Error("the cut upload can be read")
	}
	must(t, "", "curl", append(args, "-C", "-", "-T", path, base+"/a.bin")...)
	same(t, "resumed by curl", read(t, filepath.Join(g.Dir, "files", alice, "a.bin")), content)
	if resumed := events(t, g, "--event", "file", "--outcome", "done"); resumed[len(resumed)-1].Bytes >= int64(len(content)) {
		t.Errorf("curl sent everything again: %d bytes", resumed[len(resumed)-1].Bytes)
	}

	cut("b.bin")
	must(t, "", "lftp", "-e", lftpSettings(authority)+fmt.Sprintf("open -u %s,%s %s; put -c %s -o b.bin; bye", alice, password, base, path))
	same(t, "resumed by lftp", read(t, filepath.Join(g.Dir, "files", alice, "b.bin")), content)
}

func lftpSettings(authority string) string {
	return "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 20; set ssl:ca-file " + authority +
		"; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set sftp:auto-confirm yes; set sftp:connect-program 'ssh -a -x -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no'; "
}

// Active data connections under TLS. (curl 7.88 cannot: it fails before its
// handshake.)
func TestLftpActiveFTPS(t *testing.T) {
	g := start(t)
	path, content := file(t, "up.bin", 1<<20)
	must(t, "", "lftp", "-e", lftpSettings(ca(t, g))+fmt.Sprintf("set ftp:passive-mode off; open -u %s,%s ftp://localhost:%s; put %s -o active.bin; cls -1; bye",
		alice, password, g.Port("ftp"), path))
	same(t, "active", read(t, filepath.Join(g.Dir, "files", alice, "active.bin")), content)
}

func TestLftpMirrorsATree(t *testing.T) {
	g := start(t)
	authority := ca(t, g)
	tree := t.TempDir()
	for i := range 30 {
		dir := filepath.Join(tree, fmt.Sprintf("d%d", i%5), "sub")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file %d é.txt", i)), []byte(strings.Repeat("x", i*100)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	back := t.TempDir()
	for _, url := range []string{"ftp://localhost:" + g.Port("ftp"), "ftps://localhost:" + g.Port("ftps"), "sftp://localhost:" + g.Port("sftp")} {
		name := strings.SplitN(url, ":", 2)[0]
		must(t, "", "lftp", "-e", lftpSettings(authority)+fmt.Sprintf("open -u %s,%s %s; mkdir %s; mirror -R --parallel=3 %s %s; mirror --parallel=3 %s %s; bye",
			alice, password, url, name, tree, name, name, filepath.Join(back, name)))
		must(t, "", "diff", "-r", tree, filepath.Join(back, name))
	}
}

// exempted is a policy under which one old device may log in without
// encryption, from loopback, until a date.
const exempted = `
network "plant" { cidrs = ["127.0.0.0/8"] }
allow "transfer" {
  protocol = ["ftp", "sftp"]
  group    = ["users"]
}
require "encrypted-login" {
  channel = "encrypted"
  reply   = "Use FTPS or SFTP."
}
exempt "encrypted-login" "scanner" {
  user    = "scanner"
  from    = "plant"
  until   = "2099-01-01"
  owner   = "facilities@example.com"
  because = "firmware without TLS"
}
`

// Old clients, active and passive, without TLS, under an exemption.
func TestOldClientsUnderAnExemption(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Policy: exempted, Users: map[string]string{"scanner": "scan-pw", alice: password}})
	path, content := file(t, "scan.pdf", 300_000)
	host, port, _ := net.SplitHostPort(g.Addr("ftp"))
	stored := func(name string) {
		t.Helper()
		same(t, name, read(t, filepath.Join(g.Dir, "files", "scanner", name)), content)
	}
	t.Run("curl passive", func(t *testing.T) {
		must(t, "", "curl", "-sS", "--user", "scanner:scan-pw", "-T", path, "ftp://"+g.Addr("ftp")+"/curl.pdf")
		stored("curl.pdf")
	})
	t.Run("curl active", func(t *testing.T) {
		must(t, "", "curl", "-sS", "--disable-eprt", "--ftp-port", "-", "--user", "scanner:scan-pw", "-T", path, "ftp://"+g.Addr("ftp")+"/active.pdf")
		stored("active.pdf")
	})
	t.Run("tnftp", func(t *testing.T) {
		must(t, fmt.Sprintf("user scanner scan-pw\nbinary\nput %s tnftp.pdf\nls\nquit\n", path), "tnftp", "-n", host, port)
		stored("tnftp.pdf")
	})
	t.Run("inetutils", func(t *testing.T) {
		must(t, fmt.Sprintf("open %s %s\nuser scanner scan-pw\nbinary\nput %s inet.pdf\nquit\n", host, port, path), "inetutils-ftp", "-n")
		stored("inet.pdf")
	})
	t.Run("ncftp", func(t *testing.T) {
		must(t, "", "ncftpput", "-u", "scanner", "-p", "scan-pw", "-P", port, "-C", host, path, "/ncftp.pdf")
		stored("ncftp.pdf")
	})
	t.Run("others stay refused", func(t *testing.T) {
		out, status := client(t, "", "curl", "-sv", "--user", alice+":"+password, "ftp://"+g.Addr("ftp")+"/")
		if status == 0 || strings.Contains(out, "PASS") {
			t.Errorf("exit status %d:\n%s", status, out)
		}
	})
	granted := events(t, g, "--event", "login", "--outcome", "granted", "--channel", "plain")
	if len(granted) == 0 || !granted[0].Exposed || granted[0].Credential != session.CredentialPlaintext {
		t.Errorf("the plain logins are not recorded as exposed: %+v", granted)
	}
}

func TestPythonFTPTLS(t *testing.T) {
	g := start(t)
	script := `
import ftplib, ssl, sys, io
port, ca, user, pw = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
class FTP(ftplib.FTP_TLS):
    # resume the control connection's TLS session, as servers demand
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session)
        return conn, size
f = FTP(context=ssl.create_default_context(cafile=ca)); f.connect("localhost", port); f.login(user, pw); f.prot_p()
assert f.mkd("dir") == "/dir", f.mkd
f.storbinary("STOR dir/a.bin", io.BytesIO(b"x" * 100000))
assert f.size("dir/a.bin") == 100000
f.storlines("STOR dir/t.txt", io.BytesIO(b"one\ntwo\n"))
lines = []; f.retrlines("RETR dir/t.txt", lines.append); assert lines == ["one", "two"], lines
assert sorted(n for n, _ in f.mlsd("dir") if n not in (".", "..")) == ["a.bin", "t.txt"]
assert sorted(f.nlst("dir")) in (["a.bin", "t.txt"], ["dir/a.bin", "dir/t.txt"]), f.nlst("dir")
f.delete("dir/a.bin"); f.delete("dir/t.txt"); f.rmd("dir"); f.quit()
print("done")
`
	must(t, "", "python3", "-c", script, g.Port("ftp"), ca(t, g), alice, password)
}
