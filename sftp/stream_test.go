package sftp

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"gateway/transfer"
)

// writes remembers how long each write was.
type writes struct {
	pipe
	sizes []int
}

func (w *writes) Write(p []byte) (int, error) {
	w.sizes = append(w.sizes, len(p))
	return w.pipe.Write(p)
}

// The data of reads goes out in large pieces and never with a header alone in
// its packet; what comes back is the file.
func TestAnswersAreGathered(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	k.tree = transfer.New(k.session, k.fs, transfer.Limits{})
	content := make([]byte, 4<<20)
	for i := range content {
		content[i] = byte(i >> 7)
	}
	if err := os.WriteFile(filepath.Join(k.dir, "f"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{30_000, 32 << 10, 64 << 10, maxData, 1 << 30} {
		step := min(length, maxData)
		sent := append(send(1, 3), send(3, 1, "f", 1, 0)...)
		count := 0
		for off := 0; off < len(content); off += step {
			sent = append(sent, send(5, 2, nth(1), int64(off), length)...)
			count++
		}
		w := &writes{pipe: pipe{in: bytes.NewReader(sent)}}
		f := newFiles(t.Context(), k.session, k.tree, &activity{}, k.pool, w)
		f.handles.next = counted()
		f.serve()
		var got []byte
		for out := w.out.Bytes(); len(out) > 0; {
			n := int(binary.BigEndian.Uint32(out))
			if out[4] == typeData {
				got = append(got, out[13:4+n]...)
			}
			out = out[4+n:]
		}
		if !bytes.Equal(got, content) {
			t.Errorf("%d: got %d bytes, want %d equal ones", length, len(got), len(content))
		}
		small := 0
		for _, n := range w.sizes {
			if n > maxWrite {
				t.Errorf("%d: write of %d bytes", length, n)
			}
			if n < pieceSize/2 {
				small++
			}
		}
		// What is left at the end of a read of the input may be short.
		if limit := 2 + len(sent)/smallSize; small > limit {
			t.Errorf("%d: %d of %d writes for %d requests are short, want at most %d: %d", length, small, len(w.sizes), count, limit, w.sizes)
		}
	}
}

// cutReader returns at most so much at once.
type cutReader struct {
	io.Reader
	step int
}

func (c cutReader) Read(p []byte) (int, error) { return c.Reader.Read(p[:min(len(p), c.step)]) }

// cutAnywhere reads a stream of packets in steps: the packets are the same.
func cutAnywhere(t *testing.T, pool *buffers, sent []byte, step int, busy bool) {
	t.Helper()
	in := input{ch: cutReader{bytes.NewReader(sent), step}, pool: pool}
	defer in.release()
	rest := sent
	for {
		packet, err := in.packet()
		if err == nil && packet == nil {
			if err = in.fill(busy); err == nil {
				continue
			}
		}
		if err != nil {
			break
		}
		if n := len(packet); len(rest) < 4+n || !bytes.Equal(rest[4:4+n], packet) {
			t.Fatalf("got a packet of %d bytes with %d left", n, len(rest))
		}
		rest = rest[4+len(packet):]
	}
	if len(rest) >= 4 {
		if n := binary.BigEndian.Uint32(rest); n != 0 && n <= maxPacket && int(n) <= len(rest)-4 {
			t.Errorf("a packet of %d bytes was not given out", n)
		}
	}
}

func TestPacketsOfAllSizesInPieces(t *testing.T) {
	t.Parallel()
	pool := newBuffers()
	for _, size := range []int{0, 1, smallSize - 30, smallSize, 5000, 32 << 10, 70_000, maxData, maxPacket - 18} {
		sent := bytes.Repeat(send(6, 1, "h", int64(0), string(make([]byte, size))), 7)
		sent = append(sent, bytes.Repeat(send(16, 1, "a"), 400)...)
		sent = append(sent, sent...)
		for _, step := range []int{977, smallSize, 5000, 32 << 10, 100_000, 1 << 20} {
			cutAnywhere(t, pool, sent, step, false)
			cutAnywhere(t, pool, sent, step, true)
		}
	}
}

// FuzzInput cuts whatever comes anywhere.
func FuzzInput(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 9, 0, 0, 0, 2, 8, 8}, uint16(3), false)
	f.Add([]byte{0, 0, 0, 0}, uint16(1), true)
	f.Add([]byte{0, 4, 0, 1, 0}, uint16(200), true)
	f.Add(bytes.Repeat(send(16, 1, "some/name"), 20), uint16(7), true)
	pool := newBuffers()
	f.Fuzz(func(t *testing.T, sent []byte, step uint16, busy bool) {
		cutAnywhere(t, pool, sent, int(step)+1, busy)
	})
}

// An idle subsystem holds no large buffer, and one in which a file is being
// written does not take and give it for each packet.
func TestIdleInputIsSmall(t *testing.T) {
	t.Parallel()
	packet := send(6, 1, "h", int64(0), string(make([]byte, 40_000)))
	in := input{ch: bytes.NewReader(append(packet, packet...)), pool: newBuffers()}
	next := func(busy bool) {
		for {
			p, err := in.packet()
			if p != nil || err != nil {
				return
			}
			if in.fill(busy) != nil {
				return
			}
		}
	}
	next(true)
	if in.large == nil {
		t.Fatal("a packet of 40 kB in the small buffer")
	}
	next(false)
	next(false) // the end
	if in.large != nil || len(in.buf) != smallSize {
		t.Errorf("holds %d bytes", len(in.buf))
	}
}
