package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
)

// mount mounts what alice sees by sshfs, until the end of the test. The test is skipped
// where nothing can be mounted.
func mount(t *testing.T, g *gatewaytest.Gateway) string {
	t.Helper()
	if _, err := exec.LookPath("sshfs"); err != nil {
		t.Skip("sshfs is not installed")
	}
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	_ = fuse.Close()
	c := newSSHCell(t, g)
	dir := filepath.Join(t.TempDir(), "mounted")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"-f", c.target() + ":/", dir, "-p", c.port, "-o", "idmap=user"}
	for _, option := range c.options() {
		// sshfs takes no -F, and hands on what it knows of ssh's options.
		if strings.Contains(option, "=") && !strings.HasPrefix(option, "LogLevel") {
			args = append(args, "-o", option)
		}
	}
	var out bytes.Buffer
	cmd := exec.Command("sshfs", args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		// Lazily, so that it goes even if a test that failed left a file open.
		_ = exec.Command("fusermount3", "-u", "-z", dir).Run()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	eventually(t, "sshfs has mounted", func() bool {
		select {
		case <-ended:
			if text := out.String(); strings.Contains(text, "mount failed: Operation not permitted") {
				t.Skip("nothing can be mounted here: " + text)
			}
			t.Fatalf("sshfs ended:\n%s", out.String())
		default:
		}
		return strings.Contains(string(read(t, "/proc/self/mountinfo")), " "+dir+" ")
	})
	return dir
}

// fio writes in any order, reads what it wrote, and knows each block by its checksum.
func TestSshfsFio(t *testing.T) {
	g := start(t)
	dir := mount(t, g)
	for _, how := range [][]string{
		{"--name=sequential", "--rw=write", "--bs=100k"},
		{"--name=random", "--rw=randwrite", "--bs=4k"},
		{"--name=mixed", "--rw=randrw", "--bs=16k", "--fsync=16"},
	} {
		must(t, "", "fio", append(how, "--directory="+dir, "--size=2m", "--ioengine=psync", "--fallocate=none", "--thread",
			"--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--do_verify=1", "--end_fsync=1", "--invalidate=0")...)
		name := strings.TrimPrefix(how[0], "--name=") + ".0.0"
		same(t, name, read(t, filepath.Join(g.Dir, "files", alice, name)), read(t, filepath.Join(dir, name)))
	}
}

// git makes files that none may see half written, renames and links them, and looks
// at what it has.
func TestSshfsGit(t *testing.T) {
	g := start(t)
	dir := mount(t, g)
	origin := filepath.Join(t.TempDir(), "origin")
	git := func(where string, args ...string) string {
		t.Helper()
		return must(t, "", "git", append([]string{"-C", where, "-c", "user.name=e2e", "-c", "user.email=e2e@example.com", "-c", "safe.directory=*", "-c", "gc.auto=0"}, args...)...)
	}
	tree := someTree(t, 40)
	if err := os.Rename(tree, origin); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("d é 1/sub", filepath.Join(origin, "link")); err != nil {
		t.Fatal(err)
	}
	git(origin, "init", "-q")
	git(origin, "add", ".")
	git(origin, "commit", "-q", "-m", "first")
	clone := filepath.Join(dir, "clone")
	git(dir, "clone", "-q", "--no-hardlinks", "file://"+origin, clone)
	git(clone, "fsck", "--strict")
	if out := git(clone, "status", "--porcelain"); out != "" {
		t.Errorf("status after clone:\n%s", out)
	}
	change(t, clone)
	git(clone, "add", "-A")
	git(clone, "commit", "-q", "-m", "second")
	git(clone, "push", "-q", "origin", "HEAD:refs/heads/back")
	git(clone, "repack", "-q", "-a", "-d")
	git(clone, "fsck", "--strict")
	if here, there := git(origin, "rev-parse", "back^{tree}"), git(clone, "rev-parse", "HEAD^{tree}"); here != there {
		t.Errorf("trees: got %s, want %s", here, there)
	}
}

// rsync keeps times, and writes into the file that is there where it is told to.
func TestSshfsRsync(t *testing.T) {
	g := start(t)
	dir := mount(t, g)
	tree, there := someTree(t, 40), filepath.Join(dir, "tree é")
	big, content := file(t, "big ñ.bin", 1<<20)
	if err := os.Rename(big, filepath.Join(tree, "big ñ.bin")); err != nil {
		t.Fatal(err)
	}
	for _, how := range [][]string{{"--inplace", "--no-whole-file"}, {"--whole-file"}, {"--append-verify"}} {
		t.Run(how[0], func(t *testing.T) {
			must(t, "", "rsync", append(how, "-rlt", "--delete", tree+"/", there)...)
			sameFiles(t, "there", filepath.Join(g.Dir, "files", alice, "tree é"), tree)
			change(t, tree)
			copy(content[500_000:], "changed in the middle")
			content = append(content, "and at the end"...)
			if err := os.WriteFile(filepath.Join(tree, "big ñ.bin"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			must(t, "", "rsync", append(how, "-rlt", "--delete", tree+"/", there)...)
			sameFiles(t, "changed", filepath.Join(g.Dir, "files", alice, "tree é"), tree)
			if err := os.WriteFile(filepath.Join(tree, "d é 2/sub/file 2 ñ.bin"), []byte("again"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(there); err != nil {
				t.Fatal(err)
			}
		})
	}
}
