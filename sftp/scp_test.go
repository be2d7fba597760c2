package sftp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/session/sessiontest"
)

// allowSCP are rules that let everybody in and grant scp.
func allowSCP(session.Request) session.Verdict {
	return session.Verdict{Allowed: true, Data: session.DataRules{SCP: true}}
}

func TestParseHeader(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]scpHeader{
		"C0644 12 a b":                {kind: 'C', mode: 0o644, size: 12, name: "a b"},
		"C4755 0 x":                   {kind: 'C', mode: 0o755, name: "x"},
		"D0750 0 d":                   {kind: 'D', mode: 0o750, name: "d"},
		"E":                           {kind: 'E'},
		"T1 0 2 5":                    {kind: 'T', modified: time.Unix(1, 0), access: time.Unix(2, 5000)},
		"C0600 1 \xff":                {kind: 'C', mode: 0o600, size: 1, name: "\xff"},
		"C0600 1  x":                  {kind: 'C', mode: 0o600, size: 1, name: " x"},
		"C0600 9223372036854775807 x": {kind: 'C', mode: 0o600, size: 1<<63 - 1, name: "x"},
	} {
		if got, err := parseHeader([]byte(line)); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", line, got, err, want)
		}
	}
	for _, line := range []string{
		"", "X", "C", "C0644", "C0644 1", "C0644 1 ", "C644 1 x", "C00644 1 x", "C0844 1 x", "C-644 1 x", "C+644 1 x", "C0644 -1 x", "C0644 +1 x", "C0644 1a x",
		"C0644 9223372036854775808 x", "C0644 99999999999999999999 x", "C0644  x", "C0644 1 .", "C0644 1 ..", "C0644 1 a/b", "C0644 1 /etc/passwd", "C0644 1 a\x00b",
		"C0644 1 a\x1bb", "C0644 1 a\rb", "C0644 1 a\x7fb", "C0644 1 " + strings.Repeat("x", 256), "C0644 1 " + strings.Repeat("x", 600), "D0755 0 ..", "E x", "T1 0 2", "T1 0 2 3 4", "T-1 0 2 3",
		"T1 1000000 2 3", "T253402300800 0 1 0", "T 0 0 0",
	} {
		if got, err := parseHeader([]byte(line)); err == nil {
			t.Errorf("%q: taken for %+v", line, got)
		}
	}
}

// FuzzSCPHeader reads a line; what is taken names something in a folder and nothing
// that could be elsewhere.
func FuzzSCPHeader(f *testing.F) {
	for _, line := range []string{"C0644 12 a", "D0755 0 d", "E", "T1 0 2 0", "C0644 1 ..", "C4777 9223372036854775807 x"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		h, err := parseHeader(line)
		if err != nil || h.kind == 'E' || h.kind == 'T' {
			return
		}
		if h.size < 0 || h.mode&^fs.ModePerm != 0 || h.name != filepath.Base(h.name) || h.name == ".." || h.name == "." || strings.ContainsAny(h.name, "/\x00\n\r") {
			t.Errorf("%q: %+v", line, h)
		}
	})
}

// FuzzSCP sends whatever it likes to scp -t: no panic, no file left open, and nothing
// outside of the target.
func FuzzSCP(f *testing.F) {
	f.Add([]byte("C0644 3 a\nabc\x00"), true)
	f.Add([]byte("T1 0 1 0\nD0755 0 d\nC0600 1 x\ny\x00E\n"), true)
	f.Add([]byte("\x01oh\nC0644 9223372036854775807 a\nabc"), false)
	f.Add([]byte("D0755 0 d\nD0755 0 d\nE\nE\nE\n"), true)
	k := newTalk(f)
	if err := os.Mkdir(filepath.Join(k.dir, "in"), 0o750); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sent []byte, recursive bool) {
		args := []string{"-tp", "in"}
		if recursive {
			args[0] += "r"
		}
		_, _ = k.scp(t, sent, args...)
		entries, err := os.ReadDir(k.dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("%d entries beside the target, %v", len(entries), err)
		}
	})
}

// scp runs scp on what was sent, and returns what it says.
func (k *talk) scp(t testing.TB, sent []byte, args ...string) (string, error) {
	t.Helper()
	busy := &activity{}
	var out, said bytes.Buffer
	ctx := context.WithoutCancel(t.Context())
	c := &command{ctx: ctx, pace: ctx, gone: ctx, session: k.session, tree: k.tree, busy: busy, pool: k.pool, in: bytes.NewReader(sent), out: &out, messages: &said}
	err := c.scp(args)
	if _, free := busy.quiet(busy.last); !free {
		t.Error("a file was not given back")
	}
	return out.String(), err
}

// A sender that is cut after any byte leaves nothing to be seen that is not whole. The
// last byte says only that it is, and curl does not send it.
func TestSCPCutAtEveryByte(t *testing.T) {
	t.Parallel()
	sent := []byte("C0644 7 up\ncontent\x00")
	for n := range len(sent) + 1 {
		k := newTalk(t)
		out, err := k.scp(t, sent[:n], "-t", ".")
		_, seen := os.Stat(filepath.Join(k.dir, "up"))
		whole := n >= len(sent)-1
		if (seen == nil) != whole || (err == nil) != (whole || n == 0) {
			t.Errorf("after %d bytes: %v, %v, %q", n, seen, err, out)
		}
	}
}

func TestSCPProtocol(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, sent, out string
		args            []string
		fails           bool
	}{
		{"no flags", "", "", []string{"x"}, true},
		{"both", "", "", []string{"-tf", "x"}, true},
		{"two names", "", "", []string{"-t", "x", "y"}, true},
		{"unknown flag", "", "", []string{"-t", "-S", "x"}, true},
		{"not a folder", "", "\x01scp: f: Not a directory\n", []string{"-td", "f"}, true},
		{"missing folder", "", "\x01scp: nowhere: No such file\n", []string{"-td", "nowhere"}, true},
		{"folder without -r", "D0755 0 d\n", "\x00\x02scp: protocol error\n", []string{"-t", "."}, true},
		{"way out", "C0644 1 ../x\na\x00", "\x00\x02scp: protocol error\n", []string{"-t", "."}, true},
		{"end of nothing", "E\n", "\x00\x02scp: protocol error\n", []string{"-tr", "."}, true},
		{"peer gives up", "\x02no\n", "\x00", []string{"-t", "."}, true},
		{"peer leaves out", "\x01no\nC0644 1 x\ny\x00", "\x00\x00\x00", []string{"-t", "."}, true},
		{"long line", strings.Repeat("C", 2000) + "\n", "\x00\x02scp: protocol error\n", []string{"-t", "."}, true},
		{"into a new name", "C0644 1 x\ny\x00", "\x00\x00\x00", []string{"-t", "--", "new"}, false},
		{"missing", "\x00", "\x01scp: nowhere: No such file\n", []string{"-f", "nowhere"}, true},
		{"folder without -r", "\x00", "\x01scp: d: Not a regular file\n", []string{"-f", "d"}, true},
		{"send", "\x00\x00\x00", "C0640 7 f\ncontent\x00", []string{"-f", "f"}, false},
		{"send, not taken", "\x00\x01no\n", "C0640 7 f\n", []string{"-f", "f"}, true},
		{"send, hung up", "\x00", "C0640 7 f\n", []string{"-f", "f"}, true},
		{"send folder", "\x00\x00\x00\x00\x00\x00", "D0750 0 d\nC0640 0 in\n\x00E\n", []string{"-rf", "d"}, false},
		{"control bytes", "", "\x01scp: a?b: Not a directory\n", []string{"-td", "a\x1bb"}, true},
	} {
		k := newTalk(t)
		k.put(t, "f", "content")
		k.put(t, "a\x1bb", "")
		if err := os.Mkdir(filepath.Join(k.dir, "d"), 0o750); err != nil {
			t.Fatal(err)
		}
		k.put(t, "d/in", "")
		out, err := k.scp(t, []byte(c.sent), c.args...)
		if out != c.out || (err != nil) != c.fails {
			t.Errorf("%s: said %q, %v, want %q", c.name, out, err, c.out)
		}
	}
}

// Folders in folders end somewhere.
func TestSCPDepth(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	out, err := k.scp(t, []byte(strings.Repeat("D0755 0 d\n", maxDepth+2)), "-tr", ".")
	if err == nil || !strings.HasSuffix(out, "\x02scp: protocol error\n") {
		t.Errorf("said %q, %v", out, err)
	}
}

func TestOpenSSHSCP(t *testing.T) {
	t.Parallel()
	need(t, "scp", "sshpass")
	f := start(t, allowSCP, nil)
	src, content := local(t, 3<<20+5)
	scp := func(args ...string) string {
		return runClient(t, "", "sshpass", append([]string{"-e", "scp"}, f.openssh(t, append([]string{"-O"}, args...)...)...)...)
	}
	scp(src, "alice@127.0.0.1:a")
	f.sameFile(t, "a", content)
	back := t.TempDir()
	scp("alice@127.0.0.1:/a", back+"/b")
	if got, err := os.ReadFile(back + "/b"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	tree := t.TempDir() + "/tree"
	for name, text := range map[string]string{"one": "1", "sub/two": "22", "sub/deep/three": "", "sp ace": "x"} {
		if err := os.MkdirAll(filepath.Dir(tree+"/"+name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tree+"/"+name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Unix(1_000_000_000, 0)
	if err := os.Chtimes(tree+"/sub/two", old, old); err != nil {
		t.Fatal(err)
	}
	scp("-rp", tree, "alice@127.0.0.1:~/")
	scp("-rp", "alice@127.0.0.1:tree", back)
	if out, err := exec.Command("diff", "-r", tree, back+"/tree").CombinedOutput(); err != nil {
		t.Errorf("not the same tree: %s", out)
	}
	for _, name := range []string{f.fs.dir + "/tree/sub/two", back + "/tree/sub/two"} {
		if info, err := os.Stat(name); err != nil || !info.ModTime().Equal(old) || info.Mode() != 0o640 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	args := append([]string{"-e", "scp"}, f.openssh(t, "-O", "alice@127.0.0.1:nothing", back)...)
	if out, err := tryClient(t, "", "sshpass", args...); err == nil || !strings.Contains(out, "No such file") {
		t.Errorf("missing file: %v, %s", err, out)
	}
	// Not enabled: it is told what to do.
	off := start(t, nil, nil)
	args = append([]string{"-e", "scp"}, off.openssh(t, "-O", src, "alice@127.0.0.1:a")...)
	if out, err := tryClient(t, "", "sshpass", args...); err == nil || !strings.Contains(out, "SFTP only") {
		t.Errorf("not enabled: %v, %s", err, out)
	}
	// Without -O it is SFTP.
	args = append([]string{"-e", "scp"}, off.openssh(t, src, "alice@127.0.0.1:a")...)
	runClient(t, "", "sshpass", args...)
	off.sameFile(t, "a", content)
	wrote := false
	for _, e := range f.core.Record.Events(session.EventFile) {
		wrote = wrote || e.Verb == session.Write && e.Outcome == session.OutcomeDone && e.Path == "/a" && e.Bytes == int64(len(content))
	}
	if !wrote {
		t.Error("the upload is not in the record")
	}
}

func TestCurlSCP(t *testing.T) {
	t.Parallel()
	need(t, "curl")
	if out, _ := exec.Command("curl", "--version").Output(); !bytes.Contains(out, []byte(" scp")) {
		t.Skip("this curl has no scp")
	}
	f := start(t, allowSCP, nil)
	src, content := local(t, 1<<20)
	back := filepath.Join(t.TempDir(), "back")
	url := "scp://" + f.addr + "/"
	runClient(t, "", "curl", "-sS", "-k", "-u", "alice:right", "-T", src, url+"a%20b")
	f.sameFile(t, "a b", content)
	runClient(t, "", "curl", "-sS", "-k", "-u", "alice:right", "-o", back, url+"a%20b")
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// rclone compares digests that it asks for by command.
func TestRclone(t *testing.T) {
	t.Parallel()
	need(t, "rclone")
	f := start(t, nil, nil)
	dir := t.TempDir()
	for i := range 5 {
		if err := os.WriteFile(fmt.Sprintf("%s/file '%d' $x", dir, i), []byte(strings.Repeat("x", i*1000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := net.SplitHostPort(f.addr)
	secret := runClient(t, "", "rclone", "obscure", "right")
	remote := fmt.Sprintf(":sftp,host=%s,port=%s,user=alice,pass=%s:", host, port, strings.TrimSpace(secret))
	config := "--config=" + filepath.Join(t.TempDir(), "none")
	runClient(t, "", "rclone", config, "sync", dir, remote+"to")
	out := runClient(t, "", "rclone", config, "check", "-v", dir, remote+"to")
	if !strings.Contains(out, "0 differences found") || !strings.Contains(out, "5 matching files") || strings.Contains(out, "could not be checked") {
		t.Errorf("check said %s", out)
	}
	// The same size and time, another content.
	name := dir + "/file '3' $x"
	info, err := os.Stat(name)
	if err == nil {
		err = os.WriteFile(name, []byte(strings.Repeat("y", 3000)), 0o600)
	}
	if err == nil {
		err = os.Chtimes(name, info.ModTime(), info.ModTime())
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := tryClient(t, "", "rclone", config, "check", dir, remote+"to"); err == nil || !strings.Contains(out, "1 differences found") {
		t.Errorf("after a change: %v, %s", err, out)
	}
}

// scp may do what the account may do, and no more.
func TestSCPWithinPermissionsAndQuota(t *testing.T) {
	t.Parallel()
	access := session.Access{
		Rules: []session.PathRule{{Path: "/", May: session.MayList | session.MayRead}, {Path: "/in", May: session.MayDrop}, {Path: "/own", May: session.MayAll &^ session.MayOverwrite}},
		Quota: session.Quota{Bytes: 100},
	}
	f, trees := onDisk(t, access)
	f.core.Gate.SetPolicy(sessiontest.Rules(allowSCP))
	tree, err := trees.Open("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for _, name := range []string{"in", "own"} {
		if err := tree.Mkdir(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	c, err := f.dial(t, "alice", ssh.Password("right"))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, size int) string {
		return fmt.Sprintf("C0644 %d %s\n%s\x00", size, name, strings.Repeat("x", size))
	}
	for _, x := range []struct{ line, sent, out string }{
		{"scp -t in", file("a", 9), "\x00\x00\x00"},
		{"scp -t in", "C0644 9 a\n", "\x00\x01scp: in/a: Permission denied\n"},
		{"scp -t /", "C0644 9 a\n", "\x00\x01scp: /a: Permission denied\n"},
		{"scp -rt /", "D0755 0 d\n", "\x00\x01scp: /d: Permission denied\n"},
		{"scp -f in/a", "\x00", "\x01scp: in/a: No such file\n"},
		{"scp -rf in", "\x00", "\x01scp: in: Permission denied\n"},
		{"scp -t own", file("big", 101), "\x00\x00\x01scp: own/big: Over quota\n"},
		{"scp -t own/../../../in/b", file("x", 1), "\x00\x00\x00"},
		{"scp -t own", file("fits", 80), "\x00\x00\x00"},
		{"scp -t own", "C0644 1 fits\n", "\x00\x01scp: own/fits: Permission denied\n"},
	} {
		out, _, status := runCommand(t, c, x.line, x.sent)
		if out != x.out || (status == 0) != !strings.Contains(x.out, "scp:") {
			t.Errorf("%s: said %q, status %d, want %q", x.line, out, status, x.out)
		}
	}
	if usage, err := tree.Usage(t.Context()); err != nil || usage.Bytes != 90 || usage.Files != 5 {
		t.Errorf("left %+v, %v", usage, err)
	}
}

// A sender that stalls is cut off like any other that asks for nothing.
func TestSCPStalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		f := startOn(t, ln, allowSCP, nil)
		conn, requests := f.logIn(t, ln.dial(t))
		go ssh.DiscardRequests(requests)
		ch, more, err := conn.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(more)
		if ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{"scp -t ."})); !ok || err != nil {
			t.Fatal(ok, err)
		}
		go func() { _, _ = io.Copy(io.Discard, ch) }()
		if _, err := io.WriteString(ch, "C0644 9 half\nhalf"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_ = conn.Wait()
		if took := time.Since(began); took > defaultIdleTimeout+time.Second {
			t.Errorf("cut off after %v, want %v", took, defaultIdleTimeout)
		}
		if e := f.connection(t); e.Reason != session.ErrIdle.Error() {
			t.Errorf("connection %+v", e)
		}
		if f.fs.commits.Load() != 0 || f.fs.aborts.Load() != 1 {
			t.Errorf("%d commits, %d aborts", f.fs.commits.Load(), f.fs.aborts.Load())
		}
	})
}
