package relay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxReplyLine is four times what RFC 5321, section 4.5.3.1.5, allows, for the
	// servers that explain themselves at length.
	maxReplyLine = 2048
	// maxReplyLines bounds one reply; EHLO of the largest servers has about 20.
	maxReplyLines = 100
	// maxText bounds what is kept of a reply.
	maxText = 500
)

var errReply = errors.New("peer broke the protocol")

// reply is one reply of the peer, of one or more lines.
type reply struct {
	code int
	// text has the lines without their codes, joined by LF, as the peer sent them.
	// It lies in the buffer of the connection, until the next reply.
	text []byte
}

// readReply reads a reply with its bounds. The reader's buffer must hold a line.
// The text of the reply is written to buf, which may be nil.
func readReply(r *bufio.Reader, buf []byte) (reply, error) {
	rep := reply{text: buf[:0]}
	for n := 0; ; n++ {
		if n == maxReplyLines {
			return reply{}, fmt.Errorf("%w: reply of more than %d lines", errReply, maxReplyLines)
		}
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull), len(line) > maxReplyLine:
			return reply{}, fmt.Errorf("%w: reply line longer than %d bytes", errReply, maxReplyLine)
		case err != nil:
			return reply{}, err
		}
		code, more, text, ok := replyLine(bytes.TrimRight(line, "\r\n"))
		if !ok {
			return reply{}, fmt.Errorf("%w: line %q is no reply", errReply, clean(string(line[:min(len(line), 80)])))
		}
		if n > 0 {
			if code != rep.code {
				return reply{}, fmt.Errorf("%w: two codes in one reply", errReply)
			}
			rep.text = append(rep.text, '\n')
		}
		rep.code = code
		rep.text = append(rep.text, text...)
		if !more {
			return rep, nil
		}
	}
}

// replyLine splits a Reply-line of RFC 5321, section 4.2.
func replyLine(line []byte) (code int, more bool, text []byte, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, nil, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, nil, false
		}
		code = 10*code + int(c-'0')
	}
	if len(line) == 3 {
		return code, false, nil, true
	}
	return code, line[3] == '-', line[4:], line[3] == ' ' || line[3] == '-'
}

// cutEnhanced takes the status code of RFC 2034 off the text, if there is one
// and it agrees with the reply code.
func cutEnhanced(code int, text string) (enhanced, rest string) {
	first, rest, _ := strings.Cut(text, " ")
	parts := strings.Split(first, ".")
	if len(parts) != 3 || parts[0] != string(rune('0'+code/100)) {
		return "", text
	}
	for _, p := range parts[1:] {
		if len(p) == 0 || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return "", text
		}
	}
	return first, rest
}

// status is the outcome that a reply stands for.
func (r reply) status() Status {
	s := Status{Code: r.code}
	lines := strings.Split(string(r.text), "\n")
	for i, line := range lines {
		enhanced, rest := cutEnhanced(r.code, line)
		if lines[i] = clean(rest); enhanced != "" {
			s.Enhanced = enhanced
		}
	}
	s.Text = clean(strings.Join(lines, " "))
	general := "4.0.0"
	switch r.code / 100 {
	case 2:
		s.Outcome, general = Delivered, "2.0.0"
	case 5:
		s.Outcome, general = Failed, "5.0.0"
	}
	if s.Enhanced == "" {
		s.Enhanced = general
	}
	return s
}

// deferredStatus is the status of a refusal that is about the host, not about the
// message: whatever its code, it is tried again.
func (r reply) deferredStatus(step string) Status {
	s := r.status()
	s.Outcome = Deferred
	s.Enhanced = "4" + s.Enhanced[1:]
	s.Text = clean(step + ": " + s.Text)
	return s
}

// deferred is that as an error.
func (r reply) deferred(step string) *fault { return &fault{status: r.deferredStatus(step)} }

// fault ends a transaction for all recipients without an answer so far.
type fault struct {
	status Status
	next   bool // another host may do better
	broken bool // the connection is of no more use
	stale  bool // it was dead before anything was said: a new one to the same host may do
}

func (f *fault) Error() string { return f.status.String() }

// deferred is a fault that may pass, found by us.
func deferred(enhanced, format string, args ...any) *fault {
	return &fault{status: Status{Enhanced: enhanced, Text: clean(fmt.Sprintf(format, args...))}}
}

// failed is one that does not.
func failed(enhanced, format string, args ...any) *fault {
	f := deferred(enhanced, format, args...)
	f.status.Outcome = Failed
	return f
}

// clean makes text of a peer fit for a log and a bounce: printable, on one line,
// bounded.
func clean(s string) string {
	if len(s) > 4*maxText {
		s = s[:4*maxText]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\r' || r == '\n':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return -1
		default:
			return r
		}
	}, s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") // a character may have been cut
	}
	return strings.TrimSpace(s)
}
