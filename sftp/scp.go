package sftp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"

	"gateway/session"
)

// The protocol of scp has no document; this follows what OpenSSH's scp.c does. One
// side sends lines that begin with C (a file), D and E (a folder and its end) and T
// (times), each of which the other answers by one byte: 0, or 1 or 2 and a text.

const (
	// maxHeader is the longest line: a name of maxName bytes and numbers.
	maxHeader = 512
	// maxDepth is how deep folders may lie in each other.
	maxDepth = 64
	// scpBuffer is how much of what comes is held.
	scpBuffer = 128 << 10
)

// Bytes that answer a line, or begin one.
const (
	scpDone  = 0
	scpError = 1 // and what was asked for is left out
	scpFatal = 2 // and it ends
)

// errSCP is a line that cannot be: the two sides no longer understand each other.
var errSCP = errors.New("scp: protocol error")

// scpRun is one run of scp: -t receives, -f sends.
type scpRun struct {
	*command
	from      *bufio.Reader
	recursive bool // -r
	times     bool // -p: modes and times are kept
	folder    bool // -d: the target must be a folder
	failed    bool // something was left out
}

// scp implements scp -t and scp -f.
func (c *command) scp(args []string) error {
	s := &scpRun{command: c, from: bufio.NewReaderSize(c.in, scpBuffer)}
	var sink, source bool
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		flags := args[0][1:]
		args = args[1:]
		if flags == "-" {
			break
		}
		for _, flag := range []byte(flags) {
			switch flag {
			case 't':
				sink = true
			case 'f':
				source = true
			case 'r':
				s.recursive = true
			case 'p':
				s.times = true
			case 'd':
				s.folder = true
			case 'v', 'q':
			default:
				return errCommand
			}
		}
	}
	if sink == source || len(args) != 1 {
		return errCommand
	}
	run := s.send
	if sink {
		run = s.receive
	}
	err := run(args[0])
	switch {
	case errors.Is(err, errSCP):
		_, _ = fmt.Fprintf(c.out, "%c%s\n", scpFatal, errSCP.Error())
	case err == nil && s.failed:
		err = errLeftOut
	}
	return err
}

// errLeftOut is an end by which not all was done; the peer knows what.
var errLeftOut = status{codeFailure, "Not everything was copied"}

// ack says that all is well.
func (s *scpRun) ack() error {
	_, err := s.out.Write([]byte{scpDone})
	return err
}

// refuse says that what name stands for is left out because of cause.
func (s *scpRun) refuse(name string, cause error) error {
	s.failed = true
	_, err := fmt.Fprintf(s.out, "%cscp: %s: %s\n", scpError, sayable(name), answer(cause).text)
	return err
}

// sayable is a name without what a terminal would take for a command.
func sayable(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}

// response reads the answer to what was sent; done is whether the peer takes it.
func (s *scpRun) response() (done bool, err error) {
	b, err := s.from.ReadByte()
	if err != nil {
		return false, cut(err)
	}
	switch b {
	case scpDone:
		return true, nil
	case scpError:
		s.failed = true
		_, err := s.line()
		return false, err
	case scpFatal:
		return false, errPeer
	default:
		return false, errSCP
	}
}

// errPeer is that the peer gave up.
var errPeer = errors.New("scp: the peer gave up")

// cut is the error of an end that came too early.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// line reads the rest of a line, without its end.
func (s *scpRun) line() ([]byte, error) {
	line, err := s.from.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull, len(line) > maxHeader:
		return nil, errSCP
	case err != nil:
		return nil, cut(err)
	}
	return line[:len(line)-1], nil
}

// scpHeader is what a line says.
type scpHeader struct {
	kind             byte // C, D, E or T
	mode             fs.FileMode
	size             int64
	name             string
	modified, access time.Time
}

// parseHeader reads a line of a sender, strictly: nobody but scp writes them.
func parseHeader(line []byte) (scpHeader, error) {
	if len(line) == 0 || len(line) > maxHeader {
		return scpHeader{}, errSCP
	}
	h := scpHeader{kind: line[0]}
	rest := string(line[1:])
	switch h.kind {
	case 'E':
		if rest != "" {
			return scpHeader{}, errSCP
		}
		return h, nil
	case 'T':
		var numbers [4]int64
		fields := strings.Split(rest, " ")
		if len(fields) != len(numbers) {
			return scpHeader{}, errSCP
		}
		for i, field := range fields {
			var ok bool
			if numbers[i], ok = decimal(field, [4]int64{maxTime, 999_999, maxTime, 999_999}[i]); !ok {
				return scpHeader{}, errSCP
			}
		}
		h.modified, h.access = time.Unix(numbers[0], numbers[1]*1000), time.Unix(numbers[2], numbers[3]*1000)
		return h, nil
	case 'C', 'D':
	default:
		return scpHeader{}, errSCP
	}
	mode, rest, ok := strings.Cut(rest, " ")
	size, name, also := strings.Cut(rest, " ")
	bits, err := strconv.ParseUint(mode, 8, 12)
	if !ok || !also || err != nil || len(mode) != 4 {
		return scpHeader{}, errSCP
	}
	h.mode = fs.FileMode(bits) & fs.ModePerm // nothing is setuid here
	if h.size, ok = decimal(size, math.MaxInt64); !ok || !plainName(name) {
		return scpHeader{}, errSCP
	}
	h.name = name
	return h, nil
}

// maxTime is the end of the year 9999.
const maxTime = 253402300799

// decimal reads a number of digits only.
func decimal(s string, most int64) (int64, bool) {
	if s == "" || len(s) > 19 || strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n <= most
}

// plainName reports whether name is one of something in a folder.
func plainName(name string) bool {
	return name != "" && len(name) <= maxName && name != "." && name != ".." && !strings.Contains(name, "/") &&
		bytes.IndexFunc([]byte(name), func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// opened counts a file that is open, for which a server that stops waits.
func (s *scpRun) opened() error {
	if !s.busy.opened() {
		return session.ErrShutdown
	}
	return nil
}
