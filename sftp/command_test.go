package sftp

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

func TestSplitCommand(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"pwd":                             {"pwd"},
		"  md5sum   a\tb ":                {"md5sum", "a", "b"},
		`md5sum 'a b' "c d" e\ f`:         {"md5sum", "a b", "c d", "e f"},
		`x 'a'\''b' "q\"\\\$\x" ''`:       {"x", "a'b", `q"\$\x`, ""},
		`scp -t ~/in`:                     {"scp", "-t", "//in"},
		`scp -f ~`:                        {"scp", "-f", "/"},
		`x a~b a#b =a -- -`:               {"x", "a~b", "a#b", "=a", "--", "-"},
		"sha1sum 'a\nb'":                  {"sha1sum", "a\nb"},
		`sha256sum /\*\?\[\$\(`:           {"sha256sum", "/*?[$("},
		"x \xff\xfe":                      {"x", "\xff\xfe"},
		`x 'single "double" $HOME' "a'b"`: {"x", `single "double" $HOME`, "a'b"},
	} {
		if got, err := splitCommand(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{
		"", "  ", "x; y", "x | y", "x & y", "x > y", "x < y", "x $y", "x `y`", "x (y)", "x *", "x ?", "x [a]", "x {a,b}", "x ~bob", "# x", "x #y",
		"x\ny", "x\ry", "x\x00y", "x 'y", `x "y`, `x \`, "x \\\n", `x "$(y)"`, "x \"`y`\"", "x 'a\x00b'", `x "a\`,
	} {
		if got, err := splitCommand(line); err == nil {
			t.Errorf("%q: taken for %q", line, got)
		}
	}
}

func FuzzSplitCommand(f *testing.F) {
	for _, line := range []string{"pwd", `md5sum 'a b'`, `scp -t "x\"y"`, `x \`, "x ~", "x 'y"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitCommand(line)
		if err != nil {
			return
		}
		// In quotes, what was understood is understood in the same way.
		var again []string
		for _, w := range words {
			again = append(again, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		if got, err := splitCommand(strings.Join(again, " ")); err != nil || !slices.Equal(got, words) {
			t.Errorf("%q: %q, and again %q, %v", line, words, got, err)
		}
		_ = program(line)
	})
}

// run is a command on alice's connection, and what it said.
func runCommand(t *testing.T, c *ssh.Client, line, stdin string) (out, said string, status int) {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var stdout, stderr strings.Builder
	s.Stdout, s.Stderr, s.Stdin = &stdout, &stderr, strings.NewReader(stdin)
	err = s.Run(line)
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		status = exit.ExitStatus()
	} else if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return stdout.String(), stderr.String(), status
}

func TestCommands(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	content := strings.Repeat("content ", 100_000)
	for _, name := range []string{"a b", `back\slash`} {
		if err := os.WriteFile(filepath.Join(f.fs.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := f.dial(t, "alice", ssh.Password("right"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	of := hex.EncodeToString(sum[:])
	empty := md5.Sum(nil)
	in := md5.Sum([]byte("abc\n"))
	for _, x := range []struct {
		line, stdin, out, said string
		status                 int
	}{
		{line: "pwd", out: "/\n"},
		{line: "cd"},
		{line: "cd /"},
		{line: "cd 'a b'", said: "cd: Not a directory\n", status: 1},
		{line: "cd nowhere", said: "cd: No such file\n", status: 1},
		{line: "md5sum", out: hex.EncodeToString(empty[:]) + "  -\n"},
		{line: "md5sum", stdin: "abc\n", out: hex.EncodeToString(in[:]) + "  -\n"},
		{line: `sha256sum a\ b`, out: of + "  a b\n"},
		{line: `sha256sum -- 'a b'`, out: of + "  a b\n"},
		{line: `sha256sum 'back\slash'`, out: `\` + of + `  back\\slash` + "\n"},
		{line: "sha256sum ../../etc/passwd", said: "sha256sum: No such file\n", status: 1},
		{line: "sha1sum .", said: "sha1sum: Is a directory\n", status: 1},
	} {
		out, said, status := runCommand(t, c, x.line, x.stdin)
		if out != x.out || said != x.said || status != x.status {
			t.Errorf("%s: %q, %q, %d, want %q, %q, %d", x.line, out, said, status, x.out, x.said, x.status)
		}
	}
	read := 0
	for _, e := range f.core.Record.Events(session.EventFile) {
		if e.Verb == session.Read && e.Outcome == session.OutcomeDone && e.Bytes == int64(len(content)) {
			read++
		}
	}
	if read != 3 {
		t.Errorf("%d digests are recorded as reads, want 3", read)
	}
}

// What is not done here is refused, and recorded without what may be a secret.
func TestRefusedCommandsAreRecorded(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	c, err := f.dial(t, "alice", ssh.Password("right"))
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{
		"/bin/sh -c id":            "/bin/sh",
		"mysql -psecret":           "mysql",
		"PASSWORD=secret ./x":      "?",
		"scp -t .":                 "scp",
		"rsync --server . x":       "rsync",
		"md5sum a; id":             "md5sum",
		"md5sum --check x":         "md5sum",
		"md5sum $(id)":             "md5sum",
		"sha1sum a b":              "sha1sum",
		"pwd -P":                   "pwd",
		"cat /etc/passwd | tee\nx": "cat",
		strings.Repeat("x", 70):    "?",
		"":                         "?",
		"export TERM":              "export",
		"/usr/lib/sftp-server":     "/usr/lib/sftp-server",
		"${ShellId}%ComSpec%":      "?",
	}
	var want []string
	for line, recorded := range lines {
		out, said, status := runCommand(t, c, line, "")
		if out != "" || said != sftpOnly || status != 1 {
			t.Errorf("%q: %q, %q, %d", line, out, said, status)
		}
		want = append(want, recorded)
	}
	var got []string
	for _, e := range f.core.Record.Events(session.EventFile) {
		if e.Verb != session.Exec || e.Outcome != session.OutcomeRefused || e.User != "alice" {
			t.Errorf("recorded %+v", e)
		}
		got = append(got, e.Path)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}
