package sftp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

// What is written comes out in order, however it is cut.
func TestWireKeepsOrder(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	w := newWire(theirs, newBuffers())
	var want []byte
	for i := range 3000 {
		want = append(want, bytes.Repeat([]byte{byte(i)}, i%977)...)
	}
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(ours)
		got <- all
	}()
	for rest := want; len(rest) > 0; {
		n := min(len(rest), 1+len(rest)%7001)
		if m, err := w.Write(rest[:n]); m != n || err != nil {
			t.Fatalf("Write: %d, %v, want %d", m, err, n)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if all := <-got; !bytes.Equal(all, want) {
		t.Errorf("got %d bytes, want %d equal ones", len(all), len(want))
	}
	if err := w.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
}

// A peer that does not read costs two blocks of memory, and is cut off after
// flushTimeout; the error stays.
func TestWireStalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, theirs := net.Pipe()
		w := newWire(theirs, newBuffers())
		began := time.Now()
		taken := 0
		var err error
		for err == nil {
			var n int
			n, err = w.Write(make([]byte, 1000))
			taken += n
		}
		if took := time.Since(began); took != flushTimeout || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %v: %v, want a timeout after %v", took, err, flushTimeout)
		}
		if taken > 2*blockSize {
			t.Errorf("took %d bytes, want at most %d", taken, 2*blockSize)
		}
		if _, again := w.Write([]byte("x")); !errors.Is(again, err) {
			t.Errorf("Write again: %v, want %v", again, err)
		}
		if !w.stalled.Load() || !w.lost.Load() {
			t.Error("not known as stalled")
		}
		if _, err := w.Read(make([]byte, 1)); err == nil {
			t.Error("the connection can still be read")
		}
		_ = w.Close()
	})
}

// A peer that reads a byte a second is cut off; one that reads slowly, but reads, is
// not.
func TestWireAsksForProgress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		rate   int // bytes a second
		stalls bool
	}{{"a byte a second", 1, true}, {"not quite enough", 60, true}, {"as slow as may be", 80, false}} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			w := newWire(theirs, newBuffers())
			const sent = 40 << 10
			if _, err := w.Write(make([]byte, sent)); err != nil {
				t.Fatal(err)
			}
			got, began := 0, time.Now()
			for got < sent {
				n, err := io.ReadFull(ours, make([]byte, min(tc.rate, sent-got)))
				got += n
				if err != nil {
					break
				}
				time.Sleep(time.Second)
			}
			synctest.Wait()
			if w.stalled.Load() != tc.stalls || !tc.stalls && got != sent {
				t.Errorf("%s: stalled %v with %d bytes read", tc.name, w.stalled.Load(), got)
			}
			if took := time.Since(began); tc.stalls && took > flushTimeout+2*time.Second {
				t.Errorf("%s: cut off after %v, want %v", tc.name, took, flushTimeout)
			}
			_ = w.Close()
			_ = ours.Close()
		})
	}
}

// Close waits closeTimeout for the peer, however often it is called, and cut
// does not wait.
func TestWireCloseIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, theirs := net.Pipe()
		w := newWire(theirs, newBuffers())
		if _, err := w.Write(make([]byte, 2*shortWrite)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { _ = w.Close() })
		}
		all.Wait()
		if took := time.Since(began); took != closeTimeout {
			t.Errorf("Close took %v, want %v", took, closeTimeout)
		}

		_, theirs = net.Pipe()
		w = newWire(theirs, newBuffers())
		if _, err := w.Write(make([]byte, 2*shortWrite)); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		all.Go(func() { _ = w.Close() })
		synctest.Wait()
		w.cut()
		all.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("cut took %v", took)
		}
	})
}

// A client that asks for much and gives no room for the answers is idle,
// although it answers keepalives, and is cut off.
func TestClientThatNeverReads(t *testing.T) {
	t.Parallel()
	t.Run("at all", func(t *testing.T) { t.Parallel(); neverReads(t, false) })
	t.Run("but a byte a second", func(t *testing.T) { t.Parallel(); neverReads(t, true) })
}

// neverReads asks for much and reads nothing, or a byte a second.
func neverReads(t *testing.T, drips bool) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		f := startOn(t, ln, nil, nil)
		if err := os.WriteFile(f.fs.dir+"/big", make([]byte, 8<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		conn, requests := f.logIn(t, ln.dial(t))
		began := time.Now()
		go ssh.DiscardRequests(requests)
		ch, more, err := conn.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(more)
		if ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); !ok || err != nil {
			t.Fatalf("subsystem: %v, %v", ok, err)
		}
		l := &light{in: ch, out: bufio.NewReader(ch)}
		l.send(t, send(1, 3))
		l.answer(t)
		handle := l.open(t, "big", 1)
		// What is read of ch from now on is too little for its window to be widened.
		over := make(chan struct{})
		go func() {
			for drips {
				select {
				case <-time.After(time.Second):
				case <-over:
					return
				}
				if _, err := l.out.ReadByte(); err != nil {
					return
				}
			}
		}()
		var ask []byte
		for i := range 100_000 {
			ask = append(ask, send(5, i, handle, int64(i%256)*benchBlock, benchBlock)...)
		}
		failed := make(chan error)
		go func() { _, err := ch.Write(ask); failed <- err }()
		_ = conn.Wait()
		close(over)
		if took := time.Since(began); took != defaultIdleTimeout {
			t.Errorf("cut off after %v, want %v", took, defaultIdleTimeout)
		}
		if err := <-failed; err == nil {
			t.Error("100000 requests were taken")
		}
		if e := f.connection(t); e.Reason != session.ErrIdle.Error() {
			t.Errorf("connection ended by %q, want %q", e.Reason, session.ErrIdle)
		}
	})
}

// A client that asks for all of a file before it reads anything is served, as
// paramiko's prefetch is.
func TestUnboundedPrefetch(t *testing.T) {
	t.Parallel()
	f := start(t, nil, nil)
	content := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	if err := os.WriteFile(f.fs.dir+"/big", content, 0o600); err != nil {
		t.Fatal(err)
	}
	l := f.light(t)
	handle := l.open(t, "big", 1)
	const step = 4 << 10
	var ask []byte
	for off := 0; off < len(content); off += step {
		ask = append(ask, send(5, off/step, handle, int64(off), step)...)
	}
	sent := make(chan error, 1)
	go func() { _, err := l.in.Write(ask); sent <- err }()
	for off := 0; off < len(content); off += step {
		a := l.answer(t)
		if a[0] != typeData || !bytes.Equal(a[9:], content[off:off+step]) {
			t.Fatalf("at %d: answered %.20q", off, a)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}
