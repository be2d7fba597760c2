package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

func unmarshal(t *testing.T, text string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// startProcess starts a program and returns what stops it.
func startProcess(t *testing.T, name string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	t.Cleanup(stop)
	return stop
}

// sftpClient is an SFTP client with a connection of its own.
type sftpClient struct {
	*sftp.Client
	conn *ssh.Client
}

func (c *sftpClient) Close() error { return errors.Join(c.Client.Close(), c.conn.Close()) }

// dialSFTP logs in over SFTP from within the test.
func dialSFTP(t *testing.T, g *gatewaytest.Gateway, user, password string) (*sftpClient, error) {
	t.Helper()
	conn, err := ssh.Dial("tcp", g.Addr("sftp"), &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 20 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	c, err := sftp.NewClient(conn)
	return &sftpClient{c, conn}, err
}

// The same user, password and folder over FTP, FTPS and SFTP; mail with the
// same login. A file put by one protocol is seen by the others.
func TestOneAccountAllDoors(t *testing.T) {
	g := start(t)
	authority := ca(t, g)
	path, content := file(t, "x.bin", 70_000)
	must(t, "", "curl", "-sS", "--ssl-reqd", "--cacert", authority, "--user", alice+":"+password, "-T", path, "ftp://localhost:"+g.Port("ftp")+"/by-ftp.bin")
	back := filepath.Join(t.TempDir(), "back")
	if out, status := batch(t, g.Port("sftp"), "get by-ftp.bin "+back+"\nput "+path+" by-sftp.bin\n"); status != 0 {
		t.Fatalf("sftp: %d\n%s", status, out)
	}
	same(t, "by FTP, got by SFTP", read(t, back), content)
	must(t, "", "curl", "-sS", "--cacert", authority, "--user", alice+":"+password, "-o", back, "ftps://localhost:"+g.Port("ftps")+"/by-sftp.bin")
	same(t, "by SFTP, got by FTPS", read(t, back), content)
	if out, status := swaks(t, g.Addr("submissions"), "--tls-on-connect", "--auth", "LOGIN", "--auth-user", alice, "--auth-password", password); status != 0 {
		t.Errorf("mail: %d\n%s", status, out)
	}
	protocols := map[session.Protocol]bool{}
	for _, e := range events(t, g, "--event", "login", "--outcome", "granted", "--user", alice) {
		protocols[e.Protocol] = true
	}
	if !protocols[session.FTP] || !protocols[session.SFTP] || !protocols[session.Submission] {
		t.Errorf("logins recorded for %v", protocols)
	}
}

// Every filter of the record, in the shape that others script against.
func TestAuditQuery(t *testing.T) {
	g := start(t)
	if _, err := dialSFTP(t, g, alice, password); err != nil {
		t.Fatal(err)
	}
	if _, err := dialSFTP(t, g, alice, "wrong"); err == nil {
		t.Fatal("a wrong password logs in")
	}
	if _, err := dialSFTP(t, g, "hunter2-is-my-password", "x"); err == nil {
		t.Fatal("an unknown user logs in")
	}
	for filter, want := range map[string]int{
		"--event login --outcome refused":                               2,
		"--event login --outcome granted":                               1,
		"--event login --user alice":                                    2,
		"--event login --user alice --outcome refused":                  1,
		"--event login --user hunter2-is-my-password":                   1, // found by its hash
		"--event login --remote 127.0.0.0/8":                            3,
		"--event login --remote 192.0.2.0/24":                           0,
		"--event login --protocol sftp":                                 3,
		"--event login --protocol ftp":                                  0,
		"--event login --channel ssh":                                   3,
		"--event login --channel plain":                                 0,
		"--event login --since 1h":                                      3,
		"--event login --until 1h":                                      0,
		"--event login --since 2000-01-01 --until 2000-01-02T00:00:00Z": 0,
	} {
		if got := events(t, g, strings.Fields(filter)...); len(got) != want {
			t.Errorf("%s: %d events, want %d", filter, len(got), want)
		}
	}
	line := strings.TrimSpace(g.CLI("", "audit", "query", "--event", "login", "--outcome", "granted", "--json"))
	var record map[string]any
	unmarshal(t, line, &record)
	for _, key := range []string{"seq", "time", "node", "event", "conn", "session", "listener", "protocol", "remote", "local", "channel", "client", "user", "groups", "method", "outcome", "stage", "credential", "facts", "policy"} {
		if _, found := record[key]; !found {
			t.Errorf("no %q in %s", key, line)
		}
	}
	if !strings.HasPrefix(line, `{"seq":`) {
		t.Errorf("the keys are not in their order: %s", line)
	}
	for _, bad := range [][]string{{"--outcome", "maybe"}, {"--remote", "nowhere"}, {"--since", "yesterday-ish"}, {"--channel", "tsl"}} {
		if _, stderr, err := g.Try("", append([]string{"audit", "query"}, bad...)...); err == nil || !strings.Contains(stderr, bad[1]) {
			t.Errorf("%v: %v %s", bad, err, stderr)
		}
	}
	if out := g.CLI("", "audit", "verify"); !strings.Contains(out, "ok") && !strings.Contains(out, "complete") {
		t.Errorf("verify: %s", out)
	}
	if all, err := os.ReadFile(filepath.Join(g.Dir, "state", "audit", firstSegment(t, g))); err != nil || strings.Contains(string(all), "hunter2") {
		t.Errorf("the mistyped name is in the record (%v)", err)
	}
}

func firstSegment(t *testing.T, g *gatewaytest.Gateway) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(g.Dir, "state", "audit"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".jsonl") {
			return e.Name()
		}
	}
	t.Fatal("no segment")
	return ""
}

// kill -9 at any moment loses no granted login, no finished file and no
// accepted mail, and leaves a log that verify accepts after the next start.
func TestKillLosesNothing(t *testing.T) {
	g := start(t)
	for round := range 3 {
		logins, files := 0, 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					c, err := dialSFTP(t, g, alice, password)
					if err != nil {
						return
					}
					mu.Lock()
					logins++
					mu.Unlock()
					name := fmt.Sprintf("r%d-w%d-%d", round, w, i)
					f, err := c.Create(name)
					if err != nil {
						return
					}
					_, err = f.Write([]byte(strings.Repeat(name, 100)))
					if f.Close() != nil || err != nil {
						return
					}
					mu.Lock()
					files++
					mu.Unlock()
					_ = c.Close()
				}
			})
		}
		eventually(t, "some files are acknowledged", func() bool { // then the plug is pulled
			mu.Lock()
			defer mu.Unlock()
			return files > 3+2*round
		})
		g.Kill()
		close(stop)
		wg.Wait()
		g.Run()
		out := g.CLI("", "audit", "verify")
		t.Logf("round %d: %d logins, %d files; %s", round, logins, files, strings.TrimSpace(out))
		granted := 0
		for range events(t, g, "--event", "login", "--outcome", "granted") {
			granted++
		}
		if granted < logins {
			t.Fatalf("%d logins were granted, %d are recorded", logins, granted)
		}
		stored := 0
		entries, err := os.ReadDir(filepath.Join(g.Dir, "files", alice))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), fmt.Sprintf("r%d-", round)) {
				stored++
				if info, err := e.Info(); err != nil || info.Size() != int64(100*len(e.Name())) {
					t.Errorf("%s is not whole", e.Name())
				}
			}
		}
		if stored < files {
			t.Errorf("%d files were acknowledged, %d are there", files, stored)
		}
	}
}

// The first signal drains: idle connections are told, transfers finish.
func TestDrain(t *testing.T) {
	g := start(t)
	idle, err := net.Dial("tcp", g.Addr("ftp"))
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	r := bufio.NewReader(idle)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "220") {
		t.Fatalf("%q %v", line, err)
	}
	c, err := dialSFTP(t, g, alice, password)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Create("slow.bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("first half, ")); err != nil {
		t.Fatal(err)
	}
	g.Signal(syscall.SIGTERM)
	_ = idle.SetReadDeadline(time.Now().Add(10 * time.Second))
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "421") {
		t.Errorf("the idle connection got %q, %v; want 421", line, err)
	}
	eventually(t, "no new connection is taken", func() bool {
		c, err := net.DialTimeout("tcp", g.Addr("submission"), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	if _, err := f.Write([]byte("second half")); err != nil {
		t.Errorf("the transfer was cut: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("the transfer did not finish: %v", err)
	}
	_ = c.Close()
	if err := g.Wait(); err != nil {
		t.Errorf("the gateway ended with %v\n%s", err, g.Log())
	}
	if got := string(read(t, filepath.Join(g.Dir, "files", alice, "slow.bin"))); got != "first half, second half" {
		t.Errorf("stored %q", got)
	}
}

// The second signal ends everything at once.
func TestSecondSignal(t *testing.T) {
	g := start(t)
	c, err := dialSFTP(t, g, alice, password)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create("open.bin"); err != nil {
		t.Fatal(err)
	}
	g.Signal(syscall.SIGTERM)
	eventually(t, "the gateway drains", func() bool { return strings.Contains(g.Log(), "stopping") })
	g.Signal(syscall.SIGTERM)
	if err := g.Wait(); err == nil {
		t.Log("ended without an error status")
	}
	if _, err := os.Stat(filepath.Join(g.Dir, "files", alice, "open.bin")); err == nil {
		t.Error("the unfinished upload is visible")
	}
}

// SIGHUP swaps the policy and drops those whom it would not let in; a broken one
// leaves the old one in force.
func TestReload(t *testing.T) {
	g := start(t)
	c, err := dialSFTP(t, g, alice, password)
	if err != nil {
		t.Fatal(err)
	}
	g.Write("policy.hcl", "require \"x\" { chanel = \"encrypted\" }\n")
	g.Signal(syscall.SIGHUP)
	eventually(t, "the broken policy is refused", func() bool { return strings.Contains(g.Log(), "chanel") })
	if _, err := dialSFTP(t, g, alice, password); err != nil {
		t.Errorf("after a broken policy: %v", err)
	}
	if _, err := c.ReadDir("/"); err != nil {
		t.Errorf("the session that was there, after a broken policy: %v", err)
	}
	g.Write("policy.hcl", "allow \"mail\" {\n  protocol = [\"submission\"]\n  group = [\"mail\"]\n}\n")
	g.Signal(syscall.SIGHUP)
	eventually(t, "the new policy is in force", func() bool {
		_, err := dialSFTP(t, g, alice, password)
		return err != nil
	})
	eventually(t, "the session that was there is ended", func() bool {
		_, err := c.ReadDir("/")
		return err != nil
	})
	g.Write("policy.hcl", exempted)
	g.CLI("", "policy", "apply", filepath.Join(g.Dir, "policy.hcl"))
	if _, err := dialSFTP(t, g, alice, password); err != nil {
		t.Errorf("after policy apply: %v", err)
	}
	if loads := events(t, g, "--event", "policy"); len(loads) < 3 {
		t.Errorf("%d policy events", len(loads))
	}
}

// Live sessions see a disabled account within a second, and can be listed and
// killed.
func TestDisableAndKill(t *testing.T) {
	g := start(t)
	var list []session.Info
	login := func() *sftpClient {
		t.Helper()
		c, err := dialSFTP(t, g, alice, password)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ended := func(c *sftpClient) time.Duration {
		began := time.Now()
		_ = c.Wait()
		return time.Since(began)
	}
	c := login()
	unmarshal(t, g.CLI("", "sessions", "list", "--json"), &list)
	if len(list) != 1 || list[0].User != alice {
		t.Fatalf("sessions %+v", list)
	}
	g.CLI("", "sessions", "kill", list[0].ID)
	if took := ended(c); took > time.Second {
		t.Errorf("the killed session ended after %v", took)
	}
	c = login()
	g.CLI("", "user", "disable", alice)
	if took := ended(c); took > time.Second {
		t.Errorf("the disabled account's session ended after %v", took)
	}
	if _, err := dialSFTP(t, g, alice, password); err == nil {
		t.Error("a disabled account logs in")
	}
	g.CLI("", "user", "enable", alice)
	login()
	g.CLI("another-password\n", "user", "passwd", alice, "--password-stdin")
	if _, err := dialSFTP(t, g, alice, password); err == nil {
		t.Error("the old password still logs in")
	}
	if _, err := dialSFTP(t, g, alice, "another-password"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	verbs := map[session.Verb]bool{}
	for _, e := range events(t, g, "--event", "admin") {
		verbs[e.Verb] = true
	}
	for _, verb := range []session.Verb{"kill", "disable", "enable", "passwd"} {
		if !verbs[verb] {
			t.Errorf("no admin event %q; there are %v", verb, verbs)
		}
	}
}

// A secret is never written: after logins good and bad over every door, neither
// the log nor any file of the installation holds the password.
func TestPasswordIsNowhere(t *testing.T) {
	g := start(t)
	authority := ca(t, g)
	const wrong = "canary-0451-wrong"
	for _, pw := range []string{password, wrong} {
		_, _ = dialSFTP(t, g, alice, pw)
		_, _ = dialSFTP(t, g, pw, pw)
		client(t, "", "curl", "-sS", "--ssl-reqd", "--cacert", authority, "--user", alice+":"+pw, "ftp://localhost:"+g.Port("ftp")+"/")
		client(t, "", "curl", "-sS", "--user", alice+":"+pw, "ftp://localhost:"+g.Port("ftp")+"/")
		swaks(t, g.Addr("submissions"), "--tls-on-connect", "--auth", "PLAIN", "--auth-user", alice, "--auth-password", pw)
		blind, err := net.Dial("tcp", g.Addr("ftp"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(blind, "USER alice\r\nPASS %s\r\npass %[1]s\r\nXYZZY %[1]s\r\nQUIT\r\n", pw)
		_, _ = bufio.NewReader(blind).ReadString(0)
		_ = blind.Close()
	}
	g.Stop()
	if log := g.Log(); strings.Contains(log, password) || strings.Contains(log, wrong) {
		t.Errorf("a password is in the log:\n%s", log)
	}
	err := filepath.WalkDir(g.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err == nil && (strings.Contains(string(content), password) || strings.Contains(string(content), wrong)) {
			t.Errorf("a password is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A full disk refuses logins, and never grants unrecorded ones.
func TestFullDiskRefusesLogins(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	small := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", small).CombinedOutput(); err != nil {
		t.Skipf("mount: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", small).Run() })
	g := gatewaytest.Start(t, gatewaytest.Options{
		State:  filepath.Join(small, "state"),
		Config: fmt.Sprintf("state = %q\naudit { segment_size = \"1MiB\" }\n", filepath.Join(small, "state")) + gatewaytest.Config,
		Users:  map[string]string{alice: password},
	})
	if _, err := dialSFTP(t, g, alice, password); err != nil {
		t.Fatalf("before the disk is full: %v", err)
	}
	filler, err := os.Create(filepath.Join(small, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = filler.Write(block)
	}
	_ = filler.Close()
	granted := 0
	refused := false
	for range 5000 { // until the room that the record has reserved is used up
		c, err := dialSFTP(t, g, alice, password)
		if err != nil {
			refused = true
			break
		}
		granted++
		_ = c.Close()
	}
	if !refused {
		t.Fatal("logins go on although the disk is full")
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	defer func() { t.Log(g.Log(), g.CLI("", "bans", "list")) }()
	eventually(t, "logins are granted again", func() bool {
		_, err := dialSFTP(t, g, alice, password)
		return err == nil
	})
	recorded := len(events(t, g, "--event", "login", "--outcome", "granted"))
	if recorded < granted+2 {
		t.Errorf("%d logins were granted, %d are recorded", granted+2, recorded)
	}
	g.CLI("", "audit", "verify")
}
