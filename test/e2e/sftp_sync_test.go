package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// rclone and lftp do by SFTP what they do by FTP; OpenSSH's programs copy trees with
// their times and modes.
func TestSyncsBySFTP(t *testing.T) {
	g := start(t)
	c := newSSHCell(t, g)
	files := filepath.Join(g.Dir, "files", alice)
	for name, sync := range map[string]func(t *testing.T, c sshCell){
		"rclone": func(t *testing.T, c sshCell) {
			syncByRclone(t, c.rclone(t), ":sftp:rclone é", filepath.Join(files, "rclone é"))
		},
		"lftp": func(t *testing.T, c sshCell) { mirrorByLftp(t, c.lftp(t), "lftp é", filepath.Join(files, "lftp é")) },
		"sftp": func(t *testing.T, c sshCell) {
			tree, back := someTree(t, 40), filepath.Join(t.TempDir(), "back")
			c.sftp(t, fmt.Sprintf("put -pR %s \"sftp é\"\nget -pR \"sftp é\" %s\n", tree, back))
			sameFiles(t, "there", filepath.Join(files, "sftp é"), tree)
			sameFiles(t, "back", back, tree)
		},
		"scp": func(t *testing.T, c sshCell) {
			tree, back := someTree(t, 40), filepath.Join(t.TempDir(), "back")
			args := c.options("-s", "-r", "-p", "-P", c.port)
			must(t, "", "scp", append(args, tree, c.target()+":scp é")...)
			must(t, "", "scp", append(args, c.target()+":scp é", back)...)
			sameFiles(t, "there", filepath.Join(files, "scp é"), tree)
			sameFiles(t, "back", back, tree)
			// A copy into the home, by a name that only the server can resolve.
			must(t, "", "scp", append(args, tree, c.target()+":~")...)
			sameFiles(t, "home", filepath.Join(files, "tree"), tree)
		},
		"psftp": func(t *testing.T, c sshCell) {
			tree, back := someTree(t, 8), filepath.Join(t.TempDir(), "back")
			script := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(script, []byte(fmt.Sprintf("put -r %s \"psftp é\"\nget -r \"psftp é\" %s\n", tree, back)), 0o600); err != nil {
				t.Fatal(err)
			}
			must(t, "", "psftp", append(c.putty(), "-b", script, c.target())...)
			if got, want := checksumsIn(t, back), checksumsIn(t, tree); got != want {
				t.Errorf("back: got\n%swant\n%s", got, want)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sync(t, c)
		})
	}
}

// checksumsIn describes all files below root without their times, which some clients
// do not keep.
func checksumsIn(t *testing.T, root string) string {
	t.Helper()
	return must(t, "", "/bin/sh", "-c", `cd "$0" && find . -type f -exec sha256sum {} + | sort`, root)
}
