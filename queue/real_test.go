package queue

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gateway/session"
)

// Postfix's own sink takes what we send, by SMTP and by LMTP, also when it lacks
// extensions.
func TestSMTPSink(t *testing.T) {
	t.Parallel()
	sink, err := exec.LookPath("smtp-sink")
	if err != nil {
		if sink, err = exec.LookPath("/usr/sbin/smtp-sink"); err != nil {
			t.Skip("smtp-sink (package postfix) is not installed")
		}
	}
	for name, c := range map[string]struct {
		scheme string
		args   []string
		verb   session.Verb
	}{
		"smtp":          {"smtp", nil, session.Deliver},
		"no esmtp":      {"smtp", []string{"-e"}, session.Deliver},
		"no pipelining": {"smtp", []string{"-p", "-8"}, session.Deliver},
		"lmtp":          {"lmtp", []string{"-L"}, session.Deliver},
		"refuses RCPT":  {"smtp", []string{"-r", "RCPT"}, session.Defer},
		"refuses DATA":  {"smtp", []string{"-f", "DATA"}, session.Bounce},
		"drops at dot":  {"smtp", []string{"-q", "."}, session.Defer},
		"421 at MAIL":   {"smtp", []string{"-Q", "MAIL"}, session.Defer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, address := startSink(t, sink, c.args)
			f := newQueue(t, c.scheme+"://"+address, nil)
			put(t, f.Queue, mail, sends("b@example.net"))
			f.run(t)
			if e := f.wait(t, 1)[0]; e.Verb != c.verb {
				t.Fatalf("got %+v, want %s", e, c.verb)
			}
			if c.verb != session.Deliver {
				return
			}
			f.waitList(t, 0)
			dumps, err := os.ReadDir(dir)
			if err != nil || len(dumps) != 1 {
				t.Fatalf("got %v, %v; want one message", dumps, err)
			}
			got, err := os.ReadFile(filepath.Join(dir, dumps[0].Name()))
			if err != nil || !strings.Contains(string(got), "Hello.\n.dot\n") || !strings.Contains(string(got), "X-Rcpt-Args: <b@example.net>") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func startSink(t *testing.T, sink string, args []string) (dir, address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = ln.Addr().String()
	_ = ln.Close() // the sink takes no socket: the port is free again for it
	dir = t.TempDir()
	args = append(args, "-d", filepath.Join(dir, "%M."))
	if u, err := user.Current(); err == nil && u.Uid == "0" {
		args = append([]string{"-u", "root"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), sink, append(args, address, "20")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return dir, address
		}
		if time.Now().After(deadline) {
			t.Fatalf("smtp-sink does not listen: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // another process: nothing else to wait for
	}
}

// A full disk is session.ErrNoSpace, and leaves nothing half.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("a small file system of its own takes root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() {
		// Detached: a program that another test starts meanwhile has our files until it runs.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	f := newQueue(t, "maildir://inbox", func(c *Config) { c.Dir, c.SegmentSize = filepath.Join(dir, "mail"), 64<<10 })
	d := f.Draft()
	_, err := d.Write(make([]byte, maxInline+1))
	for n := 0; err == nil && n < 100; n++ {
		_, err = d.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, session.ErrNoSpace) {
		t.Errorf("got %v, want %v", err, session.ErrNoSpace)
	}
	if _, err := d.Commit(t.Context(), sends("b@x")); !errors.Is(err, session.ErrNoSpace) {
		t.Errorf("commit: got %v, want %v", err, session.ErrNoSpace)
	}
	if left := f.files(t); len(left) != 0 {
		t.Errorf("got %v; want nothing left", left)
	}
	put(t, f.Queue, mail, sends("b@x"))
}

// BenchmarkAccept is durable acceptance by 32 connections at once.
func BenchmarkAccept(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			f := newQueue(b, "maildir://inbox", nil)
			f.now = time.Now
			content := mail + strings.Repeat("0123456789abcdef0123456789abcdef\r\n", size/34)
			b.SetBytes(int64(len(content)))
			b.SetParallelism(16) // times GOMAXPROCS
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					d := f.Draft()
					if _, err := io.WriteString(d, content); err != nil {
						b.Error(err)
					}
					if _, err := d.Commit(b.Context(), sends("b@example.net")); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
