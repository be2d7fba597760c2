package sftp

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A thousand connections on which nobody says a word, or only the version, cost less
// than 64 MiB. It is not parallel, so that no other test's memory is counted.
func TestSilentConnectionsAreCheap(t *testing.T) {
	const (
		silent = 1000
		most   = 64 << 20
	)
	ln := newPipes()
	startOn(t, ln, nil, func(cfg *Config) { cfg.LoginGrace = time.Hour })
	before := memoryInUse()
	conns := make([]net.Conn, 0, silent)
	for range silent {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = ours.Close() })
		ln.conns <- theirs
		if line, err := bufio.NewReaderSize(ours, 16).ReadString('\n'); err != nil || !strings.HasPrefix(line, protocolVersion) {
			t.Fatalf("got %q, %v", line, err)
		}
		conns = append(conns, ours)
	}
	if used := memoryInUse() - before; used > most {
		t.Errorf("%d silent connections take %d bytes, want at most %d", silent, used, most)
	}
	for _, c := range conns {
		if _, err := io.WriteString(c, "SSH-2.0-test\r\n"); err != nil {
			t.Fatal(err)
		}
		var head [4]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:]))); err != nil { // SSH_MSG_KEXINIT
			t.Fatal(err)
		}
	}
	if used := memoryInUse() - before; used > most {
		t.Errorf("%d connections that said their version take %d bytes, want at most %d", silent, used, most)
	} else {
		t.Logf("%d bytes for each", used/silent)
	}
}

// memoryInUse is what heap and stacks hold after a collection.
func memoryInUse() int64 {
	runtime.GC()
	runtime.GC() // what the first left to finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
