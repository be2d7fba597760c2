package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
)

// The files of some accounts are on an OpenSSH server behind the gateway: clients of FTP
// reach them there under the same rules and in the same record, and others stay here.
func TestFilesOnAnSFTPServer(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/sbin/sshd"); err != nil || os.Getuid() != 0 {
		t.Skip("no sshd here, or this is not root")
	}
	dir, port := daemonDir(t, "sshd"), unusedPort(t)
	for _, name := range []string{"host", "client"} {
		must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name))
	}
	_ = os.MkdirAll("/run/sshd", 0o755)
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	conf := settings(t, dir, "sshd_config", "Port "+port+"\nListenAddress 127.0.0.1\nHostKey {dir}/host\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nAuthorizedKeysFile {dir}/client.pub\nSubsystem sftp internal-sftp\n")
	daemon(t, "/usr/sbin/sshd", "-D", "-f", conf)
	answers(t, port)
	print, err := exec.Command("ssh-keygen", "-lf", filepath.Join(dir, "host.pub")).Output()
	if err != nil {
		t.Fatal(err)
	}
	g := gatewaytest.Start(t, gatewaytest.Options{Config: gatewaytest.Config + fmt.Sprintf(`
storage "archive" {
  type      = "sftp"
  groups    = ["archive"]
  address   = "127.0.0.1:%s"
  user      = "root"
  key       = file(%q)
  host_keys = [%q]
  path      = %q
}
`, port, filepath.Join(dir, "client"), strings.Fields(string(print))[1], filepath.Join(dir, "files")), Users: map[string]string{alice: password, "bob": password}})
	g.CLI("", "user", "set", alice, "--group", "users", "--group", "archive")
	authority := ca(t, g)
	url := "ftp://localhost:" + g.Port("ftp") + "/"
	path, content := file(t, "report.dat", 3_000_000)
	for _, user := range []string{alice, "bob"} {
		curl := func(args ...string) string {
			return must(t, "", "curl", append([]string{"-sS", "--cacert", authority, "--ssl-reqd", "--user", user + ":" + password}, args...)...)
		}
		curl("-T", path, "--ftp-create-dirs", url+"in/report.dat")
		back := filepath.Join(t.TempDir(), "back")
		curl("-o", back, url+"in/report.dat")
		same(t, user+" over FTPS", read(t, back), content)
		if list := curl(url + "in/"); !strings.Contains(list, "report.dat") || strings.Contains(list, ".gateway") {
			t.Errorf("%s lists:\n%s", user, list)
		}
	}
	there := filepath.Join(dir, "files", alice, "in", "report.dat")
	same(t, "on the server", read(t, there), content)
	if _, err := os.Stat(filepath.Join(g.Dir, "files", alice)); err == nil {
		t.Error("alice has a folder here, too")
	}
	if _, err := os.Stat(filepath.Join(dir, "files", "bob")); err == nil {
		t.Error("bob has a folder there")
	}
	// SFTP, and what links there say.
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "files", alice, "way")); err != nil {
		t.Fatal(err)
	}
	got := filepath.Join(t.TempDir(), "got")
	out, _ := client(t, "get /in/report.dat "+got+"\nrename /in/report.dat /in/moved\nget /way\nquit\n", "sshpass", append([]string{"-p", password, "sftp"}, sshOptions(g.Port("sftp"), alice+"@127.0.0.1")...)...)
	same(t, "over SFTP", read(t, got), content)
	if strings.Contains(out, "root:") {
		t.Errorf("a link was followed:\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(dir, "files", alice, "in", "moved")); err != nil {
		t.Errorf("rename: %v\n%s", err, out)
	}
	written := 0
	for _, e := range events(t, g, "--event", "file", "--user", alice) {
		if e.Verb == "write" && e.Outcome == "done" && e.Path == "/in/report.dat" && e.Bytes == int64(len(content)) {
			written++
		}
	}
	if written != 1 {
		t.Errorf("%d writes are recorded, want one", written)
	}
}
