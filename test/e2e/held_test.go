package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
)

// A rule holds sessions to reading in one folder, over FTP and SFTP alike.
func TestSessionsAreHeld(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Users: map[string]string{alice: password}, Policy: `
allow "files" { group = "users" }
require "only out" {
  read_only = true
  within    = "/out"
}
`})
	for _, name := range []string{"out/a", "b"} {
		path := filepath.Join(g.Dir, "files", alice, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("content"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	authority := ca(t, g)
	local, _ := file(t, "new", 10)
	ftp := "ftp://localhost:" + g.Port("ftp") + "/"
	for url, want := range map[string]bool{ftp + "out/a": true, ftp + "b": false, ftp + "out/": true} {
		if out, status := client(t, "", "curl", "-sS", "--cacert", authority, "--ssl-reqd", "--user", alice+":"+password, url); (status == 0) != want {
			t.Errorf("%s: exit status %d\n%s", url, status, out)
		}
	}
	if _, status := client(t, "", "curl", "-sS", "--cacert", authority, "--ssl-reqd", "--user", alice+":"+password, "-T", local, ftp+"out/new"); status == 0 {
		t.Error("FTP may write")
	}
	for command, want := range map[string]string{
		"ls -1 /out": "/out/a", "get /b " + filepath.Join(t.TempDir(), "b"): "not found",
		"put " + local + " /out/new": "denied", "rm /out/a": "denied",
	} {
		out, _ := client(t, command+"\n", "sshpass", append([]string{"-p", password, "sftp"}, sshOptions(g.Port("sftp"), alice+"@127.0.0.1")...)...)
		if !strings.Contains(strings.ToLower(out), strings.ToLower(want)) {
			t.Errorf("%s: no %q in\n%s", command, want, out)
		}
	}
}
