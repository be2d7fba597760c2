package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"gateway/session"
)

// maxInMemory is how much of a body is kept in memory while filters look at it.
const maxInMemory = 128 << 10

// spool is a body that is read more than once: in memory while it is small, then in
// a file that has no name, so that nothing is left of it if the process ends. It is
// an io.Writer.
type spool struct {
	dir    string // of the file; the system's own for temporary files if empty
	memory []byte
	file   *os.File
	size   int64
}

// Write adds to the body.
func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && len(s.memory)+len(p) > maxInMemory {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	if s.file == nil {
		s.memory = append(s.memory, p...)
	} else if _, err := s.file.Write(p); err != nil {
		return 0, spoolError(err)
	}
	s.size += int64(len(p))
	return len(p), nil
}

// spill moves what there is to a file.
func (s *spool) spill() error {
	f, err := os.CreateTemp(s.dir, ".spool-*")
	if err != nil {
		return spoolError(err)
	}
	s.file = f
	if err := os.Remove(f.Name()); err != nil {
		return spoolError(err)
	}
	if _, err := f.Write(s.memory); err != nil {
		return spoolError(err)
	}
	s.memory = nil
	return nil
}

func spoolError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("keep the message for the filters: %w: %w", session.ErrNoSpace, err)
	}
	return fmt.Errorf("keep the message for the filters: %w", err)
}

// fill writes what r holds, at most limit bytes, with CRLF line ends.
func (s *spool) fill(r io.Reader, limit int64) error {
	l := lines{limit: int(limit)}
	part := make([]byte, readBufferSize)
	var out []byte
	for {
		n, err := r.Read(part)
		out = l.append(out[:0], part[:n])
		if err != nil {
			out = l.end(out)
		}
		if l.bad != nil {
			return l.bad
		}
		if s.size+int64(len(out)) > limit {
			return refused(replyTooBig, "a filter made it more than %d bytes", limit)
		}
		if _, err := s.Write(out); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// reader reads the body from its beginning. Nothing may be written any more.
func (s *spool) reader() io.Reader {
	if s.file == nil {
		return bytes.NewReader(s.memory)
	}
	return io.NewSectionReader(s.file, 0, s.size)
}

func (s *spool) close() {
	s.memory = nil
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}
