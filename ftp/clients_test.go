package ftp_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/session"
	"gateway/session/sessiontest"
)

// run runs a client of this machine in a folder of its own and returns what it
// printed. The test is skipped if the client is not installed.
func run(t *testing.T, dir, stdin, name string, args ...string) (string, error) {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustRun(t *testing.T, dir, stdin, name string, args ...string) string {
	t.Helper()
	out, err := run(t, dir, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// workDir holds a file to upload.
func workDir(t *testing.T) (dir, content string) {
	t.Helper()
	dir, content = t.TempDir(), strings.Repeat("all the bytes of a file\n", 100_000)
	if err := os.WriteFile(filepath.Join(dir, "up.bin"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, content
}

func sameFile(t *testing.T, dir, name, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s: got %d bytes, want %d", name, len(got), len(want))
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"plain":    {},
		"pasv":     {"--disable-epsv"},
		"active":   {"--ftp-port", "-"},
		"nocwd":    {"--ftp-method", "nocwd"},
		"explicit": {"--ssl-reqd", "-k"},
		"implicit": {"-k"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, content := workDir(t)
			cfg, scheme := ftp.Config{TLS: serverTLS(t)}, "ftp://"
			if name == "implicit" {
				cfg.Implicit, scheme = true, "ftps://"
			}
			f := start(t, nil, cfg)
			f.tree.put(t, "sub/down.bin", content)
			f.tree.put(t, "part.bin", content)
			url := scheme + "alice:right@" + f.addr
			curl := func(more ...string) string {
				return mustRun(t, dir, "", "curl", append(append([]string{"-sS", "--max-time", "20"}, args...), more...)...)
			}
			curl("-T", "up.bin", url+"/new%20name.bin")
			if f.tree.get(t, "new name.bin") != content {
				t.Error("the upload differs")
			}
			curl("-o", "down.bin", url+"/sub/down.bin")
			sameFile(t, dir, "down.bin", content)
			if err := os.WriteFile(filepath.Join(dir, "part.bin"), []byte(content[:1000]), 0o600); err != nil {
				t.Fatal(err)
			}
			curl("-C", "-", "-o", "part.bin", url+"/part.bin")
			sameFile(t, dir, "part.bin", content)
			if err := f.tree.parts.WriteFile("resumed.bin", []byte(content[:1000]), 0o600); err != nil {
				t.Fatal(err)
			}
			curl("-C", "-", "-T", "up.bin", url+"/resumed.bin") // appends to what was interrupted
			if f.tree.get(t, "resumed.bin") != content {
				t.Error("the resumed upload differs")
			}
			if got := curl(url + "/sub/"); !strings.Contains(got, "down.bin") {
				t.Errorf("LIST: %q", got)
			}
			if got := curl("-l", url+"/sub/"); !strings.HasSuffix(got, "down.bin\n") {
				t.Errorf("NLST: %q", got)
			}
			curl("-Q", "RNFR part.bin", "-Q", "RNTO moved.bin", "-Q", "MKD made", "-Q", "DELE moved.bin", url+"/sub/")
			if !f.tree.has("made") || f.tree.has("moved.bin") {
				t.Error("the quoted commands were not done")
			}
			if out := curl("-I", url+"/resumed.bin"); !strings.Contains(out, "Content-Length: ") {
				t.Errorf("-I: %q", out)
			}
		})
	}
}

// Where the rules refuse clear logins no client sends its password.
func TestClientsKeepTheirPassword(t *testing.T) {
	t.Parallel()
	f := start(t, sessiontest.Encrypted, ftp.Config{TLS: serverTLS(t)})
	host, port, _ := net.SplitHostPort(f.addr)
	dir := t.TempDir()
	_, _ = run(t, dir, "", "curl", "-sS", "ftp://alice:right@"+f.addr+"/")
	_, _ = run(t, dir, "", "wget", "-q", "-t", "1", "ftp://alice:right@"+f.addr+"/x")
	_, _ = run(t, dir, "", "lftp", "-c", "set ftp:ssl-allow no; set net:max-retries 1; open -u alice,right ftp://"+f.addr+"; ls")
	_, _ = run(t, dir, "user alice right\nls\nquit\n", "tnftp", "-n", host, port)
	_, _ = run(t, dir, "user alice right\nls\nquit\n", "inetutils-ftp", "-n", host, port)
	for _, e := range f.core.Record.Events("login") {
		if e.Credential != "none" || e.Outcome != "refused" {
			t.Errorf("got %s, credential %s", sessiontest.String(e), e.Credential)
		}
	}
}

func TestLFTP(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]string{
		"plain":     "set ftp:ssl-allow no",
		"active":    "set ftp:ssl-allow no; set ftp:passive-mode no",
		"pipelined": "set ftp:ssl-allow no; set ftp:sync-mode no",
		"tls":       "set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ftp:ssl-protect-list yes; set ssl:verify-certificate no",
		"tls active": "set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ftp:ssl-protect-list yes; set ssl:verify-certificate no; " +
			"set ftp:passive-mode no", // D8
		"tls pipelined": "set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ftp:ssl-protect-list yes; set ssl:verify-certificate no; " +
			"set ftp:sync-mode no",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, content := workDir(t)
			f := start(t, nil, ftp.Config{TLS: serverTLS(t)})
			f.tree.put(t, "down.bin", content)
			for i := range 20 {
				f.tree.put(t, "tree/d"+itoa(i%4)+"/f"+itoa(i), "content "+itoa(i))
			}
			if err := f.tree.parts.WriteFile("resumed.bin", []byte(content[:1000]), 0o600); err != nil {
				t.Fatal(err)
			}
			out := mustRun(t, dir, "", "lftp", "-c", "set net:max-retries 2; set net:timeout 10; set cmd:fail-exit yes; "+settings+
				"; open -u alice,right ftp://"+f.addr+
				"; put up.bin; get down.bin; put -c up.bin -o resumed.bin; mkdir made; mv up.bin made/moved.bin; ls; "+
				"mirror -P 3 tree copy; mirror -R -P 3 copy back; rm resumed.bin; quit")
			sameFile(t, dir, "down.bin", content)
			if f.tree.get(t, "made/moved.bin") != content || f.tree.has("resumed.bin") {
				t.Error("the tree is not as it should be")
			}
			for i := range 20 {
				if got := f.tree.get(t, "back/d"+itoa(i%4)+"/f"+itoa(i)); got != "content "+itoa(i) {
					t.Errorf("mirrored: got %q", got)
				}
			}
			if !strings.Contains(out, "down.bin") {
				t.Errorf("ls: %q", out)
			}
		})
	}
}

func TestCommandLineClients(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tnftp", "inetutils-ftp"} {
		for _, mode := range []string{"passive", "active"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				t.Parallel()
				dir, content := workDir(t)
				f := start(t, nil, ftp.Config{})
				f.tree.put(t, "down.bin", content)
				host, port, _ := net.SplitHostPort(f.addr)
				args := []string{"-n"}
				switch {
				case name == "tnftp" && mode == "active":
					args = append(args, "-A")
				case name == "tnftp":
					args = append(args, "-p")
				case mode == "passive":
					args = append(args, "-p")
				}
				out := mustRun(t, dir, "user alice right\nbinary\nput up.bin\nget down.bin\nmkdir made\ncd made\ncd ..\ndir\n"+
					"rename up.bin moved.bin\nsystem\nquit\n", name, append(args, host, port)...)
				sameFile(t, dir, "down.bin", content)
				if !f.tree.has("made") || f.tree.get(t, "moved.bin") != content {
					t.Errorf("the tree is not as it should be:\n%s", out)
				}
			})
		}
	}
}

func TestNcftp(t *testing.T) {
	t.Parallel()
	dir, content := workDir(t)
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "down.bin", content)
	host, port, _ := net.SplitHostPort(f.addr)
	mustRun(t, dir, "", "ncftpput", "-u", "alice", "-p", "right", "-P", port, "-m", host, "made", "up.bin")
	mustRun(t, dir, "", "ncftpget", "-u", "alice", "-p", "right", "-P", port, host, ".", "down.bin")
	sameFile(t, dir, "down.bin", content)
	if f.tree.get(t, "made/up.bin") != content {
		t.Error("the upload differs")
	}
}

func TestWget(t *testing.T) {
	t.Parallel()
	dir, content := workDir(t)
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "sub/down.bin", content)
	mustRun(t, dir, "", "wget", "-q", "-t", "1", "ftp://alice:right@"+f.addr+"/sub/down.bin")
	sameFile(t, dir, "down.bin", content)
	mustRun(t, dir, "", "wget", "-q", "-t", "1", "--no-passive-ftp", "-O", "again", "ftp://alice:right@"+f.addr+"/sub/down.bin")
	sameFile(t, dir, "again", content)
}

// Python's ftplib resumes only if it is made to: 226 and 522 under the default.
func TestFtplib(t *testing.T) {
	t.Parallel()
	const script = `
import ftplib, io, ssl, sys
host, port, reuse = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "reuse"
class Reusing(ftplib.FTP_TLS):
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session if reuse else None)
        return conn, size
context = ssl._create_unverified_context()
f = Reusing(context=context)
f.connect(host, port, timeout=10)
f.login("alice", "right")
f.prot_p()
assert f.mkd("made") == "/made"
try:
    f.storbinary("STOR up", io.BytesIO(b"x" * 1000000))
except Exception as e:
    print("failed:", e)
    sys.exit(0)
got = io.BytesIO()
f.retrbinary("RETR up", got.write)
assert got.getvalue() == b"x" * 1000000
assert f.size("up") == 1000000
assert dict(f.mlsd())["up"]["size"] == "1000000"
assert "up" in f.nlst()
f.rename("up", "there")
f.delete("there")
f.rmd("made")
f.quit()
print("done")
`
	dir := t.TempDir()
	file := filepath.Join(dir, "client.py")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode session.Resumption
		how  string
		want string
	}{
		{session.ResumptionRequired, "reuse", "done"},
		{session.ResumptionRequired, "fresh", "failed:"},
		{session.ResumptionPreferred, "fresh", "done"},
		{session.ResumptionOff, "fresh", "done"},
	} {
		f := start(t, sessiontest.Encrypted, ftp.Config{TLS: serverTLS(t), Resumption: c.mode})
		host, port, _ := net.SplitHostPort(f.addr)
		if out := mustRun(t, dir, "", "python3", file, host, port, c.how); !strings.HasPrefix(out, c.want) {
			t.Errorf("mode %d, %s: got %q, want %q", c.mode, c.how, out, c.want)
		}
	}
}
