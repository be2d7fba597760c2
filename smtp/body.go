package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"gateway/session"
)

// body is the content of one message as it comes over the wire: after DATA up to
// CRLF "." CRLF and nothing else, after BDAT up to the end of the last chunk.
// What it yields has CRLF line ends throughout. It is an io.Reader.
type body struct {
	wire    *wire
	chunked bool

	left int64 // of the chunk that is being received; its BDAT is not answered yet
	size int64 // of that chunk
	last bool  // it is the last

	lineStart bool // DATA: the last thing received was CRLF, or nothing
	endsCR    bool // DATA: the last byte received was a CR

	lines lines
	limit int64 // of total
	total int64
	raw   int64 // bytes received, refused ones included
	ready []byte
	buf   []byte
	over  bool  // its end was received
	err   error // why Read ended: io.EOF, a refusal, or what broke the connection
}

// startBody begins to receive content, after the 354.
func (w *wire) startBody() *body {
	b := &body{
		wire: w, chunked: w.last == "BDAT", lineStart: true, limit: w.conn.maxBytes(),
		lines: lines{limit: w.conn.cfg.MaxLineLength, ends: w.conn.lineEnds()},
	}
	if b.chunked {
		b.left, b.size, b.last = w.chunk, w.chunk, w.chunkLast
		w.chunk = 0
	}
	w.body = b
	w.beginContent()
	return b
}

// Read yields content, io.EOF at its proper end, or the reason why the message
// cannot be accepted: then Close receives the rest.
func (b *body) Read(p []byte) (int, error) {
	for len(b.ready) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.err = b.receive()
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	return n, nil
}

// receive gets some more and checks it.
func (b *body) receive() error {
	part, err := b.next()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			return err
		}
		b.ready = b.lines.end(b.buf[:0])
		if b.lines.bad != nil {
			return b.lines.bad
		}
		return io.EOF
	}
	b.buf = b.lines.append(b.buf[:0], part)
	b.total += int64(len(b.buf))
	switch {
	case b.lines.bad != nil:
		return b.lines.bad
	case b.total > b.limit:
		return refused(replyTooBig, "more than %d bytes", b.limit)
	}
	b.ready = b.buf
	return nil
}

// next returns the next part of the content, valid until the following call.
func (b *body) next() ([]byte, error) {
	if b.wire.err != nil {
		return nil, b.wire.err
	}
	var part []byte
	var err error
	if b.chunked {
		part, err = b.nextOfChunk()
	} else {
		part, err = b.nextOfLines()
	}
	b.raw += int64(len(part))
	b.over = errors.Is(err, io.EOF)
	return part, err
}

// nextOfLines reads at most a line and removes the dot that was added (RFC 5321,
// section 4.5.2). Only CRLF begins a line here: to take anything else for one is
// how mail is smuggled past a server that does not.
func (b *body) nextOfLines() ([]byte, error) {
	if err := b.wire.flush(); err != nil {
		return nil, err
	}
	part, err := b.wire.br.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, b.wire.broken(err)
	}
	start := b.lineStart
	b.lineStart = bytes.HasSuffix(part, []byte("\r\n")) || b.endsCR && len(part) == 1 && part[0] == '\n'
	b.endsCR = part[len(part)-1] == '\r'
	if start && part[0] == '.' {
		if len(part) == 3 && b.lineStart {
			return nil, io.EOF
		}
		part = part[1:]
	}
	return part, nil
}

// nextOfChunk reads from the chunk, and between two chunks their command.
func (b *body) nextOfChunk() ([]byte, error) {
	for b.left == 0 {
		if b.last {
			return nil, io.EOF
		}
		b.wire.say(reply{250, "2.0.0", fmt.Sprintf("%d octets received", b.size)})
		if err := b.nextCommand(); err != nil {
			return nil, err
		}
	}
	br := b.wire.br
	if br.Buffered() == 0 {
		if err := b.wire.flush(); err != nil {
			return nil, err
		}
		if _, err := br.Peek(1); err != nil {
			return nil, b.wire.broken(err)
		}
	}
	part, _ := br.Peek(int(min(int64(br.Buffered()), b.left)))
	_, _ = br.Discard(len(part)) // stays valid until the next read
	b.left -= int64(len(part))
	return part, nil
}

// nextCommand reads the command between two chunks. RSET and what ends the
// session give the message up, and are left for after it.
func (b *body) nextCommand() error {
	w := b.wire
	for {
		line, err := w.readLine(maxCommandLine)
		if err != nil {
			return err
		}
		name, arg, ok := split(line)
		if name != "BDAT" && !w.conn.idleCommand(w) {
			return w.err
		}
		switch {
		case !ok:
			w.say(replyControl)
		case name == "BDAT":
			size, last, err := parseChunk(arg)
			if err != nil {
				return w.fail(session.ErrProtocol, replyFraming)
			}
			if size == 0 && !w.conn.idleCommand(w) {
				return w.err
			}
			b.left, b.size, b.last = size, size, last
			return nil
		case name == "NOOP":
			w.say(replyNoop)
		case name == "RSET", name == "QUIT", name == "EHLO", name == "HELO":
			w.pushed, w.swallow = line, true
			return errAborted
		default:
			w.say(replyInContent)
		}
		if w.err != nil {
			return w.err
		}
	}
}

// Close receives what is left, so that none of it is taken for a command: up to
// the end of the content or of the chunk, whose reply is then the message's. A
// peer that does not stop is hung up on.
func (b *body) Close() {
	defer b.wire.endContent()
	if b.chunked {
		b.wire.chunk = b.left // skipped before the next command
		return
	}
	for budget := b.raw + b.wire.conn.cfg.MaxMessageBytes; !b.over; {
		if _, err := b.next(); err != nil {
			return
		}
		if b.raw > budget {
			_ = b.wire.fail(session.ErrProtocol, replyFlood)
			return
		}
	}
}

// lines brings line ends into the form of RFC 5321, section 2.3.8: a bare LF is
// given its CR; a bare CR or a NUL makes the message bad, as far as ends does not say
// otherwise. Parts may be cut anywhere.
type lines struct {
	limit  int // bytes of a line without its end
	ends   session.LineEnds
	length int
	cr     bool // the last byte was a CR
	crs    int  // CRs held back while line ends are repaired
	bad    error
}

// append appends part to dst.
func (l *lines) append(dst, part []byte) []byte {
	if l.ends == session.LinesRepair {
		return l.repair(dst, part)
	}
	for len(part) > 0 {
		n := bytes.IndexByte(part, '\n')
		text := part
		if n >= 0 {
			text = part[:n]
		}
		dst = l.text(dst, text)
		if n < 0 {
			break
		}
		if !l.cr {
			if l.ends == session.LinesRefuse {
				l.refuse(replyBareLF, "bare LF")
			}
			dst = append(dst, '\r')
		}
		dst = append(dst, '\n')
		l.cr, l.length = false, 0
		part = part[n+1:]
	}
	return dst
}

// text appends a part of a line. A CR may only be its last byte.
func (l *lines) text(dst, text []byte) []byte {
	if len(text) == 0 {
		return dst
	}
	cr := bytes.IndexByte(text, '\r')
	switch {
	case l.cr, cr >= 0 && cr < len(text)-1:
		l.refuse(replyBareCR, "bare CR")
	case bytes.IndexByte(text, 0) >= 0:
		l.refuse(replyNUL, "NUL")
	}
	l.cr = cr == len(text)-1
	l.length += len(text)
	if l.cr {
		l.length--
	}
	if l.length > l.limit {
		l.refuse(replyContentLine, fmt.Sprintf("line longer than %d bytes", l.limit))
	}
	return append(dst, text...)
}

// repair is append where a bare CR ends a line, too. CR CR LF, as some devices
// write after translating line ends twice, is one end.
func (l *lines) repair(dst, part []byte) []byte {
	for _, c := range part {
		switch {
		case c == '\r' && l.crs == 2: // no more are held back, or they would be a message
			dst = l.breakLine(dst)
		case c == '\r':
			l.crs++
		case c == '\n':
			l.crs = 0
			dst = l.breakLine(dst)
		default:
			for ; l.crs > 0; l.crs-- {
				dst = l.breakLine(dst)
			}
			if c == 0 {
				l.refuse(replyNUL, "NUL")
			}
			if l.length++; l.length > l.limit {
				l.refuse(replyContentLine, fmt.Sprintf("line longer than %d bytes", l.limit))
			}
			dst = append(dst, c)
		}
	}
	return dst
}

func (l *lines) breakLine(dst []byte) []byte {
	l.length = 0
	return append(dst, "\r\n"...)
}

// end completes an unfinished last line (BDAT need not end in CRLF).
func (l *lines) end(dst []byte) []byte {
	for ; l.crs > 0; l.crs-- {
		dst = l.breakLine(dst)
	}
	if l.cr {
		l.refuse(replyBareCR, "bare CR")
	}
	if l.length > 0 {
		dst = append(dst, "\r\n"...)
	}
	return dst
}

func (l *lines) refuse(r reply, detail string) {
	if l.bad == nil {
		l.bad = &refusal{r, detail}
	}
}

func refused(r reply, format string, args ...any) error {
	return &refusal{r, fmt.Sprintf(format, args...)}
}
