package e2e

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
)

// The first thing a newcomer does: every command that the demo prints works as
// it is pasted, the record shows what happens, and Ctrl-C leaves nothing behind.
func TestDemo(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(gatewaytest.Binary(t), "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	commands, r := printed(t, out)
	record := make(chan string, 1)
	go func() {
		rest, _ := io.ReadAll(r)
		record <- string(rest)
	}()
	folder := regexp.MustCompile(`\S+/gateway-demo-\d+`).FindString(commands["SFTP with the key"])
	for _, want := range []struct {
		what, text string
		status     int
	}{
		{"SFTP with the key", "Connected to 127.0.0.1", 0},
		{"FTPS: send a file, by AUTH TLS", "", 0},
		{"FTPS: list, TLS from the first byte", "", 0},
		{"Plain FTP: refused with 530 before the password is asked for", "< 530 Use AUTH TLS, or SFTP", 67},
		{"Plain FTP of the old device: let in, and recorded as exposed", "", 0},
		{"Mail on 587, by STARTTLS", "250 2.0.0 Queued as", 0},
		{"Mail on 465, TLS from the first byte", "250 2.0.0 Queued as", 0},
		{"The record", "login", 0},
		{"Why is alice refused in clear?", `by       require "encrypted-login"`, 0},
	} {
		command := commands[want.what]
		if command == "" {
			t.Errorf("no command for %q among %q", want.what, commands)
			continue
		}
		if _, err := exec.LookPath(strings.Fields(command)[0]); err != nil {
			t.Logf("not pasted, for want of the client: %s", command)
			continue
		}
		got, status := client(t, "bye\n", "bash", "-c", command)
		if status != want.status || !strings.Contains(got, want.text) || strings.Contains(got, "PASS ") {
			t.Errorf("%s\n%s\nexit status %d, want %d and %q:\n%s", want.what, command, status, want.status, want.text, got)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-record:
		for _, want := range []string{"granted  alice", "granted  scanner", "refused  alice", "password crossed in clear"} {
			if !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(want), " ")) {
				t.Errorf("the live record does not show %q:\n%s", want, text)
			}
		}
	case <-time.After(clientTimeout):
		t.Fatal("the demo did not end")
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	if _, err := os.Stat(folder); folder == "" || !os.IsNotExist(err) {
		t.Errorf("left behind: %s (%v)", filepath.Base(folder), err)
	}
}

// printed reads the demo's commands by what is said above each.
func printed(t *testing.T, out io.Reader) (map[string]string, *bufio.Reader) {
	t.Helper()
	r := bufio.NewReader(out)
	commands := map[string]string{}
	what := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("the demo ended: %v", err)
		}
		line = strings.TrimSpace(line)
		switch {
		case line == "What happens:":
			return commands, r
		case strings.HasPrefix(line, "# "):
			what = line[2:]
		case what != "":
			commands[what], what = line, ""
		}
	}
}
