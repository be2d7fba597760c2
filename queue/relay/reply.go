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
	code     int
	enhanced string // "" if none
	lines    []string
}

// readReply reads a reply with its bounds. The reader's buffer must hold a line.
func readReply(r *bufio.Reader) (reply, error) {
	var rep reply
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
		code, more, text, err := replyLine(bytes.TrimRight(line, "\r\n"))
		if err != nil {
			return reply{}, err
		}
		if n > 0 && code != rep.code {
			return reply{}, fmt.Errorf("%w: two codes in one reply", errReply)
		}
		rep.code = code
		enhanced, text := cutEnhanced(code, text)
		if enhanced != "" {
			rep.enhanced = enhanced
		}
		rep.lines = append(rep.lines, clean(text))
		if !more {
			return rep, nil
		}
	}
}

// replyLine splits a Reply-line of RFC 5321, section 4.2.
func replyLine(line []byte) (code int, more bool, text string, err error) {
	bad := fmt.Errorf("%w: line %q is no reply", errReply, clean(string(line[:min(len(line), 80)])))
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, "", bad
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, "", bad
		}
		code = 10*code + int(c-'0')
	}
	if len(line) == 3 {
		return code, false, "", nil
	}
	switch line[3] {
	case ' ':
		return code, false, string(line[4:]), nil
	case '-':
		return code, true, string(line[4:]), nil
	default:
		return 0, false, "", bad
	}
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
	s := Status{Code: r.code, Enhanced: r.enhanced, Text: clean(strings.Join(r.lines, " "))}
	switch r.code / 100 {
	case 2:
		s.Outcome = Delivered
	case 5:
		s.Outcome = Failed
	}
	if s.Enhanced == "" {
		s.Enhanced = map[Outcome]string{Delivered: "2.0.0", Failed: "5.0.0", Deferred: "4.0.0"}[s.Outcome]
	}
	return s
}

// deferred is the status of a refusal that is about the host, not about the
// message: whatever its code, it is tried again.
func (r reply) deferred(step string) error {
	s := r.status()
	s.Outcome = Deferred
	s.Enhanced = "4" + s.Enhanced[1:]
	s.Text = clean(step + ": " + s.Text)
	return &fault{status: s}
}

// fault ends a transaction for all recipients without an answer so far.
type fault struct{ status Status }

func (f *fault) Error() string { return f.status.String() }

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
