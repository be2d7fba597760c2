package sftp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	oracle "github.com/pkg/sftp"
)

// witness writes down what the server of github.com/pkg/sftp reads in packets.
type witness struct {
	mu    sync.Mutex
	calls []string
}

func (w *witness) call(format string, args ...any) {
	w.mu.Lock()
	w.calls = append(w.calls, fmt.Sprintf(format, args...))
	w.mu.Unlock()
}

func (w *witness) Fileread(r *oracle.Request) (io.ReaderAt, error) {
	w.call("open %s", r.Filepath)
	return witnessFile{w}, nil
}

func (w *witness) Filewrite(r *oracle.Request) (io.WriterAt, error) { return w.OpenFile(r) }

func (w *witness) OpenFile(r *oracle.Request) (oracle.WriterAtReaderAt, error) {
	w.call("open %s", r.Filepath)
	return witnessFile{w}, nil
}

func (w *witness) Filecmd(r *oracle.Request) error {
	switch r.Method {
	case "Rename", "Link", "Symlink":
		w.call("%s %s %s", r.Method, cleaned(r.Filepath), cleaned(r.Target))
	case "Setstat":
		w.call("Setstat %s", r.Filepath)
		if a := r.Attributes(); a != nil {
			w.call("%d %o %d %d", a.Size, a.Mode, a.Atime, a.Mtime)
		}
	default:
		w.call("%s %s", r.Method, r.Filepath)
	}
	return nil
}

func (w *witness) PosixRename(r *oracle.Request) error {
	w.call("PosixRename %s %s", r.Filepath, r.Target)
	return nil
}

func (w *witness) StatVFS(r *oracle.Request) (*oracle.StatVFS, error) {
	w.call("StatVFS %s", r.Filepath)
	return nil, os.ErrNotExist
}

func (w *witness) Filelist(r *oracle.Request) (oracle.ListerAt, error) {
	w.call("%s %s", r.Method, r.Filepath)
	return nil, os.ErrNotExist
}

func (w *witness) Lstat(r *oracle.Request) (oracle.ListerAt, error) { return w.Filelist(r) }

func (w *witness) Readlink(name string) (string, error) {
	w.call("Readlink %s", name)
	return "", os.ErrNotExist
}

func (w *witness) RealPath(name string) (string, error) {
	w.call("RealPath %s", cleaned(name))
	return "", os.ErrNotExist
}

type witnessFile struct{ w *witness }

func (f witnessFile) ReadAt(p []byte, off int64) (int, error) {
	f.w.call("read %d %d", len(p), off)
	return 0, io.EOF
}

func (f witnessFile) WriteAt(p []byte, off int64) (int, error) {
	f.w.call("write %q %d", p, off)
	return len(p), nil
}

func cleaned(name string) string { return path.Clean("/" + name) }

// oracleHandle is the first that the oracle gives out.
const oracleHandle = "1"

// paced is a channel on which the last packet comes when those before it are
// answered: the oracle works on several at once.
type paced struct {
	pipe
	last  *bytes.Reader
	ready chan struct{}
	once  sync.Once
}

const answersBefore = 2 // to INIT and OPEN

func (p *paced) Read(b []byte) (int, error) {
	if n, err := p.pipe.Read(b); err == nil {
		return n, nil
	}
	<-p.ready
	return p.last.Read(b)
}

func (p *paced) Write(b []byte) (int, error) {
	n, err := p.pipe.Write(b)
	answers := 0
	for out := p.out.Bytes(); len(out) >= 4; answers++ {
		end := 4 + int(binary.BigEndian.Uint32(out))
		if len(out) < end {
			break
		}
		out = out[end:]
	}
	if answers == answersBefore {
		p.once.Do(func() { close(p.ready) })
	}
	return n, err
}

// ask returns what the oracle reads in a packet.
func ask(packet []byte) []string {
	w := &witness{}
	open := send(typeOpen, 1, "first", openRead|openWrite, 0)
	p := &paced{
		pipe: pipe{in: bytes.NewReader(append(send(typeInit, 3), open...))},
		last: bytes.NewReader(packet), ready: make(chan struct{}),
	}
	_ = oracle.NewRequestServer(p, oracle.Handlers{FileGet: w, FilePut: w, FileCmd: w, FileList: w}).Serve()
	if len(w.calls) == 0 {
		return nil
	}
	return w.calls[1:]
}

// readPacket is what we read in a packet, in the same words.
func readPacket(t *testing.T, kind byte, body []byte) []string {
	p := parser{rest: body}
	p.uint32()
	op, extension := operationOf(kind), ""
	if kind == typeExtended {
		extension = string(p.bytes())
		op = extensionOf(extension)
	}
	if p.bad {
		return nil
	}
	// The oracle takes attributes for what follows their flags, unread.
	var r, whole request
	err := r.decode(strings.ReplaceAll(op.shape, "a", "f"), p.rest)
	attrsErr := whole.decode(op.shape, p.rest)
	if err != nil {
		if attrsErr == nil {
			t.Error("attributes without flags were read")
		}
		return nil
	}
	one := func(method string) []string { return []string{method + " " + cleaned(r.path)} }
	two := func(method string) []string {
		return []string{method + " " + cleaned(r.path) + " " + cleaned(r.target)}
	}
	switch kind {
	case typeOpen:
		return one("open")
	case typeRead:
		if string(r.handle) == oracleHandle {
			return []string{fmt.Sprintf("read %d %d", min(r.length, 32<<10), int64(r.offset))}
		}
	case typeWrite:
		if string(r.handle) == oracleHandle {
			return []string{fmt.Sprintf("write %q %d", r.data, int64(r.offset))}
		}
	case typeLstat:
		return one("Lstat")
	case typeStat:
		return one("Stat")
	case typeSetstat:
		calls := one("Setstat")
		if attrsErr == nil {
			a := whole.attrs
			calls = append(calls, fmt.Sprintf("%d %o %d %d", a.size, a.perm, a.access, a.modified))
		}
		return calls
	case typeRemove:
		return one("Remove")
	case typeMkdir:
		return one("Mkdir")
	case typeRmdir:
		return one("Rmdir")
	case typeOpendir, typeReadlink, typeRealpath:
		return one(map[byte]string{typeOpendir: "List", typeReadlink: "Readlink", typeRealpath: "RealPath"}[kind])
	case typeRename:
		return two("Rename")
	case typeSymlink:
		return two("Symlink")
	case typeExtended:
		switch extension {
		case "posix-rename@openssh.com":
			return two("PosixRename")
		case "hardlink@openssh.com":
			return two("Link")
		case "statvfs@openssh.com":
			return one("StatVFS")
		}
	}
	return nil
}

// comparableKind reports whether the oracle says what it reads in such a packet.
func comparableKind(kind byte) bool {
	switch kind {
	case typeOpen, typeRead, typeWrite, typeLstat, typeStat, typeSetstat, typeRemove, typeMkdir, typeRmdir, typeOpendir,
		typeReadlink, typeRealpath, typeRename, typeSymlink, typeExtended:
		return true
	}
	return false
}

// FuzzAgainstOracle reads one packet with our parser and with that of
// github.com/pkg/sftp: both find the same fields, or both find it malformed.
func FuzzAgainstOracle(f *testing.F) {
	for _, packet := range [][]byte{
		send(3, 1, "f", 1, 0), send(3, 1, "f", 1, 4, 0o644), send(3, 1, "f", 2), send(5, 1, "1", int64(7), 9), send(5, 1, "1", int64(-1), -1),
		send(6, 1, "1", int64(7), "data"), send(6, 1, "1", int64(7)), send(7, 1, "a/../b"), send(9, 1, "f", 15, int64(5), 1, 2, 0o100644, 3, 4),
		send(9, 1, "f", 8, 3, 4), send(9, 1, "f", 1), send(11, 1, "."), send(13, 1, "f"), send(14, 1, "f", 0), send(14, 1, "f"), send(15, 1, ""),
		send(16, 1, "~"), send(17, 1, "\xff"), send(18, 1, "f", "g"), send(18, 1, "f"), send(19, 1, "l"), send(20, 1, "t", "l"),
		send(200, 1, "posix-rename@openssh.com", "f", "g"), send(200, 1, "hardlink@openssh.com", "f", "g"), send(200, 1, "statvfs@openssh.com", "f"), send(200, 1, "x"),
	} {
		f.Add(packet[4], packet[5:])
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		if !comparableKind(kind) || len(body) > 1<<16 {
			return
		}
		packet := send(kind)
		packet = append(packet, body...)
		packet[2], packet[3] = byte((1+len(body))>>8), byte(1+len(body))
		packet[1] = byte((1 + len(body)) >> 16)
		want, got := ask(packet), readPacket(t, kind, body)
		if kind == typeOpen && len(want) == 0 && len(got) == 1 {
			return // flags that the oracle does not take
		}
		if kind == typeSetstat && len(want) != len(got) && len(want) > 0 && len(got) > 0 {
			return // attributes that one of both does not take
		}
		if !slices.Equal(got, want) {
			t.Errorf("packet %q: got %q, want %q", packet, got, want)
		}
	})
}
