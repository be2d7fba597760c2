package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
)

// Two storages behind appear in the tree of an account: one with a login of the gateway's, and one
// that the account logs in to with the password of its own session.
func TestStoragesAreMounted(t *testing.T) {
	t.Parallel()
	for _, b := range ftpServersBehind() {
		if b.name == "vsftpd" || b.name == "proftpd" { // one that says facts, and one that does not
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				mountedStorages(t, b)
			})
		}
	}
}

func mountedStorages(t *testing.T, b ftpBehind) {
	t.Helper()
	dir, port := daemonDir(t, "ftpd"), unusedPort(t)
	if err := os.Mkdir(filepath.Join(dir, "srv"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"gateway", alice} {
		folderOf(t, filepath.Join(dir, "srv", user), filesOf)
	}
	selfSigned(t, dir)
	b.start(t, dir, port, map[string]string{"gateway": "secret of the gateway", alice: password})
	answers(t, port)
	said := must(t, "", "openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", filepath.Join(dir, "cert.pem"))
	_, pin, _ := strings.Cut(strings.TrimSpace(said), "=")
	g := gatewaytest.Start(t, gatewaytest.Options{Config: gatewaytest.Config + fmt.Sprintf(`
storage "archive" {
  type     = "ftp"
  groups   = ["users"]
  address  = "127.0.0.1:%[1]s"
  user     = "gateway"
  password = file(%[2]q)
  pin      = %[3]q
  path     = "/"
  mount    = "/archive/2019"
}
storage "old" {
  type    = "ftp"
  groups  = ["users"]
  address = "127.0.0.1:%[1]s"
  login   = "own"
  pin     = %[3]q
  mount   = "/old"
}
`, port, settings(t, t.TempDir(), "password", "secret of the gateway"), pin), Users: map[string]string{alice: password}})
	g.CLI("", "user", "set", alice, "--quota-bytes", "1MiB")
	authority, url := ca(t, g), "ftp://localhost:"+g.Port("ftp")+"/"
	path, content := file(t, "new.dat", 2_000_000)
	curl := func(args ...string) (string, int) {
		t.Helper()
		return client(t, "", "curl", append([]string{"-sS", "--cacert", authority, "--ssl-reqd", "--user", alice + ":" + password}, args...)...)
	}
	for place, there := range map[string]string{
		"old/new.dat":          filepath.Join(dir, "srv", alice, "new.dat"),
		"archive/2019/new.dat": filepath.Join(dir, "srv", "gateway", alice, "new.dat"),
	} {
		if out, status := curl("-T", path, url+place); status != 0 {
			t.Fatalf("put %s: exit status %d\n%s", place, status, out)
		}
		same(t, place, read(t, there), content)
	}
	if out, status := curl("-T", path, url+"here.dat"); status == 0 {
		t.Errorf("the quota is of what is here, and not kept\n%s", out)
	}
	for folder, want := range map[string]string{"": "archive old", "archive/": "2019", "archive/2019/": "new.dat", "old/": "new.dat"} {
		out, _ := curl("-l", url+folder)
		if got := strings.Join(strings.Fields(out), " "); got != want {
			t.Errorf("in /%s is %q, want %q", folder, got, want)
		}
	}
	for command, want := range map[string]string{
		"rename old/new.dat archive/2019/other.dat": "failure", "rename old elsewhere": "denied", "rmdir old": "denied", "rm old/new.dat": "",
	} {
		out, status := batch(t, g.Port("sftp"), command+"\n")
		if (status == 0) != (want == "") || !strings.Contains(strings.ToLower(out), want) {
			t.Errorf("%s: exit status %d, want %q in\n%s", command, status, want, out)
		}
	}
	// A key opens no login there, and everything else.
	key := filepath.Join(t.TempDir(), "key")
	must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	g.CLI("", "user", "key", "add", alice, key+".pub")
	for command, good := range map[string]bool{"ls archive/2019": true, "ls old": false} {
		list := settings(t, t.TempDir(), "batch", command+"\n")
		if out, status := client(t, "", "sftp", sshOptions(g.Port("sftp"), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", key, "-b", list, alice+"@127.0.0.1")...); (status == 0) != good {
			t.Errorf("%s with a key: exit status %d\n%s", command, status, out)
		}
	}
	log := g.Log()
	if !strings.Contains(log, "which only a login by password brings") || strings.Contains(log, password) || strings.Contains(log, "secret of the gateway") {
		t.Errorf("the log says\n%s", log)
	}
}
