package sftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"sync"
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/transfer"
)

// pipe is a channel on which everything was sent at once.
type pipe struct {
	mu  sync.Mutex
	in  *bytes.Reader
	out bytes.Buffer
}

func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.in.Read(b)
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *pipe) Close() error { return nil }

// request is one packet.
func request(kind byte, fields ...any) []byte {
	body := []byte{kind}
	for _, f := range fields {
		switch v := f.(type) {
		case int:
			body = binary.BigEndian.AppendUint32(body, uint32(v))
		case int64:
			body = binary.BigEndian.AppendUint64(body, uint64(v))
		case string:
			body = append(binary.BigEndian.AppendUint32(body, uint32(len(v))), v...)
		}
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// FuzzRequests sends whatever it likes to the subsystem of a logged-in session:
// no panic, every packet of the answer well formed, every handle given back, and
// nothing shown that was not closed.
func FuzzRequests(f *testing.F) {
	open := func(flags int) []byte { return request(3, 1, "f", flags, 0) }
	f.Add(bytes.Join([][]byte{request(1, 3), open(0x1a), request(6, 2, "1", int64(0), "data"), request(4, 3, "1")}, nil))
	f.Add(bytes.Join([][]byte{request(1, 3), open(0x0e), request(6, 2, "1", int64(9), "data"), request(6, 2, "1", int64(0), "more")}, nil))
	f.Add(bytes.Join([][]byte{request(1, 3), open(1), request(5, 2, "1", int64(-1), 1<<30), request(8, 4, "1")}, nil))
	f.Add(bytes.Join([][]byte{request(1, 3), request(11, 1, "/"), request(12, 2, "1"), request(12, 3, "1")}, nil))
	f.Add(bytes.Join([][]byte{request(1, 3), request(9, 1, "f", 0xf, int64(-1)), request(10, 1, "1", 1)}, nil))
	f.Add(bytes.Join([][]byte{request(18, 1, "a", "b"), request(20, 1, "../..", "l"), request(19, 1, "l"), request(16, 1, "\x00")}, nil))
	f.Add(bytes.Join([][]byte{request(200, 1, "posix-rename@openssh.com", "a", "b"), request(200, 1, "x"), request(99, 1)}, nil))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	fs := newFakeFS(f)
	core := sessiontest.New(f, nil)
	a := core.Connect(f, session.SFTP, session.SSH)
	s, err := a.Offer(f.Context(), session.Password("alice", "right"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		p := &pipe{in: bytes.NewReader(sent)}
		busy := &activity{}
		before := fs.commits.Load()
		run := &files{
			ctx: context.WithoutCancel(t.Context()), tree: transfer.New(s, fs, transfer.Limits{}), busy: busy, session: s,
			panicked: func(v any) { t.Errorf("panic: %v", v) }, order: newOrder(p),
		}
		run.serve()
		if _, free := busy.quiet(busy.last); !free || len(run.open) != 0 || run.folders != 0 {
			t.Errorf("%d handles, %d files and %d folders were not given back", busy.handles, len(run.open), run.folders)
		}
		if fs.commits.Load() != before && !bytes.Contains(sent, []byte{4}) {
			t.Error("a file was shown that was not closed")
		}
		wellFormed(t, p.out.Bytes())
	})
}

func wellFormed(t *testing.T, out []byte) {
	var follow packet
	for len(out) > 0 {
		used, _, err := follow.follow(out)
		if err != nil {
			t.Fatalf("answer: %v", err)
		}
		out = out[used:]
	}
	if !follow.atStart() {
		t.Error("answer is cut off")
	}
}

// FuzzOrder cuts a stream of packets anywhere: what comes out is what came in,
// and each packet is counted once.
func FuzzOrder(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 9, 0, 0, 0, 2, 8, 8}, uint8(3))
	f.Add([]byte{0, 0, 0, 0}, uint8(1))
	f.Add([]byte{0, 4, 0, 1, 0}, uint8(200))
	f.Fuzz(func(t *testing.T, sent []byte, step uint8) {
		o := newOrder(&pipe{in: bytes.NewReader(sent)})
		o.closed = true // nobody answers
		var got []byte
		buf := make([]byte, int(step)+1)
		for {
			n, err := o.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				if err == io.EOF && !bytes.Equal(got, sent) {
					t.Errorf("got %d bytes, want %d", len(got), len(sent))
				}
				break
			}
		}
		want := 0
		for rest := sent; len(rest) >= 4; want++ {
			n := binary.BigEndian.Uint32(rest)
			if n == 0 || n > maxPacket || int(n) > len(rest)-4 {
				break
			}
			rest = rest[4+n:]
		}
		if o.waiting != want {
			t.Errorf("counted %d packets, want %d", o.waiting, want)
		}
	})
}
