package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"gateway/admin"
)

func TestMain(m *testing.M) {
	testscript.Main(apart{m}, map[string]func(){"gateway": main})
}

// apart are the tests, apart from whatever installation the shell works on: with its
// $GATEWAY_CONFIG, `run --init` would make one and serve.
type apart struct{ tests *testing.M }

func (a apart) Run() int {
	if err := os.Unsetenv("GATEWAY_CONFIG"); err != nil {
		panic(err)
	}
	return a.tests.Run()
}

// TestScripts plays testdata/script with the real main.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", "UTC")
			env.Setenv("GATEWAY_CONFIG", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "json": isJSON, "loopback": loopback, "running": running, "readonce": readOnce, "mode": mode, "newer": newer, "taken": taken, "claim": claim, "login": login,
		},
	})
}

// newer DB marks a store as one of a later version.
func newer(ts *testscript.TestScript, _ bool, args []string) {
	db, err := openRaw(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (999999, 1)`)
	ts.Check(err)
	_, err = db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
	ts.Check(err)
	ts.Check(db.Close())
}

// status N COMMAND... runs a command that must end with exit status N.
func status(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if exit, ok := err.(*exec.ExitError); ok {
		got = fmt.Sprint(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("run %v: %v", args[1:], err)
	}
	if got != args[0] {
		ts.Fatalf("%v: got status %s, want %s", args[1:], got, args[0])
	}
	said := ts.ReadFile("stderr") + ts.ReadFile("stdout")
	for _, jargon := range []string{"%!", "panic:", "goroutine ", "<nil>", "usage: ", "0001-01-01", "file does not exist"} {
		if strings.Contains(said, jargon) {
			ts.Fatalf("%v says %q:\n%s", args[1:], jargon, said)
		}
	}
}

// json WORD... says that the last output is JSON, one document or one a line,
// without null, and has the keys.
func isJSON(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile("stdout")
	dec := json.NewDecoder(strings.NewReader(text))
	documents := 0
	for {
		var v any
		if err := dec.Decode(&v); err == io.EOF {
			break
		} else if err != nil {
			ts.Fatalf("not JSON: %v\n%s", err, text)
		}
		documents++
	}
	if documents == 0 {
		ts.Fatalf("no JSON at all")
	}
	if strings.Contains(text, "null") {
		ts.Fatalf("null in the JSON:\n%s", text)
	}
	for _, key := range args {
		if !strings.Contains(text, `"`+key+`":`) {
			ts.Fatalf("no key %q in\n%s", key, text)
		}
	}
}

var listenAddress = regexp.MustCompile(`(?m)^([^#\n]*\baddress\s*=\s*)"[^"]*"`)

// loopback FILE puts all listeners of a configuration on ports from the kernel.
func loopback(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	text := listenAddress.ReplaceAllString(ts.ReadFile(path), `${1}"127.0.0.1:0"`)
	ts.Check(os.WriteFile(path, []byte(text), 0o600))
}

const startWait = 20 * time.Second

// running DIR waits until the gateway of that folder answers.
func running(ts *testscript.TestScript, _ bool, args []string) {
	socket := filepath.Join(ts.MkAbs(args[0]), "state", "control.sock")
	deadline := time.Now().Add(startWait)
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the gateway does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // another process starts
	}
}

// readonce COMMAND... closes the command's output after one byte; the command
// may fail but not crash.
func readOnce(ts *testscript.TestScript, _ bool, args []string) {
	path := lookIn(ts.Getenv("PATH"), args[0])
	if path == "" {
		ts.Fatalf("there is no command %s", args[0])
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	r, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	_, _ = r.Read(make([]byte, 1))
	_ = r.Close()
	_ = cmd.Wait()
	if strings.Contains(stderr.String(), "goroutine") {
		ts.Fatalf("%v crashed:\n%s", args, stderr.String())
	}
}

func lookIn(path, name string) string {
	for _, dir := range filepath.SplitList(path) {
		if full := filepath.Join(dir, name); isFile(full) {
			return full
		}
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// mode OCTAL GLOB changes permissions of the files that match.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	var perm os.FileMode
	_, err := fmt.Sscanf(args[0], "%o", &perm)
	ts.Check(err)
	files, err := filepath.Glob(ts.MkAbs(args[1]))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no file %s", args[1])
	}
	for _, f := range files {
		ts.Check(os.Chmod(f, perm))
	}
}

// taken FILE puts the listeners of a configuration on a port where somebody
// listens until the script ends.
func taken(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = ln.Close() })
	path := ts.MkAbs(args[0])
	text := listenAddress.ReplaceAllString(ts.ReadFile(path), `${1}"`+ln.Addr().String()+`"`)
	ts.Check(os.WriteFile(path, []byte(text), 0o600))
}

// claim DIR LISTENER USER says a name over FTP in clear, which must be refused.
func claim(ts *testscript.TestScript, _ bool, args []string) {
	speak(ts, args[0], args[1], step{"USER " + args[2], 530}, step{"QUIT", 221})
}

// login DIR LISTENER USER PASSWORD logs in over FTP in clear.
func login(ts *testscript.TestScript, _ bool, args []string) {
	speak(ts, args[0], args[1], step{"USER " + args[2], 331}, step{"PASS " + args[3], 230}, step{"QUIT", 221})
}

// step is a line with the code of the reply that it must get.
type step struct {
	line string
	code int
}

// speak has a dialogue in clear with a listener of the running gateway.
func speak(ts *testscript.TestScript, dir, listener string, steps ...step) {
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	client, err := admin.Dial(ctx, filepath.Join(ts.MkAbs(dir), "state", "control.sock"))
	ts.Check(err)
	defer func() { _ = client.Close() }()
	status, err := admin.Call[admin.Status](ctx, client, "node.status", admin.Nothing{})
	ts.Check(err)
	i := slices.IndexFunc(status.Listeners, func(l admin.Listener) bool { return l.Name == listener })
	if i < 0 {
		ts.Fatalf("no listener %q among %v", listener, status.Listeners)
	}
	conn, err := textproto.Dial("tcp", status.Listeners[i].Address)
	ts.Check(err)
	defer func() { _ = conn.Close() }()
	_, _, err = conn.ReadResponse(220)
	ts.Check(err)
	for _, s := range steps {
		_, err := conn.Cmd("%s", s.line)
		ts.Check(err)
		_, _, err = conn.ReadResponse(s.code)
		ts.Check(err)
	}
}
