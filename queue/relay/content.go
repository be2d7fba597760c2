package relay

import (
	"bufio"
	"unicode/utf8"
)

// maxTextLine is a line of content without its CRLF (RFC 5321, section
// 4.5.3.1.6).
const maxTextLine = 998

// contentWriter makes content fit for DATA. Every line ends in CRLF and in
// nothing else: a CR or LF on its own, which some servers take for the end of a
// line and others do not, becomes CRLF, so that nobody finds a final dot where we
// sent none. Dots at the beginning of a line are doubled (RFC 5321, section
// 4.5.2).
//
// With fold, a line of more than 998 bytes continues on the next one behind a
// space, as servers have long done to it: the other choice is a bounce. It
// looks for a place between two characters of UTF-8.
type contentWriter struct {
	w      *bufio.Writer
	fold   bool
	length int  // of the line so far, in bytes
	cr     bool // a CR was read and not written
}

func newContentWriter(w *bufio.Writer, fold bool) *contentWriter {
	return &contentWriter{w: w, fold: fold}
}

// Write takes more of the content. Errors of the writer below are sticky, so
// only the last one of each run is looked at.
func (c *contentWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if c.cr {
			c.cr = false
			c.endLine()
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		switch p[0] {
		case '\r':
			c.cr = true
			p = p[1:]
		case '\n':
			c.endLine()
			p = p[1:]
		default:
			p = p[c.run(p):]
		}
	}
	_, err := c.w.Write(nil)
	return n, err
}

// run writes bytes of one line, at least one, and returns how many.
func (c *contentWriter) run(p []byte) int {
	n := 0
	for n < len(p) && p[n] != '\r' && p[n] != '\n' {
		n++
	}
	if c.length == 0 && p[0] == '.' {
		_ = c.w.WriteByte('.')
	}
	if c.fold && c.length+n > maxTextLine {
		n = c.breakAt(p[:n])
		if n == 0 {
			c.endLine()
			_ = c.w.WriteByte(' ')
			c.length = 1
			return 0
		}
	}
	_, _ = c.w.Write(p[:n])
	c.length += n
	return n
}

// breakAt is how much of p still fits on the line.
func (c *contentWriter) breakAt(p []byte) int {
	n := max(maxTextLine-c.length, 0)
	for back := 0; back < utf8.UTFMax && n > 0; back++ {
		if utf8.RuneStart(p[n]) {
			return n
		}
		n--
	}
	return n // not UTF-8 at all, or nothing fits
}

func (c *contentWriter) endLine() {
	_, _ = c.w.WriteString("\r\n")
	c.length = 0
}

// finish ends the last line and writes the final dot.
func (c *contentWriter) finish() error {
	if c.cr || c.length > 0 {
		c.cr = false
		c.endLine()
	}
	_, err := c.w.WriteString(".\r\n")
	return err
}
