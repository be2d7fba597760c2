package sftp

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// client runs a real client and returns what it said; the test fails if it does
// not end well. It is skipped where the client is not installed.
func runClient(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	out, err := tryClient(t, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}

func tryClient(t *testing.T, stdin string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "SSHPASS=right", "HOME="+t.TempDir(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
}

// openssh are the arguments of OpenSSH's clients.
func (f *fixture) openssh(t *testing.T, more ...string) []string {
	_, port, _ := net.SplitHostPort(f.addr)
	return append([]string{
		"-oPort=" + port, "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oGlobalKnownHostsFile=/dev/null",
		"-oIdentityAgent=none", "-oPubkeyAuthentication=no", "-oLogLevel=ERROR", "-F", "none",
	}, more...)
}

// sameFile compares what is stored as name with content.
func (f *fixture) sameFile(t *testing.T, name string, content []byte) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(f.fs.dir, name))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s: stored %d bytes, %v, want %d equal ones", name, len(got), err, len(content))
	}
}

// local makes a file of random content outside the tree.
func local(t *testing.T, size int) (string, []byte) {
	t.Helper()
	content := make([]byte, size)
	_, _ = rand.Read(content)
	name := filepath.Join(t.TempDir(), "local.bin")
	if err := os.WriteFile(name, content, 0o640); err != nil {
		t.Fatal(err)
	}
	return name, content
}

func TestOpenSSH(t *testing.T) {
	t.Parallel()
	need(t, "sftp", "sshpass")
	f := start(t, nil, nil)
	src, content := local(t, 5<<20+3)
	back := filepath.Join(t.TempDir(), "back.bin")
	batch := strings.Join([]string{
		"mkdir d", "put " + src + " d/a", "ls -l d", "rename d/a d/b", "chmod 600 d/b", "ln -s d/b link",
		"get d/b " + back, "put -p " + src + " c", "rm c", "df", "ls -la /",
		"-mkdir d", "-rm missing", "-chmod 4755 d/b",
	}, "\n")
	args := append([]string{"-e", "sftp"}, f.openssh(t, "-oBatchMode=no", "-b", "-", "alice@127.0.0.1")...)
	out := runClient(t, batch, "sshpass", args...)
	f.sameFile(t, "d/b", content)
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v, want %d equal ones", len(got), err, len(content))
	}
	for _, want := range []string{"alice", "mkdir \"/d\": Failure", "No such file", "ermission denied"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, f.fs.dir) || strings.Contains(out, "secret") {
		t.Errorf("our side is shown:\n%s", out)
	}
	for _, e := range f.core.Record.Events(session.EventFile) {
		if e.Outcome == session.OutcomeFailed && e.Verb == session.Write {
			t.Errorf("recorded %+v", e)
		}
	}
}

// reput and reget go on where the transfer was interrupted.
func TestOpenSSHResumes(t *testing.T) {
	t.Parallel()
	need(t, "sftp", "sshpass")
	f := start(t, nil, nil)
	src, content := local(t, 3<<20)
	conn, c := f.alice(t)
	half, err := c.Create("up")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.Write(content[:1<<20]); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	wait(t, "abort", func() (struct{}, bool) { return struct{}{}, f.fs.aborts.Load() == 1 })

	back := filepath.Join(t.TempDir(), "back.bin")
	if err := os.WriteFile(back, content[:1<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-e", "sftp"}, f.openssh(t, "-oBatchMode=no", "-b", "-", "alice@127.0.0.1")...)
	runClient(t, "reput "+src+" up\nreget up "+back+"\n", "sshpass", args...)
	f.sameFile(t, "up", content)
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v, want %d equal ones", len(got), err, len(content))
	}
}

func TestOpenSSHVariants(t *testing.T) {
	t.Parallel()
	need(t, "sftp", "sshpass")
	f := start(t, nil, nil)
	src, content := local(t, 2<<20)
	for name, opts := range map[string][]string{
		"rekey":       {"-oRekeyLimit=256k"},
		"large":       {"-B", "261120", "-R", "64"},
		"ctr":         {"-oCiphers=aes128-ctr", "-oMACs=hmac-sha2-256"},
		"nistp":       {"-oKexAlgorithms=ecdh-sha2-nistp256"},
		"interactive": {"-oPreferredAuthentications=keyboard-interactive"},
	} {
		back := filepath.Join(t.TempDir(), "back.bin")
		args := append([]string{"-e", "sftp"}, f.openssh(t, append(opts, "-oBatchMode=no", "-b", "-", "alice@127.0.0.1")...)...)
		runClient(t, "put "+src+" "+name+"\nget "+name+" "+back+"\n", "sshpass", args...)
		f.sameFile(t, name, content)
		if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: got %d bytes, %v, want %d equal ones", name, len(got), err, len(content))
		}
	}
}

func TestOpenSSHShellIsTold(t *testing.T) {
	t.Parallel()
	need(t, "ssh", "sshpass")
	f := start(t, nil, nil)
	args := append([]string{"-e", "ssh"}, f.openssh(t, "alice@127.0.0.1", "id")...)
	out, err := tryClient(t, "", "sshpass", args...)
	if err == nil || !strings.Contains(out, "SFTP only") {
		t.Errorf("%v: %q", err, out)
	}
}

func TestLFTP(t *testing.T) {
	t.Parallel()
	need(t, "lftp", "ssh")
	f := start(t, nil, nil)
	src, content := local(t, 2<<20)
	back := filepath.Join(t.TempDir(), "back.bin")
	_, port, _ := net.SplitHostPort(f.addr)
	script := strings.Join([]string{
		`set sftp:connect-program "ssh -a -x -F none -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oIdentityAgent=none"`,
		"set sftp:auto-confirm yes", "set net:max-retries 1", "set net:timeout 20", "set cmd:fail-exit yes",
		"open -u alice,right -p " + port + " sftp://127.0.0.1",
		"mkdir d", "put " + src + " -o d/a", "mv d/a d/b", "get d/b -o " + back, "cls -l d", "chmod 600 d/b", "put " + src + " -o x", "rm x", "mkdir e", "rmdir e", "bye",
	}, "\n")
	runClient(t, script, "lftp", "--norc")
	f.sameFile(t, "d/b", content)
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v, want %d equal ones", len(got), err, len(content))
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	need(t, "curl")
	if out, _ := exec.Command("curl", "--version").Output(); !bytes.Contains(out, []byte("sftp")) {
		t.Skip("this curl has no sftp")
	}
	f := start(t, nil, nil)
	src, content := local(t, 2<<20)
	url := "sftp://" + f.addr + "/"
	base := []string{"-sS", "-k", "-u", "alice:right"}
	run := func(args ...string) string {
		return runClient(t, "", "curl", append(append([]string{}, base...), args...)...)
	}
	run("-T", src, url+"a")
	f.sameFile(t, "a", content)
	back := filepath.Join(t.TempDir(), "back.bin")
	run("-o", back, url+"a")
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v, want %d equal ones", len(got), err, len(content))
	}
	if err := os.WriteFile(filepath.Join(f.fs.dir, "half"), content[:1<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	run("-C", "-", "-T", src, url+"half")
	f.sameFile(t, "half", content)
	if err := os.WriteFile(filepath.Join(f.fs.dir, "log"), []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("-a", "-T", src, url+"log")
	f.sameFile(t, "log", append([]byte("old\n"), content...))
	run("-Q", "rename /a /b", "-Q", "mkdir /d", url)
	f.sameFile(t, "b", content)
	if out := run(url); !strings.Contains(out, "half") {
		t.Errorf("listing: %s", out)
	}
}
