package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
)

// The files of some accounts are on an FTP server behind the gateway: clients of SFTP and
// FTPS reach them there, under the same rules and in the same record.
func TestFilesOnAnFTPServer(t *testing.T) {
	t.Parallel()
	for _, b := range ftpServersBehind() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			cfg, there := b.run(t)
			g := gatewaytest.Start(t, gatewaytest.Options{Config: gatewaytest.Config + fmt.Sprintf(`
storage "old" {
  type     = "ftp"
  groups   = ["old"]
  address  = %q
  user     = "gateway"
  password = file(%q)
  pin      = %q
  path     = "/"
}
`, cfg.Address, settings(t, t.TempDir(), "password", cfg.Password.Reveal()), cfg.Pin), Users: map[string]string{alice: password}})
			g.CLI("", "user", "set", alice, "--group", "users", "--group", "old")
			there = filepath.Join(there, alice)
			openSSHToFTP(t, g, there)
			curlToFTP(t, g, there)
			if strings.Contains(g.Log(), cfg.Password.Reveal()) {
				t.Error("the log has the password")
			}
		})
	}
}

// openSSHToFTP does what people do with OpenSSH's sftp, and looks at the server's folder.
func openSSHToFTP(t *testing.T, g *gatewaytest.Gateway, there string) {
	t.Helper()
	path, content := file(t, "report.dat", 3_000_000)
	back := filepath.Join(t.TempDir(), "back")
	out, status := batch(t, g.Port("sftp"), fmt.Sprintf(`
mkdir "in box"
put %[1]s "in box/größe.dat"
put %[1]s "in box/größe.dat"
get "in box/größe.dat" %[2]s
ls -la "in box"
rename "in box/größe.dat" moved.dat
put %[1]s gone.dat
rm gone.dat
`, path, back))
	if status != 0 || !strings.Contains(out, "größe.dat") || strings.Contains(out, ".gateway") {
		t.Fatalf("sftp: exit status %d\n%s", status, out)
	}
	same(t, "back over SFTP", read(t, back), content)
	same(t, "on the server", read(t, filepath.Join(there, "moved.dat")), content)
	for command, want := range map[string]string{"ln -s moved.dat link": "unsupported", "rmdir moved.dat": "", "df": "", "get none": "not found"} {
		if out, status := batch(t, g.Port("sftp"), command+"\n"); status == 0 || !strings.Contains(strings.ToLower(out), want) {
			t.Errorf("%s: exit status %d, want it refused with %q\n%s", command, status, want, out)
		}
	}
	// What broke off goes on.
	if err := os.WriteFile(filepath.Join(there, ".gateway-part-half.dat"), content[:1_000_000], 0o666); err != nil {
		t.Fatal(err)
	}
	uid, gid := ids(t, filesOf)
	if err := os.Chown(filepath.Join(there, ".gateway-part-half.dat"), uid, gid); err != nil {
		t.Fatal(err)
	}
	if out, status := batch(t, g.Port("sftp"), "reput "+path+" half.dat\n"); status != 0 {
		t.Errorf("reput: exit status %d\n%s", status, out)
	}
	same(t, "resumed", read(t, filepath.Join(there, "half.dat")), content)
	var writes []string
	for _, e := range events(t, g, "--event", "file", "--user", alice) {
		if (e.Verb == "write" || e.Verb == "append") && e.Outcome != "begun" {
			writes = append(writes, fmt.Sprintf("%s %s %s %d", e.Verb, e.Path, e.Outcome, e.Bytes))
		}
	}
	want := "write /in box/größe.dat done 3000000, write /in box/größe.dat done 3000000, write /gone.dat done 3000000, append /half.dat done 2000000"
	if got := strings.Join(writes, ", "); got != want {
		t.Errorf("recorded: %s\nwant:     %s", got, want)
	}
}

// curlToFTP is FTPS at both ends.
func curlToFTP(t *testing.T, g *gatewaytest.Gateway, there string) {
	t.Helper()
	authority, url := ca(t, g), "ftp://localhost:"+g.Port("ftp")+"/"
	path, content := file(t, "new.dat", 2_000_000)
	back := filepath.Join(t.TempDir(), "back")
	curl := func(args ...string) string {
		t.Helper()
		return must(t, "", "curl", append([]string{"-sS", "--cacert", authority, "--ssl-reqd", "--user", alice + ":" + password}, args...)...)
	}
	curl("-T", path, "--ftp-create-dirs", url+"deep/er/new.dat")
	same(t, "on the server", read(t, filepath.Join(there, "deep/er/new.dat")), content)
	curl("-r", "1500000-", "-o", back, url+"deep/er/new.dat")
	same(t, "the end of it", read(t, back), content[1_500_000:])
	if list := curl(url + "deep/er/"); !strings.Contains(list, "new.dat") || !strings.Contains(list, "2000000") {
		t.Errorf("listed:\n%s", list)
	}
	curl("-T", path, "--append", url+"deep/er/new.dat")
	if got := read(t, filepath.Join(there, "deep/er/new.dat")); len(got) != 2*len(content) {
		t.Errorf("appended to: %d bytes", len(got))
	}
	curl("-Q", "-RNFR deep/er/new.dat", "-Q", "-RNTO deep/other", url)
	if _, err := os.Stat(filepath.Join(there, "deep/other")); err != nil {
		t.Errorf("renamed: %v", err)
	}
}
