package ftpclient

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
)

const (
	// maxLine is how long a line of a server may be, its end included.
	maxLine = 8 << 10
	// maxReply is how many bytes a reply may have.
	maxReply = 64 << 10
)

// Errors about what a server sends. They end the connection.
var (
	errLine  = fmt.Errorf("it sends a line of more than %d bytes", maxLine)
	errReply = fmt.Errorf("it sends a reply of more than %d bytes", maxReply)
	errNoFTP = errors.New("it sends what is no reply of FTP")
)

// A reply is what a server says to a command (RFC 959, section 4.2).
type reply struct {
	code  int
	lines []string // without codes, where they stand
}

// text is the last line, which the reply is about.
func (r reply) text() string { return r.lines[len(r.lines)-1] }

// An Error is a reply that refuses.
type Error struct {
	Verb string
	Code int
	text string
}

func (e *Error) Error() string {
	return fmt.Sprintf("it answers %s with %d %q", e.Verb, e.Code, clip(e.text))
}

// Code is the code of the reply that err is, and zero if it is something else; forGood says
// that the reply is no for good, and not for the moment.
func Code(err error) (code int, forGood bool) {
	refusal, is := errors.AsType[*Error](err)
	if !is {
		return 0, false
	}
	return refusal.Code, refusal.Code >= 500
}

// unknown reports whether err is the reply to a command that a server does not have, or not
// with these arguments.
func unknown(err error) bool {
	switch code, _ := Code(err); code {
	case 500, 501, 502, 503, 504:
		return true
	}
	return false
}

// clip shortens what an error quotes.
func clip(s string) string {
	const limit = 100
	if len(s) > limit {
		return s[:limit] + "..."
	}
	return s
}

// newReader returns what readLine and readReply read from.
func newReader(r interface{ Read([]byte) (int, error) }) *bufio.Reader {
	return bufio.NewReaderSize(r, maxLine)
}

// readLine reads a line without its end, which is LF or CR LF. The bytes are good until the
// next read.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errLine
	}
	if err != nil {
		return line, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

// readReply reads a reply: one line, or lines from "123-" to "123 ".
func readReply(in *bufio.Reader) (reply, error) {
	var r reply
	read := 0
	for {
		line, err := readLine(in)
		if err != nil {
			return reply{}, err
		}
		if read += len(line); read > maxReply || len(r.lines) > maxReply/2 {
			return reply{}, errReply
		}
		code, more, text, coded := cutCode(string(line))
		switch {
		case r.lines == nil && !coded:
			return reply{}, errNoFTP
		case r.lines == nil:
			r = reply{code, []string{text}}
			if !more {
				return r, nil
			}
		case coded && code == r.code:
			r.lines = append(r.lines, text)
			if !more {
				return r, nil
			}
		default:
			r.lines = append(r.lines, string(line))
		}
	}
}

// cutCode takes the code off a line; more says that further lines follow.
func cutCode(line string) (code int, more bool, text string, ok bool) {
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, false, "", false
	}
	for _, c := range []byte(line[:3]) {
		if c < '0' || c > '9' {
			return 0, false, "", false
		}
		code = 10*code + int(c-'0')
	}
	if code < 100 || code > 599 {
		return 0, false, "", false
	}
	if len(line) == 3 {
		return code, false, "", true
	}
	return code, line[3] == '-', strings.TrimSpace(line[4:]), true
}
