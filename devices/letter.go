package devices

import (
	"bytes"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/netip"
	"strings"
	"time"
)

// letter is one reminder.
type letter struct {
	ending   Ending
	days     int
	hostname string
	now      time.Time
}

// messageID is the same whenever the same reminder is written.
func (l letter) messageID() string {
	return fmt.Sprintf("<%s-%d-%d@%s>", l.ending.id, l.ending.Expires.Unix(), l.days, l.domain())
}

// domain is the host name as it stands behind an "@" (RFC 5321, section 4.1.3).
func (l letter) domain() string {
	ip, err := netip.ParseAddr(l.hostname)
	switch {
	case err != nil:
		return l.hostname
	case ip.Is4():
		return "[" + l.hostname + "]"
	default:
		return "[IPv6:" + l.hostname + "]"
	}
}

// text is the message, with CRLF line ends.
func (l letter) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Mail gateway <postmaster@%s>\r\n", l.domain())
	fmt.Fprintf(&b, "To: <%s>\r\n", l.ending.Owner)
	fmt.Fprintf(&b, "Subject: %s\r\n", mime.QEncoding.Encode("utf-8", l.ending.subject))
	fmt.Fprintf(&b, "Date: %s\r\n", l.now.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	fmt.Fprintf(&b, "Message-ID: %s\r\n", l.messageID())
	b.WriteString("Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	body := quotedprintable.NewWriter(&b)
	// Writing to a buffer cannot fail.
	_, _ = body.Write([]byte(strings.ReplaceAll(l.body(), "\n", "\r\n")))
	_ = body.Close()
	return b.Bytes()
}

func (l letter) body() string {
	if l.ending.body == nil {
		return ""
	}
	left := "less than a day"
	if n := int(l.ending.Expires.Sub(l.now) / day); n > 0 {
		left = fmt.Sprintf("%d days", n)
	}
	return l.ending.body(l.hostname, left) + "\nThis is sent 30, 14 and 3 days before the end.\n"
}
