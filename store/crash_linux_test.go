package store

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gateway/session"
)

// crashPath names the database to a copy of the test program that is to write
// until it is killed.
const crashPath = "GATEWAY_TEST_CRASH_PATH"

// TestCrashChild is not a test of its own: TestKillLosesNothing starts it.
func TestCrashChild(t *testing.T) {
	path := os.Getenv(crashPath)
	if path == "" {
		t.Skip("run by TestKillLosesNothing")
	}
	db, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	var out sync.Mutex
	var wg sync.WaitGroup
	for writer := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d-%d-%d", os.Getpid(), writer, i)
				if err := db.Write(context.Background(), put(context.Background(), key)); err != nil {
					t.Error(err)
					return
				}
				out.Lock()
				fmt.Println("kept", key)
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestKillLosesNothing kills a process that writes, again and again, and looks
// for every write that it was told was kept.
func TestKillLosesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	var kept []string
	for round := range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrashChild$")
		cmd.Env = append(os.Environ(), crashPath+"="+path)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(pipe)
		before := len(kept)
		for lines.Scan() {
			key, ok := strings.CutPrefix(lines.Text(), "kept ")
			if !ok {
				continue
			}
			kept = append(kept, key)
			if len(kept)-before == 100*(round+1) {
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("round %d: the writer ended by itself: %v", round, err)
		}
		missing(t, path, kept)
	}
}

// missing opens the database as the next start would and looks for all keys.
func missing(t *testing.T, path string, keys []string) {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Read(t.Context(), func(tx *sql.Tx) error {
		var check string
		if err := tx.QueryRow(`PRAGMA integrity_check`).Scan(&check); err != nil || check != "ok" {
			return fmt.Errorf("integrity check: %s: %w", check, err)
		}
		for _, key := range keys {
			var n int
			if err := tx.QueryRow(`SELECT count(*) FROM meta WHERE key = $1`, key).Scan(&n); err != nil {
				return err
			}
			if n != 1 {
				t.Errorf("%s was acknowledged and is lost", key)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk: what was kept stays, what does not fit is refused as a passing
// fault, and the database goes on when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		// Detached: a program that another test starts meanwhile has our files until it runs.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "gateway.db")
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var kept []string
	for i := 0; ; i++ {
		key := fmt.Sprintf("k%d", i)
		err := db.Write(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT INTO meta (key, value) VALUES ($1, zeroblob(20000))`, key)
			return err
		})
		if err != nil {
			if !errors.Is(err, session.ErrUnavailable) {
				t.Fatalf("got %v, want %v", err, session.ErrUnavailable)
			}
			break
		}
		kept = append(kept, key)
		if i > 1000 {
			t.Fatal("the disk does not fill up")
		}
	}
	if len(kept) == 0 {
		t.Fatal("nothing was kept before the disk was full")
	}
	if got := count(t, db); got != len(kept) {
		t.Errorf("got %d values on the full disk, want %d", got, len(kept))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), put(t.Context(), "after")); err != nil {
		t.Errorf("with room again: got %v, want nil", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	missing(t, path, append(kept, "after"))
}

func TestNetworkFS(t *testing.T) {
	t.Parallel()
	for magic, want := range map[int64]string{0x6969: "NFS", 0xff534d42: "SMB", 0xfe534d42: "SMB", 0x00c36400: "Ceph", 0xef53: "", 0x01021994: "", 0x65735546: ""} {
		if got := networkFS(magic); got != want {
			t.Errorf("%#x: got %q, want %q", magic, got, want)
		}
	}
	if err := refuseNetworkFS(t.TempDir()); err != nil {
		t.Errorf("a local folder: got %v, want nil", err)
	}
}
