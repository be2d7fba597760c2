package sftp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	benchSize  = 256 << 20
	benchBlock = 32 << 10
)

// BenchmarkTransfer moves 256 MiB over loopback, by a client that does as little
// as it can and by OpenSSH's, whose work is not counted in cpu-s/GiB.
func BenchmarkTransfer(b *testing.B) {
	f := start(b, nil, nil)
	content := filepath.Join(f.fs.dir, "big")
	if err := os.WriteFile(content, make([]byte, benchSize), 0o600); err != nil {
		b.Fatal(err)
	}
	b.Run("light/get", func(b *testing.B) { measure(b, func() { f.lightGet(b) }) })
	b.Run("light/put", func(b *testing.B) { measure(b, func() { f.lightPut(b) }) })
	for _, cipher := range []string{"aes128-gcm@openssh.com", "aes128-ctr"} {
		b.Run("openssh/get/"+cipher, func(b *testing.B) {
			measure(b, func() { f.opensshBatch(b, cipher, "get big /dev/null") })
		})
		b.Run("openssh/put/"+cipher, func(b *testing.B) {
			measure(b, func() { f.opensshBatch(b, cipher, "put "+content+" up") })
		})
	}
}

func measure(b *testing.B, run func()) {
	b.SetBytes(benchSize)
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		run()
	}
	spent := processorTime(b) - before
	b.ReportMetric(spent.Seconds()*(1<<30)/benchSize/float64(b.N), "cpu-s/GiB")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// light is a channel with the subsystem running.
type light struct {
	in      io.WriteCloser
	out     *bufio.Reader
	session *ssh.Session
	conn    *ssh.Client
}

func (f *fixture) light(t testing.TB) *light {
	t.Helper()
	c, err := f.dial(t, "alice", ssh.Password("right"))
	if err != nil {
		t.Fatal(err)
	}
	l := &light{conn: c}
	if l.session, err = c.NewSession(); err != nil {
		t.Fatal(err)
	}
	if l.in, err = l.session.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := l.session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.out = bufio.NewReaderSize(out, 512<<10)
	if err := l.session.RequestSubsystem("sftp"); err != nil {
		t.Fatal(err)
	}
	l.send(t, send(1, 3))
	l.answer(t)
	return l
}

func (l *light) send(t testing.TB, packet []byte) {
	t.Helper()
	if _, err := l.in.Write(packet); err != nil {
		t.Fatal(err)
	}
}

// answer returns the next packet without its length.
func (l *light) answer(t testing.TB) []byte {
	t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(l.out, head[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(l.out, body); err != nil {
		t.Fatal(err)
	}
	return body
}

// skip reads n answers.
func (l *light) skip(n int) error {
	for range n {
		head, err := l.out.Peek(4)
		if err != nil {
			return err
		}
		if _, err := l.out.Discard(4 + int(binary.BigEndian.Uint32(head))); err != nil {
			return err
		}
	}
	return nil
}

// open returns the handle of a file opened with flags.
func (l *light) open(t testing.TB, name string, flags int) string {
	t.Helper()
	l.send(t, send(3, 1, name, flags, 0))
	answer := l.answer(t)
	if answer[0] != 102 {
		t.Fatalf("OPEN: answered %q", answer)
	}
	return string(answer[9:])
}

func (f *fixture) lightGet(b *testing.B) {
	l := f.light(b)
	defer l.conn.Close()
	handle := l.open(b, "big", 1)
	var all []byte
	for off := 0; off < benchSize; off += benchBlock {
		all = append(all, send(5, 2, handle, int64(off), benchBlock)...)
	}
	go l.in.Write(all)
	if err := l.skip(benchSize / benchBlock); err != nil {
		b.Fatal(err)
	}
}

func (f *fixture) lightPut(b *testing.B) {
	l := f.light(b)
	defer l.conn.Close()
	handle := l.open(b, "up", 0x1a)
	answered := make(chan error, 1)
	go func() { answered <- l.skip(benchSize / benchBlock) }()
	packet := send(6, 2, handle, int64(0), string(make([]byte, benchBlock)))
	for off := 0; off < benchSize; off += benchBlock {
		binary.BigEndian.PutUint64(packet[13+len(handle):], uint64(off))
		l.send(b, packet)
	}
	if err := <-answered; err != nil {
		b.Fatal(err)
	}
	l.send(b, send(4, 3, handle))
	if err := l.skip(1); err != nil {
		b.Fatal(err)
	}
}

func (f *fixture) opensshBatch(b *testing.B, cipher, batch string) {
	for _, name := range []string{"sftp", "sshpass"} {
		if _, err := exec.LookPath(name); err != nil {
			b.Skipf("%s is not installed", name)
		}
	}
	port := f.addr[strings.LastIndexByte(f.addr, ':')+1:]
	cmd := exec.Command("sshpass", "-e", "sftp", "-q", "-oPort="+port, "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null",
		"-oIdentityAgent=none", "-oPubkeyAuthentication=no", "-oLogLevel=ERROR", "-F", "none", "-oCiphers="+cipher,
		"-oBatchMode=no", "-b", "-", "alice@127.0.0.1")
	cmd.Stdin = strings.NewReader(batch + "\n")
	cmd.Env = append(os.Environ(), "SSHPASS=right", "HOME="+b.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatal(fmt.Errorf("%w: %s", err, out))
	}
}
