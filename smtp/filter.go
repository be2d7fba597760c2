package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"gateway/session"
)

// A Filter looks at a message before it goes into the queue, and may change, hold
// or refuse it. Package milter has one. It may be called from many goroutines, each
// with a message of its own.
type Filter interface {
	// Filter returns nil if the message may go on, as it left m. A *Rejection is
	// answered in its own words; any other error is a fault of ours, and the message
	// is deferred.
	Filter(ctx context.Context, m *Message) error
}

// Rejection is a refusal by a Filter.
type Rejection struct {
	// Code is the reply's, from 400 to 599, Enhanced the enhanced code of the same
	// class, Text what the peer reads, of printable ASCII. What is not so is put right.
	Code     int
	Enhanced string
	Text     string
	// Reason is for the record.
	Reason string
}

func (r *Rejection) Error() string { return r.Reason }

// reply is the rejection as it is sent.
func (r *Rejection) reply() reply {
	out := reply{r.Code, r.Enhanced, printable(r.Text, maxHint)}
	if out.code < 400 || out.code > 599 {
		out = replyFiltered
	}
	var class, subject, detail int
	if n, err := fmt.Sscanf(out.enhanced, "%d.%d.%d", &class, &subject, &detail); n != 3 || err != nil || class != out.code/100 {
		out.enhanced = fmt.Sprintf("%d.7.1", out.code/100)
	}
	if out.text == "" {
		out.text = replyFiltered.text
	}
	return out
}

// Message is a message as a Filter sees it: its header is complete, its lines end
// in CRLF, its blind copies are gone, and our own trace field is not in it yet. It
// is used by one goroutine.
type Message struct {
	// ID is the queue id that it will have, Hostname our name.
	ID, Hostname string
	// Peer is where it came from, User and Method who logged in and how, Helo the
	// peer's name for itself, cleaned. TLS is nil in clear.
	Peer   session.Peer
	User   string
	Method session.Method
	Helo   string
	TLS    *tls.ConnectionState
	// From is the reverse-path, To the forward-paths. A change of them is not looked
	// at: who may get mail is for the rules to say.
	From     string
	To       []string
	SMTPUTF8 bool

	// Header may be changed. What cannot be a field makes the message refused.
	Header []Field
	// MaxBytes bounds the message as the filter leaves it.
	MaxBytes int64
	// Hold keeps the message in the queue until somebody releases it, for this reason.
	Hold string

	body spool
}

// Field is a header field.
type Field struct {
	Name string
	// Value is what stands behind the colon, the blank included, with CRLF where it is
	// folded and none at its end.
	Value string
}

// Body reads the body from its beginning.
func (m *Message) Body() io.Reader { return m.body.reader() }

// ReplaceBody puts another body in place of the one that there is. Bare LFs in it
// become CRLF; a bare CR or a NUL is an error.
func (m *Message) ReplaceBody(r io.Reader) error {
	next := spool{dir: m.body.dir}
	if err := next.fill(r, m.MaxBytes); err != nil {
		next.close()
		if r, ok := errors.AsType[*refusal](err); ok {
			err = errors.New(r.detail) // the peer is not to blame for it
		}
		return err
	}
	m.body.close()
	m.body = next
	return nil
}

// filterTimeout bounds what all filters together may take for a message: its sender
// waits for 10 minutes (RFC 5321, section 4.5.3.2.6).
const filterTimeout = 5 * time.Minute

// filter has the filters look at a message. What it returns instead of h and body
// is what goes on; body is valid until done is called.
func (c *conn) filter(ctx context.Context, h header, body *bufio.Reader, id string) (f filtered, err error) {
	if len(c.cfg.Filters) == 0 {
		return filtered{header: h, body: body, done: func() {}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, filterTimeout)
	defer cancel()
	m := c.message(h, id)
	f.done = func() { m.body.close() }
	defer func() {
		if err != nil {
			f.done()
		}
	}()
	if _, err := io.Copy(&m.body, body); err != nil {
		return f, err
	}
	for _, filter := range c.cfg.Filters {
		if err := filter.Filter(ctx, m); err != nil {
			return f, rejected(err)
		}
	}
	if f.header, err = newHeader(m.Header); err != nil {
		return f, fmt.Errorf("header as the filters left it: %v", err) // no refusal: it is not the peer's fault
	}
	f.body, f.hold = m.Body(), m.Hold
	return f, nil
}

// filtered is a message that the filters let pass.
type filtered struct {
	header header
	body   io.Reader
	hold   string
	done   func() // gives the body back
}

// message is what the filters see.
func (c *conn) message(h header, id string) *Message {
	m := &Message{
		ID: id, Hostname: c.cfg.Hostname, Peer: c.attempt.Peer(), User: c.sess.Identity().User, Method: c.sess.Method(),
		Helo: c.helo, From: c.tx.from.String(), To: c.tx.to, SMTPUTF8: c.tx.utf8,
		MaxBytes: c.cfg.MaxMessageBytes, body: spool{dir: c.cfg.SpoolDir},
	}
	if c.tls != nil {
		state := c.tls.ConnectionState()
		m.TLS = &state
	}
	for _, f := range h.fields {
		name, value, _ := strings.Cut(string(f.raw), ":")
		m.Header = append(m.Header, Field{strings.TrimRight(name, " \t"), strings.TrimSuffix(value, "\r\n")})
	}
	return m
}

// rejected makes a refusal of a rejection.
func rejected(err error) error {
	if r, ok := errors.AsType[*Rejection](err); ok {
		return &refusal{r.reply(), r.Reason}
	}
	return fmt.Errorf("filter: %w", err)
}

// newHeader makes a header of fields that a filter may have changed. It is as
// strict as with what a peer sends.
func newHeader(fields []Field) (header, error) {
	var raw bytes.Buffer
	for _, f := range fields {
		if strings.ContainsAny(f.Name, ":\r\n") {
			return header{}, refused(replyHeader, "field name %q", printable(f.Name, maxHint))
		}
		if strings.Contains(f.Value+"\r\n", "\r\n\r\n") {
			return header{}, refused(replyHeader, "field %s has an empty line", printable(f.Name, maxHint))
		}
		raw.WriteString(f.Name + ":" + f.Value + "\r\n")
	}
	raw.WriteString("\r\n")
	l := lines{limit: maxHeaderBytes}
	content := l.append(nil, raw.Bytes())
	if l.bad != nil {
		return header{}, l.bad
	}
	h, err := readHeader(bufio.NewReader(bytes.NewReader(content)))
	if err == nil && len(h.fields) != len(fields) {
		err = refused(replyHeader, "%d fields became %d", len(fields), len(h.fields))
	}
	return h, err
}

// author is the domain of the first mailbox of From; empty if there is none.
func (h header) author(utf8 bool) string {
	for _, f := range h.all("from") {
		if list, err := parseMailboxes(f.value(), utf8); err == nil {
			return list[0].Domain()
		}
	}
	return ""
}

// names are the names of the fields, in order.
func (h header) names() []string {
	list := make([]string, len(h.fields))
	for i, f := range h.fields {
		list[i] = f.name
	}
	return list
}
