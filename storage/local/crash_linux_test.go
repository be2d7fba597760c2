package local_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/local"
)

// crashDir tells the test binary, started again, where to upload until it is
// killed.
const crashDir = "GATEWAY_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		uploadForever(dir)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// numbered is what the upload with that number contains.
func numbered(n int) string { return strings.Repeat(fmt.Sprintf("%08d", n), 4096) }

// uploadForever replaces "same" and adds files, and prints the number of each
// upload when it has been acknowledged. Beside them an upload of "half" never
// ends.
func uploadForever(dir string) {
	tree, err := local.Open(dir, local.Config{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	ctx := context.Background()
	half, err := tree.Create(ctx, "half", storage.CreateOptions{})
	if err == nil {
		_, err = half.WriteAt([]byte("half of it"), 0)
	}
	other, oerr := tree.Create(ctx, "half", storage.CreateOptions{}) // under a random name
	if oerr == nil {
		_, oerr = other.WriteAt([]byte("other"), 0)
	}
	for n := 0; errors.Join(err, oerr) == nil; n++ {
		for _, name := range []string{fmt.Sprint(n), "same"} {
			var u storage.Upload
			if u, err = tree.Create(ctx, name, storage.CreateOptions{}); err != nil {
				break
			}
			if _, err = u.WriteAt([]byte(numbered(n)), 0); err != nil {
				break
			}
			if err = u.Commit(ctx); err != nil {
				break
			}
		}
		if err == nil {
			fmt.Println(n)
		}
	}
	fmt.Fprintln(os.Stderr, errors.Join(err, oerr))
}

// Promise 5: after a kill in the middle of uploads all that was acknowledged is
// there, nothing is there by half, and what was interrupted can be resumed.
func TestKilledInMidUpload(t *testing.T) {
	t.Parallel()
	for round := range 3 {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acknowledged := -1
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			_, _ = fmt.Sscan(lines.Text(), &acknowledged)
			if acknowledged == 5+7*round {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		if acknowledged < 5 {
			t.Fatalf("the child stopped after %d uploads", acknowledged)
		}

		tree, err := local.Open(dir, local.Config{})
		if err != nil {
			t.Fatal(err)
		}
		for n := range acknowledged + 1 {
			if got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(n))); err != nil || string(got) != numbered(n) {
				t.Errorf("acknowledged upload %d: %d bytes, %v", n, len(got), err)
			}
		}
		var last int
		same, err := os.ReadFile(filepath.Join(dir, "same"))
		if err == nil {
			_, err = fmt.Sscanf(string(same[:8]), "%08d", &last)
		}
		if err != nil || last < acknowledged || string(same) != numbered(last) {
			t.Errorf("same: upload %d with %d bytes, %v; want whole and at least %d", last, len(same), err, acknowledged)
		}
		for info, err := range tree.List(t.Context(), ".") {
			if err != nil || info.Size != int64(len(numbered(0))) {
				t.Errorf("listed %q with %d bytes, %v", info.Name, info.Size, err)
			}
		}
		if info, err := tree.Stat(t.Context(), "half"); err != nil || info.Size != 10 {
			t.Errorf("half: got %d, %v; want 10 resumable bytes", info.Size, err)
		}
		u, err := tree.Create(t.Context(), "half", storage.CreateOptions{Keep: 10})
		want(t, "Create", err, nil)
		if err == nil {
			want(t, "Commit", u.Commit(t.Context()), nil)
		}
		_ = tree.Close()
	}
}

// A full disk is told as such, and what was there stays.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	t.Cleanup(func() {
		// Detached: a program that another test starts meanwhile has our files until it runs.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	tree, err := local.Open(dir, local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	put(t, tree, "f", "old content")
	u, err := tree.Create(t.Context(), "f", storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 64<<10)
	for off := int64(0); err == nil && off < 1<<20; off += int64(len(chunk)) {
		_, err = u.WriteAt(chunk, off)
	}
	want(t, "WriteAt", err, session.ErrNoSpace)
	if err != nil && strings.Contains(err.Error(), dir) {
		t.Errorf("shows a path of the host: %v", err)
	}
	want(t, "Abort", u.Abort(true), nil)
	if got, err := os.ReadFile(filepath.Join(dir, "f")); string(got) != "old content" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	put(t, tree, "g", strings.Repeat("x", 100<<10)) // the room is there again
	size := strings.Repeat("y", 100<<10)
	put(t, tree, "h", size)
	_, err = tree.Create(t.Context(), "h", storage.CreateOptions{Keep: storage.KeepAll})
	want(t, "Create keeping more than fits", err, session.ErrNoSpace)
	if s, err := tree.Space(t.Context()); err != nil || s.Total != 256<<10 {
		t.Errorf("Space: got %+v, %v", s, err)
	}
}
