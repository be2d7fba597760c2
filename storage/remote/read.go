package remote

import (
	"errors"
	"io"
	"os"
	"path"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/upstream"
)

// opened is a storage.File. Whoever reads in sequence is read ahead for; what is read
// elsewhere is asked for by itself.
type opened struct {
	name   string
	client *client
	file   *sftp.File
	size   int64 // when it was opened, up to which it is read ahead
	ahead  *upstream.Ahead

	mu   sync.Mutex
	next int64 // where a sequence goes on
}

func newOpened(name string, c *client, file *sftp.File, size int64, idle time.Duration) *opened {
	return &opened{name: name, client: c, file: file, size: size, ahead: upstream.NewAhead(size, idle,
		func(off int64) (upstream.Stream, error) { return &sequence{file, off}, nil })}
}

func (o *opened) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault("read", o.name, session.ErrRange)
	}
	n, err := o.reader(off, int64(len(p))).ReadAt(p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, fault("read", o.name, err)
}

// reader is how n bytes at off are read.
func (o *opened) reader(off, n int64) io.ReaderAt {
	o.mu.Lock()
	defer o.mu.Unlock()
	sequential := off == o.next
	o.next = off + n
	if sequential && off < o.size {
		return o.ahead
	}
	return o.file // which may have grown
}

func (o *opened) Stat() (storage.Info, error) {
	info, err := o.file.Stat()
	if err != nil {
		return storage.Info{}, fault("stat", o.name, err)
	}
	return infoOf(path.Base(o.name), info), nil
}

func (o *opened) OS() *os.File { return nil }

func (o *opened) Close() error {
	defer o.client.giveBack()
	return fault("close", o.name, errors.Join(o.ahead.Close(), o.file.Close()))
}

// sequence is an upstream.Stream of a file.
type sequence struct {
	file *sftp.File
	at   int64
}

func (s *sequence) Read(p []byte) (int, error) {
	n, err := s.file.ReadAt(p, s.at)
	s.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Interrupt implements upstream.Stream: what is on its way comes, or the connection is found
// not to answer.
func (s *sequence) Interrupt() {}

func (s *sequence) End(bool) error { return nil }
