package queue

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"gateway/queue/relay"
)

// maxReported bounds the recipients that one bounce names; Failed says how many
// there were.
const maxReported = 200

// lostRecipient is somebody whom a message does not reach.
type lostRecipient struct {
	Recipient
	status relay.Status
}

// bounce makes the delivery status notification (RFC 3464) that tells the sender
// of m who does not get it. It goes out from the null reverse-path, so that
// nothing ever answers it, and by the route of m. The header of the original is
// returned, its body is not: it may be what was refused.
func (q *Queue) bounce(m message, h header, lost []lostRecipient, now time.Time) message {
	global := !ascii(m.from) || h.eightBit
	for _, r := range lost {
		global = global || !ascii(r.Address)
	}
	id := newID(now)
	messageID := "<" + id + "@" + q.cfg.Hostname + ">"
	b := bounceText{boundary: id + "-" + strings.ToLower(rand.Text()), utf8: global}
	b.head(q.cfg.Hostname, m, messageID, now)
	b.explain(q.cfg.Hostname, m, lost)
	b.report(q.cfg.Hostname, m, lost)
	b.original(h)
	content := b.buf.Bytes()
	return message{
		id: id, account: m.account, conn: m.conn, session: m.session, messageID: messageID, route: m.route,
		smtputf8: global, eightBit: !ascii7(content), size: int64(len(content)), accepted: now, next: now,
		recipients: []recipient{{Recipient: Recipient{Address: m.from}}}, content: content,
	}
}

// bounceText is a bounce while it is written.
type bounceText struct {
	buf      bytes.Buffer
	boundary string
	utf8     bool // RFC 6533 in place of RFC 3464
}

// line writes a line. Without UTF-8 other characters become question marks;
// control characters are never written.
func (b *bounceText) line(format string, args ...any) {
	for _, r := range fmt.Sprintf(format, args...) {
		switch {
		case control(r):
			b.buf.WriteByte(' ')
		case r > '~' && !b.utf8:
			b.buf.WriteByte('?')
		default:
			b.buf.WriteRune(r)
		}
	}
	b.buf.WriteString("\r\n")
}

func (b *bounceText) part(contentType string) {
	b.line("--%s", b.boundary)
	b.line("Content-Type: %s", contentType)
	if b.utf8 {
		b.line("Content-Transfer-Encoding: 8bit")
	}
	b.line("")
}

func (b *bounceText) head(hostname string, m message, messageID string, now time.Time) {
	b.line("From: Mail Delivery System <MAILER-DAEMON@%s>", hostname)
	b.line("To: <%s>", m.from)
	b.line("Subject: Undelivered mail returned to sender")
	b.line("Date: %s", now.Format(time.RFC1123Z))
	b.line("Message-ID: %s", messageID)
	if m.messageID != "" {
		b.line("References: %s", m.messageID)
	}
	b.line("Auto-Submitted: auto-replied")
	b.line("MIME-Version: 1.0")
	b.line("Content-Type: multipart/report; report-type=delivery-status;")
	b.line("\tboundary=%q", b.boundary)
	b.line("")
}

func (b *bounceText) explain(hostname string, m message, lost []lostRecipient) {
	b.part("text/plain; charset=utf-8")
	b.line("This is the mail gateway at %s.", hostname)
	b.line("")
	b.line("Your message of %s could not be delivered to", m.accepted.UTC().Format(time.RFC1123Z))
	b.line("%d of its recipients. It will not be tried again for them.", len(lost))
	b.line("")
	for _, r := range lost[:min(len(lost), maxReported)] {
		b.line("<%s>:", r.Address)
		if r.State == stateExpired {
			b.line("    given up after %d attempts; the last one said:", r.Attempts)
		}
		b.line("    %s", r.status)
	}
	if len(lost) > maxReported {
		b.line("and %d more.", len(lost)-maxReported)
	}
	b.line("")
}

// report is the part for programs (RFC 3464, section 2).
func (b *bounceText) report(hostname string, m message, lost []lostRecipient) {
	contentType, kind := "message/delivery-status", "rfc822"
	if b.utf8 {
		contentType, kind = "message/global-delivery-status", "utf-8"
	}
	b.part(contentType)
	b.line("Reporting-MTA: dns; %s", hostname)
	b.line("X-Queue-ID: %s", m.id)
	b.line("Arrival-Date: %s", m.accepted.UTC().Format(time.RFC1123Z))
	b.line("")
	for _, r := range lost[:min(len(lost), maxReported)] {
		b.line("Final-Recipient: %s; %s", kind, r.Address)
		b.line("Action: failed")
		b.line("Status: %s", finalStatus(r))
		if r.status.Code != 0 {
			b.line("Diagnostic-Code: smtp; %s", r.status)
		} else {
			b.line("Diagnostic-Code: x-gateway; %s", r.status)
		}
		b.line("Last-Attempt-Date: %s", r.Attempted.UTC().Format(time.RFC1123Z))
		b.line("")
	}
}

// finalStatus is the status code of a recipient that is given up: what could not
// be done in time has one of its own (RFC 3463, X.4.7).
func finalStatus(r lostRecipient) string {
	if r.State == stateExpired {
		return "4.4.7"
	}
	return r.status.Enhanced
}

func (b *bounceText) original(h header) {
	if b.utf8 {
		b.part("message/global-headers")
	} else {
		b.part("text/rfc822-headers")
	}
	for line := range bytes.Lines(h.raw) {
		b.buf.Write(bytes.TrimRight(line, "\r\n"))
		b.buf.WriteString("\r\n")
	}
	b.line("")
	b.line("--%s--", b.boundary)
}
