// Package lineio reads and writes the lines of a control connection: bounded,
// ended by CRLF, with the telnet sequences of RFC 854 taken out (RFC 1123,
// section 4.1.2.12).
package lineio

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
)

// ErrTooLong is a line that is longer than the reader allows. Nothing sensible
// can follow it: the connection should be closed.
var ErrTooLong = errors.New("line too long")

// bufferSize is small because every idle connection holds one.
const bufferSize = 512

// Reader reads lines. It is used by one goroutine at a time.
type Reader struct {
	br  *bufio.Reader
	max int

	// The line that is coming: what a deadline interrupted goes on later.
	line   []byte
	taken  int
	telnet telnetState
}

// NewReader reads from r lines of at most limit bytes, telnet sequences and line
// end included.
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{br: bufio.NewReaderSize(r, bufferSize), max: limit}
}

// Telnet commands (RFC 854).
const (
	telnetSE   = 240
	telnetSB   = 250
	telnetWill = 251
	telnetDont = 254
	telnetIAC  = 255
)

// ReadLine returns the next line without its end. Every CR in it is dropped, as
// are telnet commands; IAC IAC is the byte 255. A line that the peer cut off by
// closing is not returned: it may be half a command. The error is ErrTooLong or
// that of the reader below; after a deadline that passed, the next call goes on
// with the same line.
//
// Bytes of 240 and above at the start of a line are dropped too: they are what is
// left of a telnet sequence whose IAC travelled as urgent data.
func (r *Reader) ReadLine() (string, error) {
	for {
		b, err := r.br.ReadByte()
		if err != nil {
			return "", err
		}
		if b == '\n' && r.telnet != inNegotiation && r.telnet != inNegotiationIAC {
			line := string(r.line)
			r.line, r.taken, r.telnet = nil, 0, inText // an idle connection holds none
			return line, nil
		}
		if r.taken++; r.taken > r.max {
			return "", ErrTooLong
		}
		var keep bool
		r.telnet, keep = r.telnet.next(b)
		switch {
		case !keep, b == '\r':
		case len(r.line) == 0 && b >= telnetSE:
		default:
			r.line = append(r.line, b)
		}
	}
}

// Buffered is how many bytes were read from the connection and not yet returned.
func (r *Reader) Buffered() int { return r.br.Buffered() }

type telnetState uint8

const (
	inText           telnetState = iota
	afterIAC                     // a command follows
	afterOption                  // one option byte follows
	inNegotiation                // between IAC SB and IAC SE
	inNegotiationIAC             // IAC seen there
)

// next returns the state after b, and whether b is text.
func (s telnetState) next(b byte) (telnetState, bool) {
	switch s {
	case afterIAC:
		switch {
		case b == telnetIAC:
			return inText, true
		case b == telnetSB:
			return inNegotiation, false
		case b >= telnetWill && b <= telnetDont:
			return afterOption, false
		default:
			return inText, b < telnetSE // no command: the IAC was stray
		}
	case afterOption:
		return inText, false
	case inNegotiation:
		if b == telnetIAC {
			return inNegotiationIAC, false
		}
		return inNegotiation, false
	case inNegotiationIAC:
		if b == telnetSE {
			return inText, false
		}
		return inNegotiation, false
	default:
		if b == telnetIAC {
			return afterIAC, false
		}
		return inText, true
	}
}

// Writer writes replies. It may be used by several goroutines: each reply is
// one Write on the connection and is not mixed with another.
type Writer struct {
	mu sync.Mutex
	w  io.Writer
}

// NewWriter writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Reply writes a reply (RFC 959, section 4.2). Text of several lines, divided by
// "\n", becomes a multi-line reply: "code-first", the lines between with a space
// before them so that none can be taken for the last, and "code last". Control
// characters are written as "?".
func (w *Writer) Reply(code int, text string) error {
	number := strconv.Itoa(code)
	lines := strings.Split(text, "\n")
	last := len(lines) - 1
	var b strings.Builder
	b.Grow(len(text) + 8*len(lines))
	for i, line := range lines {
		switch {
		case i == last:
			b.WriteString(number + " ")
		case i == 0:
			b.WriteString(number + "-")
		default:
			b.WriteString(" ")
		}
		b.WriteString(Clean(line))
		b.WriteString("\r\n")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.w.Write([]byte(b.String()))
	return err
}

// Clean returns s with every control character, and IAC, written as "?", so that it stays
// on its line whatever a file is called.
func Clean(s string) string {
	for i := range len(s) {
		if isControl(s[i]) {
			b := []byte(s)
			for j := range b {
				if isControl(b[j]) {
					b[j] = '?'
				}
			}
			return string(b)
		}
	}
	return s
}

// isControl also reports the byte that begins a telnet command: no name in UTF-8
// holds it.
func isControl(b byte) bool { return b < ' ' || b == 0x7f || b == telnetIAC }
