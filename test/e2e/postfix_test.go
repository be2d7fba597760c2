package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// daemonDir makes a folder for a daemon that works as other users too.
func daemonDir(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", name+"-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// ids are the numbers of a user of the system; the test is skipped where there is none.
func ids(t *testing.T, name string) (uid, gid int) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil || os.Getuid() != 0 {
		t.Skipf("no user %s here, or this is not root", name)
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid
}

// daemon runs a program until the end of the test, with the programs that it starts.
func daemon(t *testing.T, name string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// runPostfix runs a private Postfix in a folder that it returns, with further lines of
// main.cf and master.cf, in which {dir} stands for that folder.
func runPostfix(t *testing.T, main, master string) string {
	t.Helper()
	const postfix = "/usr/sbin/postfix"
	if _, err := os.Stat(postfix); err != nil {
		t.Skip("Postfix is not installed")
	}
	uid, gid := ids(t, "postfix")
	out, err := exec.Command("/usr/sbin/postconf", "-dh", "daemon_directory", "command_directory").Output()
	places := strings.Fields(string(out))
	if err != nil || len(places) != 2 {
		t.Skipf("postconf does not say where its programs are: %v", err)
	}
	dir := daemonDir(t, "postfix")
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "queue"), 0o755), os.Mkdir(filepath.Join(dir, "data"), 0o700),
		os.Chown(filepath.Join(dir, "data"), uid, gid),
		os.WriteFile(filepath.Join(dir, "main.cf"), fmt.Appendf(nil, `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
daemon_directory = %[2]s
command_directory = %[3]s
mail_owner = postfix
setgid_group = postdrop
mydestination =
alias_maps =
inet_protocols = ipv4
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
%[4]s`, dir, places[0], places[1], strings.ReplaceAll(main, "{dir}", dir)), 0o644),
		os.WriteFile(filepath.Join(dir, "master.cf"), []byte(strings.ReplaceAll(master, "{dir}", dir)+`pickup  unix n - n 60  1 pickup
cleanup unix n - n -   0 cleanup
qmgr    unix n - n 300 1 qmgr
rewrite unix - - n -   - trivial-rewrite
bounce  unix - - n -   0 bounce
defer   unix - - n -   0 bounce
trace   unix - - n -   0 bounce
smtp    unix - - n -   - smtp
error   unix - - n -   - error
retry   unix - - n -   - error
discard unix - - n -   - discard
proxymap unix - - n -  - proxymap
postlog unix-dgram n - n - 1 postlogd
`), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(postfix, "-c", dir, "check").CombinedOutput(); err != nil {
		t.Skipf("postfix check: %v\n%s", err, out)
	}
	daemon(t, filepath.Join(places[0], "master"), "-c", dir, "-d")
	return dir
}
