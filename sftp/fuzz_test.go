package sftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"io/fs"
	"sync"
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/storage"
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

// send is one packet.
func send(kind byte, fields ...any) []byte {
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

// counted names handles in turn.
func counted() func() uint64 {
	n := uint64(0)
	return func() uint64 { n++; return n }
}

// FuzzRequests sends whatever it likes to the subsystem of a logged-in session:
// no panic, every packet of the answer well formed, every handle given back, and
// nothing shown that was not closed.
func FuzzRequests(f *testing.F) {
	open := func(flags int) []byte { return send(3, 1, "f", flags, 0) }
	f.Add(bytes.Join([][]byte{send(1, 3), open(0x1a), send(6, 2, "\x00\x00\x00\x00\x00\x00\x00\x01", int64(0), "data"), send(4, 3, "\x00\x00\x00\x00\x00\x00\x00\x01")}, nil))
	f.Add(bytes.Join([][]byte{send(1, 3), open(0x0e), send(6, 2, "\x00\x00\x00\x00\x00\x00\x00\x01", int64(9), "data"), send(6, 2, "\x00\x00\x00\x00\x00\x00\x00\x01", int64(0), "more")}, nil))
	f.Add(bytes.Join([][]byte{send(1, 3), open(1), send(5, 2, "\x00\x00\x00\x00\x00\x00\x00\x01", int64(-1), 1<<30), send(8, 4, "\x00\x00\x00\x00\x00\x00\x00\x01")}, nil))
	f.Add(bytes.Join([][]byte{send(1, 3), send(11, 1, "/"), send(12, 2, "\x00\x00\x00\x00\x00\x00\x00\x01"), send(12, 3, "\x00\x00\x00\x00\x00\x00\x00\x01")}, nil))
	f.Add(bytes.Join([][]byte{send(1, 3), send(9, 1, "f", 0xf, int64(-1)), send(10, 1, "\x00\x00\x00\x00\x00\x00\x00\x01", 1)}, nil))
	f.Add(bytes.Join([][]byte{send(18, 1, "a", "b"), send(20, 1, "../..", "l"), send(19, 1, "l"), send(16, 1, "\x00")}, nil))
	f.Add(bytes.Join([][]byte{send(200, 1, "posix-rename@openssh.com", "a", "b"), send(200, 1, "x"), send(99, 1)}, nil))
	f.Add(bytes.Join([][]byte{send(1, 3), open(0x1a), open(1), send(200, 1, "copy-data", "\x00\x00\x00\x00\x00\x00\x00\x02", int64(0), int64(9), "\x00\x00\x00\x00\x00\x00\x00\x01", int64(1))}, nil))
	f.Add(bytes.Join([][]byte{send(1, 3), send(200, 1, "check-file-name", "f", "md5,sha1", int64(0), int64(0), 256), send(200, 2, "users-groups-by-id@openssh.com", "abcd", ""), send(200, 3, "vendor-id", "a", "b", "c", int64(1))}, nil))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	fs, pool := newFakeFS(f), newBuffers()
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
		tree := transfer.New(s, fs, transfer.Limits{})
		run := newFiles(context.WithoutCancel(t.Context()), s, tree, busy, pool, p)
		run.panicked = func(v any) { t.Errorf("panic: %v", v) }
		run.handles.next = counted()
		run.serve()
		if _, free := busy.quiet(busy.last); !free || len(run.handles.open) != 0 || run.handles.folders != 0 || run.handles.ahead != 0 || run.handles.writing != 0 {
			t.Errorf("%d handles and %d files were not given back", busy.handles, len(run.handles.open))
		}
		if fs.commits.Load() != before && !bytes.Contains(sent, []byte{4}) {
			t.Error("a file was shown that was not closed")
		}
		wellFormed(t, p.out.Bytes())
	})
}

// wellFormed checks that answers are whole packets, each of a type of answer.
func wellFormed(t *testing.T, out []byte) {
	in := input{ch: bytes.NewReader(out), pool: newBuffers()}
	defer in.release()
	for total := 0; total < len(out); {
		packet, err := in.packet()
		if err == nil && packet == nil {
			err = in.fill(false)
		}
		if err != nil {
			t.Fatalf("answer: %v", err)
		}
		if packet == nil {
			continue
		}
		total += lengthSize + len(packet)
		switch packet[0] {
		case typeVersion, typeStatus, typeHandle, typeData, typeName, typeAttrs, typeExtendedReply:
		default:
			t.Errorf("answer of type %d", packet[0])
		}
	}
}

// FuzzAttributes: whatever comes as attributes, storage is asked for nothing that it
// must refuse, and what is described can be read back.
func FuzzAttributes(f *testing.F) {
	f.Add(send(0, attrSize|attrUIDGID|attrPermissions|attrTimes, int64(1), 1, 1, 0o644, 1, 1)[5:])
	f.Add(send(0, attrPermissions, 0o104755)[5:])
	f.Add(send(0, attrSize, int64(-1))[5:])
	f.Add(send(0, attrExtended, 1, "a", "b")[5:])
	f.Add(send(0, attrExtended, -1)[5:])
	f.Fuzz(func(t *testing.T, sent []byte) {
		p := parser{rest: sent}
		a := p.attrs()
		if p.bad {
			return
		}
		attr, err := a.change()
		if err != nil {
			return
		}
		if attr.Size != nil && *attr.Size < 0 || attr.Perm != nil && *attr.Perm&^fs.ModePerm != 0 || (attr.Access == nil) != (attr.ModTime == nil) {
			t.Fatalf("%x asks for %+v", sent, attr)
		}
		info := storage.Info{}
		if attr.Size != nil {
			info.Size = *attr.Size
		}
		if attr.Perm != nil {
			info.Mode = *attr.Perm
		}
		if attr.ModTime != nil {
			info.ModTime, info.Access = *attr.ModTime, *attr.Access
		}
		back := parser{rest: appendAttrs(nil, info)}
		b := back.attrs()
		if back.bad || len(back.rest) != 0 || b.size != uint64(info.Size) || b.perm&0o777 != uint32(info.Mode) {
			t.Errorf("%+v is described as %+v", info, b)
		}
		if attr.ModTime != nil && (b.modified != a.modified || b.access != a.access) {
			t.Errorf("times %d and %d come back as %d and %d", a.modified, a.access, b.modified, b.access)
		}
	})
}
