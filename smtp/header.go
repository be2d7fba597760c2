package smtp

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gateway/queue"
)

// Bounds of a message's header.
const (
	maxHeaderBytes  = 256 << 10
	maxHeaderFields = 1000
	// maxReceived is how many hops a message may have behind it before it is taken
	// to be looping (RFC 5321, section 6.3, asks for at least 100 by that method
	// alone; others refuse at 30 to 100).
	maxReceived = 50
	// maxOwnReceived is how many of them may be ours.
	maxOwnReceived = 4
	// maxMessageID bounds a Message-ID in the record (RFC 5322, section 2.1.1).
	maxMessageID = 998
	// maxMailboxes bounds the addresses in From.
	maxMailboxes = 100
)

// header is the header of a message, in order and as it was sent.
type header struct{ fields []field }

// field is one header field with its continuation lines.
type field struct {
	name string // in lower case
	raw  []byte // the whole field, with its CRLF
}

// value is what stands after the colon, on one line.
func (f field) value() string {
	_, value, _ := bytes.Cut(f.raw, []byte(":"))
	return strings.TrimSpace(strings.ReplaceAll(string(value), "\r\n", ""))
}

// readHeader reads up to and with the empty line, from content with CRLF line
// ends. What is not a field is refused: another reader might take it for the end
// of the header, or see a From in it that was not checked.
func readHeader(r *bufio.Reader) (header, error) {
	var h header
	size := 0
	for {
		line, err := readHeaderLine(r, maxHeaderBytes-size)
		if err != nil && !errors.Is(err, io.EOF) {
			return h, err
		}
		size += len(line)
		switch {
		case len(line) == 0, string(line) == "\r\n":
			return h, nil
		case line[0] == ' ' || line[0] == '\t':
			if len(h.fields) == 0 {
				return h, refused(replyHeader, "header begins with a continuation line")
			}
			last := &h.fields[len(h.fields)-1]
			last.raw = append(last.raw, line...)
		default:
			name, ok := fieldName(line)
			if !ok {
				return h, refused(replyHeader, "header line %d is not a field", len(h.fields)+1)
			}
			if len(h.fields) == maxHeaderFields {
				return h, refused(replyHeaderTooBig, "more than %d header fields", maxHeaderFields)
			}
			h.fields = append(h.fields, field{name, line})
		}
	}
}

// readHeaderLine returns a line with its CRLF; nothing at the end of the message.
func readHeaderLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > limit:
			return nil, refused(replyHeaderTooBig, "header of more than %d bytes", maxHeaderBytes)
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}

// fieldName is the name of a field (RFC 5322, section 2.2), also where blanks
// stand before the colon (section 4.5), as some readers accept.
func fieldName(line []byte) (string, bool) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return "", false
	}
	name := bytes.TrimRight(line[:colon], " \t")
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return "", false
		}
	}
	return strings.ToLower(string(name)), true
}

func (h header) all(name string) []field {
	var found []field
	for _, f := range h.fields {
		if f.name == name {
			found = append(found, f)
		}
	}
	return found
}

// check refuses a message that says it is from somebody whom the account may not
// speak for (RFC 6409, section 6.1), or that is going in circles. Text beyond ASCII
// may stand in fields only if eightBit is set: the peer asked for SMTPUTF8.
func (h header) check(eightBit bool, sends func(address string) error) error {
	if n := len(h.all("received")); n > maxReceived {
		return refused(replyLoop, "%d Received fields", n)
	}
	if name, raw := h.rawText(); raw && !eightBit {
		return refused(replyRawHeader, "8-bit text in %s without SMTPUTF8", name)
	}
	from := h.all("from")
	if len(from) != 1 {
		return refused(replyFrom, "%d From fields", len(from))
	}
	mailboxes, err := parseMailboxes(from[0].value(), eightBit)
	if err != nil {
		return refused(replyFrom, "From: %v", err)
	}
	switch sender := h.all("sender"); len(sender) {
	case 0:
	case 1:
		one, err := parseMailboxes(sender[0].value(), eightBit)
		if err != nil || len(one) != 1 {
			return refused(replySender, "Sender: want one mailbox")
		}
		mailboxes = append(mailboxes, one...)
	default:
		return refused(replySender, "%d Sender fields", len(sender))
	}
	for _, m := range mailboxes {
		if sends(m.String()) != nil {
			return refused(replyFromNotYours, "From or Sender is not an address of the account")
		}
	}
	return nil
}

// rawText is the name of a field that holds 8-bit text (RFC 6532), if there is one.
func (h header) rawText() (name string, found bool) {
	for _, f := range h.fields {
		if slices.ContainsFunc(f.raw, func(c byte) bool { return c >= utf8.RuneSelf }) {
			return f.name, true
		}
	}
	return "", false
}

// loops reports whether the message has passed here more often than mail that gets
// anywhere does: hosts that send it to each other find out long before maxReceived.
func (h header) loops(hostname string) bool {
	n := 0
	for _, f := range h.all("received") {
		words := strings.Fields(f.value())
		for i, word := range words[:max(len(words)-1, 0)] {
			if word == "by" && strings.EqualFold(words[i+1], hostname) {
				n++
				break
			}
		}
	}
	return n >= maxOwnReceived
}

// parseMailboxes reads the addresses of a From or Sender field: at least one.
func parseMailboxes(value string, utf8 bool) ([]queue.Address, error) {
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{
		// Display names are of no interest, so any charset will do.
		CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil },
	}}
	list, err := parser.ParseList(strings.ToValidUTF8(value, "?"))
	switch {
	case err != nil:
		return nil, errors.New("not a list of mailboxes")
	case len(list) == 0:
		return nil, errors.New("no mailbox")
	case len(list) > maxMailboxes:
		return nil, fmt.Errorf("more than %d mailboxes", maxMailboxes)
	}
	mailboxes := make([]queue.Address, len(list))
	for i, a := range list {
		if mailboxes[i], err = queue.FromUnquoted(a.Address, utf8); err != nil {
			return nil, err
		}
	}
	return mailboxes, nil
}

// complete does what RFC 6409, section 8 lets a submission server do: it adds a
// missing Date and Message-ID, and takes the blind copies out (RFC 5322, section
// 3.6.3).
func (h *header) complete(hostname string, now time.Time) {
	kept := h.fields[:0]
	for _, f := range h.fields {
		switch {
		case f.name == "bcc", f.name == "resent-bcc":
		case f.name == "message-id" && f.value() == "": // as good as missing
		default:
			kept = append(kept, f)
		}
	}
	h.fields = kept
	if len(h.all("date")) == 0 {
		h.add("Date", date(now))
	}
	if h.messageID() == "" {
		h.add("Message-ID", fmt.Sprintf("<%s@%s>", strings.ToLower(rand.Text()), hostname))
	}
}

func (h *header) add(name, value string) {
	h.fields = append(h.fields, field{strings.ToLower(name), []byte(name + ": " + value + "\r\n")})
}

// messageID is the message's identifier with its brackets, fit for the record;
// empty if it has none.
func (h header) messageID() string {
	for _, f := range h.all("message-id") {
		if id := printable(f.value(), maxMessageID); id != "" {
			return id
		}
	}
	return ""
}

// write writes the fields and the empty line.
func (h header) write(w io.Writer) error {
	for _, f := range h.fields {
		if _, err := w.Write(f.raw); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "\r\n")
	return err
}
