package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
)

// someTree makes a tree of count files with times of long ago.
func someTree(t *testing.T, count int) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	for i := range count {
		name := filepath.Join(root, fmt.Sprintf("d é %d/sub", i%4), fmt.Sprintf("file %d ñ.bin", i))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(strings.Repeat(fmt.Sprintf("%d\r\n", i), i*37)), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1_300_000_000+int64(i)*86_413, 0)
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// filesIn describes all files below root: name, time and content.
func filesIn(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		fmt.Fprintf(&b, "%s %s %x\n", name, info.ModTime().UTC().Format(time.DateTime), checksum(read(t, p)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func sameFiles(t *testing.T, what, got, want string) {
	t.Helper()
	if got, want := filesIn(t, got), filesIn(t, want); got != want {
		t.Errorf("%s: got\n%swant\n%s", what, got, want)
	}
}

// change makes a tree differ from its copies: a file more, one less, one with
// other content.
func change(t *testing.T, root string) {
	t.Helper()
	at := time.Unix(1_500_000_001, 0)
	for _, name := range []string{"d é 1/new.bin", "d é 1/sub/file 1 ñ.bin"} {
		name = filepath.Join(root, name)
		if err := os.WriteFile(name, []byte("new content"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(root, "d é 2/sub/file 2 ñ.bin")); err != nil {
		t.Fatal(err)
	}
}

// rclone makes a copy on the gateway and one of that, times included, four files
// at once; what has changed since, and only that, is moved by the next run.
func TestRcloneSyncsBothWays(t *testing.T) {
	t.Parallel()
	// Its connections share their tickets, so several at once cannot all resume.
	g := gatewaytest.Start(t, ftpSettings{resumption: preferred}.options())
	authority := ca(t, g)
	for _, channel := range []string{"plain", "explicit", "implicit"} {
		t.Run(channel, func(t *testing.T) {
			t.Parallel()
			c := newCell(t, g, channel, authority)
			run := rclone(t, c)
			syncByRclone(t, run, ":ftp:"+channel+" é", filepath.Join(g.Dir, "files", c.user, channel+" é"))
		})
	}
}

// syncByRclone does it for there, which is stored in a folder.
func syncByRclone(t *testing.T, run func(args ...string) string, there, stored string) {
	t.Helper()
	tree, back := someTree(t, 40), filepath.Join(t.TempDir(), "back")
	atOnce := func(args ...string) string {
		return run(append(args, "--transfers", "4", "--checkers", "4")...)
	}
	for _, round := range []string{"first", "changed"} {
		atOnce("sync", tree, there)
		sameFiles(t, round+", there", stored, tree)
		atOnce("check", tree, there)
		atOnce("check", "--download", tree, there)
		if out := atOnce("sync", "-v", tree, there); !strings.Contains(out, "nothing to transfer") {
			t.Errorf("%s: a second run moved files:\n%s", round, out)
		}
		atOnce("sync", there, back)
		sameFiles(t, round+", back", back, tree)
		atOnce("check", "--download", there, back)
		if round == "first" {
			change(t, tree)
		}
	}
}

// lftp mirrors a tree both ways, files at once, and does nothing when all is as
// it should be: it has set the times.
func TestLftpMirrorsWhatChanged(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, ftpSettings{resumption: required}.options())
	authority := ca(t, g)
	for _, channel := range []string{"explicit", "implicit"} {
		t.Run(channel, func(t *testing.T) {
			t.Parallel()
			c := newCell(t, g, channel, authority)
			scheme := map[string]string{"explicit": "ftp", "implicit": "ftps"}[channel]
			mirrorByLftp(t, func(command string) string {
				return must(t, "", "lftp", "-e", lftpSettings(c.ca)+fmt.Sprintf("open -u %s,%s %s://%s:%s; %s; bye",
					c.user, c.password, scheme, c.host, c.port, command))
			}, channel, filepath.Join(g.Dir, "files", c.user, channel))
		})
	}
}

// mirrorByLftp does it for a folder at the gateway, and where that is stored.
func mirrorByLftp(t *testing.T, lftp func(command string) string, folder, stored string) {
	t.Helper()
	tree, back := someTree(t, 40), filepath.Join(t.TempDir(), "back")
	up := fmt.Sprintf("mirror -R --delete --parallel=4 '%s' '%s'", tree, folder)
	down := fmt.Sprintf("mirror --delete --parallel=4 '%s' '%s'", folder, back)
	for _, round := range []string{"first", "changed"} {
		lftp(up)
		sameFiles(t, round+", there", stored, tree)
		lftp(down)
		sameFiles(t, round+", back", back, tree)
		for _, again := range []string{up, down} {
			if out := lftp(strings.Replace(again, "mirror ", "mirror --dry-run ", 1)); strings.Contains(out, "get") || strings.Contains(out, "rm ") {
				t.Errorf("%s would do something again:\n%s", again, out)
			}
		}
		if round == "first" {
			change(t, tree)
		}
	}
}
