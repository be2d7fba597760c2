package relay

import (
	"bufio"
	"bytes"
	"errors"
	"io"
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
// With fold, a line of more than 998 bytes continues on the next one, as servers
// have long done to it: the other choice is a bounce. In the header it is broken
// before a space, which changes nothing (RFC 5322, section 2.2.3); where there is
// none, and in the body, a space is put in, between two characters of UTF-8.
type contentWriter struct {
	w      *bufio.Writer // its errors are sticky: Flush returns them
	fold   bool
	length int  // of the line so far, in bytes
	body   bool // the header is over
}

// copy sends all of r and the final dot, by way of buf. What cannot be read is a
// fault.
func (c *contentWriter) copy(r io.Reader, buf []byte) error {
	held := 0 // bytes of buf that are a piece of a line
	for {
		n, err := r.Read(buf[held:])
		held += n
		used := c.lines(buf[:held], errors.Is(err, io.EOF))
		held = copy(buf, buf[used:held])
		switch {
		case errors.Is(err, io.EOF):
			_, err = c.w.WriteString(".\r\n")
			return err
		case err != nil:
			return deferred("4.3.0", "the content cannot be read: %s", err)
		}
		if _, err := c.w.Write(nil); err != nil {
			return err
		}
	}
}

// lines writes the whole lines of p, and returns how much of p that was. At the
// end, and if p is longer than lines are, the rest is written as well.
func (c *contentWriter) lines(p []byte, end bool) int {
	whole := bytes.LastIndexByte(p, '\n') + 1
	switch {
	case end:
		whole = len(p)
	case whole == 0 && len(p) > contentBuffer/2:
		whole = len(p)
		if p[whole-1] == '\r' { // a LF may follow
			whole--
		}
	}
	clean := 0 // where lines begin that can leave as they are
	for at := 0; at < whole; {
		next := at + bytes.IndexByte(p[at:whole], '\n') + 1
		if next == at {
			next = whole
		}
		if line := p[at:next]; !c.ready(line) {
			_, _ = c.w.Write(p[clean:at])
			c.rewrite(line)
			clean = next
		}
		at = next
	}
	_, _ = c.w.Write(p[clean:whole])
	if end && c.length > 0 {
		c.endLine()
	}
	return whole
}

// ready reports whether a line can leave as it is.
func (c *contentWriter) ready(line []byte) bool {
	end := len(line) - 2
	if end < 0 || c.length > 0 || line[0] == '.' || bytes.IndexByte(line, '\r') != end || c.fold && end > maxTextLine || line[end+1] != '\n' {
		return false
	}
	c.body = c.body || end == 0
	return true
}

// rewrite writes a line, or the beginning of one that is longer than the buffer.
func (c *contentWriter) rewrite(line []byte) {
	for len(line) > 0 {
		n := bytes.IndexAny(line, "\r\n")
		if n < 0 {
			c.text(line)
			return
		}
		c.text(line[:n])
		c.body = c.body || c.length == 0
		c.endLine()
		if line[n] == '\r' && n+1 < len(line) && line[n+1] == '\n' {
			n++
		}
		line = line[n+1:]
	}
}

// text writes what is within one line.
func (c *contentWriter) text(p []byte) {
	for len(p) > 0 {
		if c.length == 0 && p[0] == '.' {
			_ = c.w.WriteByte('.')
		}
		if !c.fold || c.length+len(p) <= maxTextLine {
			_, _ = c.w.Write(p)
			c.length += len(p)
			return
		}
		n, space := c.breakAt(p)
		_, _ = c.w.Write(p[:n])
		c.endLine()
		if p = p[n:]; !space {
			_ = c.w.WriteByte(' ')
			c.length = 1
		}
	}
}

// breakAt is how much of p, which is too long, stays on the line, and whether the
// rest begins with a space.
func (c *contentWriter) breakAt(p []byte) (n int, space bool) {
	n = max(maxTextLine-c.length, 0)
	if !c.body {
		// Neither side of the break may be blank: it would look like the end of the
		// header.
		before := p[:n]
		if i := bytes.LastIndexAny(before[:blankEnd(before)], " \t"); i > 0 && len(bytes.TrimLeft(before[:i], " \t")) > 0 {
			return i, true
		}
	}
	for at := n; at > 0 && at > n-utf8.UTFMax; at-- {
		if utf8.RuneStart(p[at]) {
			return at, false
		}
	}
	return n, false // not UTF-8 at all, or nothing fits
}

// blankEnd is the length of p without blanks at its end.
func blankEnd(p []byte) int { return len(bytes.TrimRight(p, " \t")) }

func (c *contentWriter) endLine() {
	_, _ = c.w.WriteString("\r\n")
	c.length = 0
}
