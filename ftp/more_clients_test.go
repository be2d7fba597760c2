package ftp_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/ftp"
	"gateway/session"
	"gateway/session/sessiontest"
)

// rclone writes, reads back, compares and removes trees, four files at once.
func TestRclone(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string][]string{
		"plain":          {},
		"explicit":       {"--ftp-explicit-tls", "--ftp-no-check-certificate"},
		"implicit":       {"--ftp-tls", "--ftp-no-check-certificate"},
		"explicit alone": {"--ftp-explicit-tls", "--ftp-no-check-certificate", "--ftp-concurrency", "1", "--transfers", "1", "--checkers", "1"},
		"implicit alone": {"--ftp-tls", "--ftp-no-check-certificate", "--ftp-concurrency", "1", "--transfers", "1", "--checkers", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, content := workDir(t)
			src := filepath.Join(dir, "src")
			for _, file := range []string{"a", "deep/b", "deep/deeper/c d", "empty"} {
				text := content
				if file == "empty" {
					text = ""
				}
				path := filepath.Join(src, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			// Its connections share their tickets, so several at once need preferred.
			cfg := ftp.Config{TLS: serverTLS(t), Implicit: strings.HasPrefix(name, "implicit"), Resumption: session.ResumptionPreferred}
			if strings.HasSuffix(name, "alone") {
				cfg.Resumption = session.ResumptionRequired
			}
			f := start(t, nil, cfg)
			host, port, _ := net.SplitHostPort(f.addr)
			secret := strings.TrimSpace(mustRun(t, dir, "", "rclone", "obscure", "right"))
			rclone := func(args ...string) string {
				t.Helper()
				args = append(args, "--config", filepath.Join(dir, "none"), "--ftp-host", host, "--ftp-port", port, "--ftp-user", "alice",
					"--ftp-pass", secret, "--retries", "1", "--low-level-retries", "1")
				return mustRun(t, dir, "", "rclone", append(args, extra...)...)
			}
			rclone("sync", src, ":ftp:copy")
			rclone("check", "--download", src, ":ftp:copy")
			if out := rclone("sync", "-v", src, ":ftp:copy"); !strings.Contains(out, "nothing to transfer") {
				t.Errorf("the second sync moved files: times differ\n%s", out)
			}
			rclone("copy", ":ftp:copy", filepath.Join(dir, "back"))
			sameFile(t, dir, "back/deep/deeper/c d", content)
			rclone("moveto", ":ftp:copy/a", ":ftp:copy/moved")
			rclone("purge", ":ftp:copy/deep")
			if !f.tree.has("copy/moved") || f.tree.has("copy/deep") {
				t.Error("the tree is not as it should be")
			}
		})
	}
}

// wget resumes the TLS session of its control connection.
func TestWgetFTPS(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"explicit": {}, "implicit": {"--ftps-implicit"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, content := workDir(t)
			f := start(t, sessiontest.Encrypted, ftp.Config{TLS: serverTLS(t), Implicit: name == "implicit"})
			f.tree.put(t, "sub/down.bin", content)
			mustRun(t, dir, "", "wget", append(args, "-nv", "-t", "1", "--no-check-certificate", "ftps://alice:right@"+f.addr+"/sub/down.bin")...)
			sameFile(t, dir, "down.bin", content)
		})
	}
}

// What small devices upload with: EPSV and no way back.
func TestBusybox(t *testing.T) {
	t.Parallel()
	dir, content := workDir(t)
	f := start(t, nil, ftp.Config{})
	f.tree.put(t, "down.bin", content)
	host, port, _ := net.SplitHostPort(f.addr)
	mustRun(t, dir, "", "busybox", "ftpput", "-u", "alice", "-p", "right", "-P", port, host, "put.bin", "up.bin")
	mustRun(t, dir, "", "busybox", "ftpget", "-u", "alice", "-p", "right", "-P", port, host, "got.bin", "down.bin")
	sameFile(t, dir, "got.bin", content)
	if f.tree.get(t, "put.bin") != content {
		t.Error("the upload differs")
	}
}

// ftp-ssl says AUTH TLS, PBSZ and PROT of its own accord, and goes on in clear
// where there is no TLS. It resumes sessions but does not close them.
func TestFTPSSL(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ftp.Config{
		"clear": {}, "tls": {TLS: serverTLS(t), TakeTruncated: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, content := workDir(t)
			f := start(t, nil, cfg)
			f.tree.put(t, "down.bin", content)
			host, port, _ := net.SplitHostPort(f.addr)
			out := mustRun(t, dir, "user alice right\nbinary\nput up.bin\nget down.bin\nls\nquit\n", "ftp-ssl", "-n", "-v", "-p", "-z", "verify=0", host, port)
			sameFile(t, dir, "down.bin", content)
			if !f.tree.has("up.bin") || f.tree.get(t, "up.bin") != content {
				t.Errorf("the upload differs:\n%s", out)
			}
		})
	}
}
