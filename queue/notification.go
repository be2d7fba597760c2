package queue

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"gateway/queue/relay"
)

const (
	// maxReported bounds the recipients that one notification names; it says how many
	// there were.
	maxReported = 200
	// maxReturned is the longest message that a bounce returns whole (RET=FULL); of a
	// longer one it has the header.
	maxReturned = 1 << 20
)

// notice is one recipient of whom the sender of a message is told.
type notice struct {
	recipient int
	about     string // the word of NOTIFY
	status    relay.Status
	remote    string // name of the host that it came from
	final     bool   // delivered to a mailbox, and not only handed on
}

// noticeOf is what the sender is told about a recipient after an attempt, if anything.
// handedOn says that the next host promised to tell about success.
func (m *message) noticeOf(number int, handedOn bool) (about string, wanted bool) {
	switch m.status.To[number].State {
	case stateDelivered:
		about = notifySuccess
	case stateFailed, stateExpired:
		about = notifyFailure
	default:
		return "", false
	}
	if m.From == "" || about == notifySuccess && handedOn {
		return about, false
	}
	return about, wants(m.envelope.To[number].Notify, about)
}

// notification is a delivery status notification on its way into the queue.
type notification struct {
	draft    *Draft
	envelope Envelope
	subject  string
	entry    *entry // once it is added to a batch
}

// Signature is the signatures of one message while it is written to it. It is used by
// one goroutine, which calls Close at the end.
type Signature interface {
	io.WriteCloser
	// Header ends the message and returns whole fields, to be put in front of it.
	Header() (string, error)
}

// sign begins the signatures of a notification of ours.
func (q *Queue) sign(r *report) (Signature, error) {
	if q.cfg.Sign == nil {
		return unsigned{io.Discard}, nil
	}
	return q.cfg.Sign(r.hostname, r.fields())
}

// unsigned is a Signature that is none.
type unsigned struct{ io.Writer }

func (unsigned) Header() (string, error) { return "", nil }
func (unsigned) Close() error            { return nil }

// notify makes the delivery status notification (RFC 3464) that tells the sender of
// m about recipients. It goes out from the null reverse-path, so that nothing ever
// answers it, and by the route of m. The caller discards the draft in the end.
func (q *Queue) notify(m *message, about string, told []notice, now time.Time) (*notification, error) {
	h, err := q.header(m)
	if err != nil && !isDamaged(err) {
		q.cfg.Log.Warn("header for a notification not read", "id", m.id(), "err", err)
	}
	d := q.Draft()
	n := &notification{draft: d, subject: wordsOf(about).subject}
	r := report{
		hostname: q.cfg.Hostname, message: m, about: about, told: told, header: h, id: d.ID(), now: now,
		expires: m.accepted().Add(q.cfg.Expire), boundary: d.ID() + "-" + strings.ToLower(rand.Text()),
	}
	if about == notifyFailure && m.Ret == "FULL" && m.Size <= maxReturned && err == nil {
		body, err := q.open(m)
		if err != nil {
			d.Discard()
			return nil, err
		}
		defer body.Close()
		r.whole = body
	}
	signatures, err := q.writeSigned(d, &r)
	if err != nil {
		d.Discard()
		return nil, fmt.Errorf("write the notification about %s: %w", m.id(), err)
	}
	n.envelope = Envelope{
		Header: signatures,
		To:     []EnvelopeRecipient{{Address: m.From, Notify: notifyNever}}, User: m.User, Conn: m.Conn, Session: m.Session,
		MessageID: r.messageID(), Route: m.Route, SMTPUTF8: r.utf8(), RequireTLS: m.RequireTLS,
	}
	return n, nil
}

// writeSigned writes a notification and returns its signatures.
func (q *Queue) writeSigned(w io.Writer, r *report) (string, error) {
	signature, err := q.sign(r)
	if err != nil {
		return "", err
	}
	defer signature.Close()
	if err := r.write(io.MultiWriter(w, signature)); err != nil {
		return "", err
	}
	return signature.Header()
}

// words are what differs between the kinds of notification.
type words struct{ subject, action, what string }

func wordsOf(about string) words {
	switch about {
	case notifySuccess:
		return words{"Mail delivered", "relayed", "was handed on for\n%d of its recipients. You asked to be told; whether they get it is not known here."}
	case notifyDelay:
		return words{"Mail delayed", "delayed", "waits for\n%d of its recipients. Nothing needs to be done: it is tried again until %s."}
	default:
		return words{"Undelivered mail returned to sender", "failed", "could not be delivered to\n%d of its recipients. It will not be tried again for them."}
	}
}

// report is a notification while it is written.
type report struct {
	hostname     string
	message      *message
	about        string
	told         []notice
	header       header
	whole        io.Reader // nil if only the header is returned
	id, boundary string
	now, expires time.Time

	out *bufio.Writer
}

func (r *report) messageID() string { return "<" + r.id + "@" + r.hostname + ">" }

// utf8 reports whether it is one of RFC 6533 in place of RFC 3464.
func (r *report) utf8() bool {
	global := !ascii(r.message.From) || r.header.eightBit
	for _, n := range r.told {
		global = global || !ascii(r.message.envelope.To[n.recipient].Address)
	}
	return global
}

// write writes the whole notification, with CRLF line ends.
func (r *report) write(w io.Writer) error {
	r.out = bufio.NewWriterSize(w, 4096)
	r.head()
	r.explain()
	r.status()
	if err := r.original(); err != nil {
		return err
	}
	return r.out.Flush()
}

// line writes a line. Without UTF-8 other characters become question marks;
// control characters are never written. An error stays with the writer.
func (r *report) line(format string, args ...any) {
	utf8 := r.utf8()
	for _, c := range fmt.Sprintf(format, args...) {
		switch {
		case control(c):
			_ = r.out.WriteByte(' ')
		case c > '~' && !utf8:
			_ = r.out.WriteByte('?')
		default:
			_, _ = r.out.WriteRune(c)
		}
	}
	_, _ = r.out.WriteString("\r\n")
}

func (r *report) part(contentType string) {
	r.line("--%s", r.boundary)
	r.line("Content-Type: %s", contentType)
	if r.utf8() || r.whole != nil && r.message.EightBit {
		r.line("Content-Transfer-Encoding: 8bit")
	}
	r.line("")
}

// fields are the names of those that head writes.
func (r *report) fields() []string {
	names := []string{"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
	if r.message.MessageID != "" {
		names = append(names, "References")
	}
	return names
}

func (r *report) head() {
	r.line("From: Mail Delivery System <MAILER-DAEMON@%s>", r.hostname)
	r.line("To: <%s>", r.message.From)
	r.line("Subject: %s", wordsOf(r.about).subject)
	r.line("Date: %s", r.now.Format(time.RFC1123Z))
	r.line("Message-ID: %s", r.messageID())
	if r.message.MessageID != "" {
		r.line("References: %s", r.message.MessageID)
	}
	r.line("Auto-Submitted: auto-replied")
	r.line("MIME-Version: 1.0")
	r.line("Content-Type: multipart/report; report-type=delivery-status;")
	r.out.WriteString("\tboundary=\"" + r.boundary + "\"\r\n")
	r.line("")
}

func (r *report) explain() {
	r.part("text/plain; charset=utf-8")
	r.line("This is the mail gateway at %s.", r.hostname)
	r.line("")
	first, second, _ := strings.Cut(wordsOf(r.about).what, "\n")
	r.line("Your message of %s %s", r.message.accepted().Format(time.RFC1123Z), first)
	if strings.Contains(second, "%s") {
		r.line(second, len(r.told), r.expires.UTC().Format(time.RFC1123Z))
	} else {
		r.line(second, len(r.told))
	}
	r.line("")
	for _, n := range r.told[:min(len(r.told), maxReported)] {
		p := r.message.status.To[n.recipient]
		r.line("<%s>:", r.message.envelope.To[n.recipient].Address)
		if p.State == stateExpired {
			r.line("    given up after %d attempts; the last one said:", p.Attempts)
		}
		r.line("    %s", p.Reply)
	}
	if len(r.told) > maxReported {
		r.line("and %d more.", len(r.told)-maxReported)
	}
	r.line("")
}

// status is the part for programs (RFC 3464, section 2).
func (r *report) status() {
	contentType := "message/delivery-status"
	if r.utf8() {
		contentType = "message/global-delivery-status"
	}
	r.part(contentType)
	if r.message.EnvID != "" {
		r.line("Original-Envelope-Id: %s", decodeXtext(r.message.EnvID))
	}
	r.line("Reporting-MTA: dns; %s", r.hostname)
	r.line("X-Queue-ID: %s", r.message.id())
	r.line("Arrival-Date: %s", r.message.accepted().Format(time.RFC1123Z))
	r.line("")
	for _, n := range r.told[:min(len(r.told), maxReported)] {
		r.recipient(n)
		r.line("")
	}
}

func (r *report) recipient(n notice) {
	to, p := r.message.envelope.To[n.recipient], r.message.status.To[n.recipient]
	if to.ORcpt != "" {
		kind, address, _ := strings.Cut(to.ORcpt, ";")
		r.line("Original-Recipient: %s; %s", kind, decodeXtext(address))
	}
	kind := "rfc822"
	if r.utf8() {
		kind = "utf-8"
	}
	r.line("Final-Recipient: %s; %s", kind, to.Address)
	action := wordsOf(r.about).action
	if n.about == notifySuccess && n.final {
		action = "delivered"
	}
	r.line("Action: %s", action)
	r.line("Status: %s", statusOf(n, p))
	diagnostic := "x-gateway"
	if n.status.Code != 0 {
		diagnostic = "smtp"
	}
	if n.status.Code != 0 && n.remote != "" {
		r.line("Remote-MTA: dns; %s", n.remote)
	}
	if p.Reply != "" {
		r.line("Diagnostic-Code: %s; %s", diagnostic, p.Reply)
	}
	if p.Attempted != 0 {
		r.line("Last-Attempt-Date: %s", fromMicros(p.Attempted).Format(time.RFC1123Z))
	}
	if n.about == notifyDelay {
		r.line("Will-Retry-Until: %s", r.expires.UTC().Format(time.RFC1123Z))
	}
}

// statusOf is the status code of a recipient: what could not be done in time has one
// of its own (RFC 3463, X.4.7), and so has what is not done yet.
func statusOf(n notice, p progress) string {
	switch {
	case p.State == stateExpired:
		return "4.4.7"
	case n.status.Enhanced == "":
		return "4.0.0"
	default:
		return n.status.Enhanced
	}
}

// original returns the message, or its header.
func (r *report) original() error {
	whole := r.whole != nil
	switch {
	case whole && r.utf8():
		r.part("message/global")
	case whole:
		r.part("message/rfc822")
	case r.utf8():
		r.part("message/global-headers")
	default:
		r.part("text/rfc822-headers")
	}
	var from io.Reader = bytes.NewReader(r.header.raw)
	if whole {
		from = r.whole
	}
	if err := writeLines(r.out, from); err != nil {
		return err
	}
	r.line("")
	r.line("--%s--", r.boundary)
	return nil
}

// writeLines copies text so that every line ends in CRLF and holds no other CR or LF.
func writeLines(w *bufio.Writer, from io.Reader) error {
	in := bufio.NewReaderSize(from, 4096)
	inLine := false
	for {
		piece, err := in.ReadSlice('\n')
		ended := bytes.HasSuffix(piece, []byte("\n"))
		text := bytes.TrimRight(piece, "\r\n")
		for _, c := range text {
			if c == '\r' {
				c = ' '
			}
			_ = w.WriteByte(c)
		}
		inLine = inLine || len(text) > 0
		if ended || err == io.EOF && inLine {
			_, _ = w.WriteString("\r\n")
			inLine = false
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}
