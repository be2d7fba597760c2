package devices

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/netip"
	"strings"
	"time"

	"gateway/policies"
)

// letter is one reminder.
type letter struct {
	device   policies.DeviceInfo
	days     int
	hostname string
	now      time.Time
}

// messageID is the same whenever the same reminder is written.
func (l letter) messageID() string {
	if l.device.Requirement != "" { // its names may be any text
		sum := sha256.Sum256([]byte(key(l.device)))
		return fmt.Sprintf("<exempt-%x-%d-%d@%s>", sum[:8], l.device.Expires.Unix(), l.days, l.domain())
	}
	return fmt.Sprintf("<device-%s-%d-%d@%s>", l.device.Name, l.device.Expires.Unix(), l.days, l.domain())
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
	d := l.device
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Mail gateway <postmaster@%s>\r\n", l.domain())
	fmt.Fprintf(&b, "To: <%s>\r\n", d.Owner)
	fmt.Fprintf(&b, "Subject: %s\r\n", mime.QEncoding.Encode("utf-8", l.subject()))
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

func (l letter) subject() string {
	if l.device.Requirement != "" {
		return fmt.Sprintf("The exemption %s ends on %s", l.device.Name, l.device.LastDay)
	}
	return fmt.Sprintf("Device %s is let in until %s", l.device.Name, l.device.LastDay)
}

func (l letter) body() string {
	d := l.device
	left := "less than a day"
	if n := int(d.Expires.Sub(l.now) / day); n > 0 {
		left = fmt.Sprintf("%d days", n)
	}
	if d.Requirement != "" {
		return l.bodyOfExempt(left)
	}
	who := ""
	if d.User != "" {
		who = "\nIt logs in as:   " + d.User
	}
	return fmt.Sprintf(`You answer for the device %s, which sends mail through %s by way of an
exception. The exception ends on %s (UTC), %s from now. From then on
its mail is refused.

Where it is:     %s%s
What is waived:  %s
Why:             %s

What can be done:

- Update, set up or replace the device, so that it logs in over TLS 1.2 or later
  (ports 465 and 587). Then it needs no exception.
- If it no longer sends, have the exception removed.
- If it is still needed as it is, ask the administrator of the gateway for a later
  end, at most 180 days ahead.

This is sent 30, 14 and 3 days before the end.
`, d.Name, l.hostname, d.LastDay, left, strings.Join(d.From, ", "), who, strings.Join(d.Allow, ", "), d.Because)
}

func (l letter) bodyOfExempt(left string) string {
	d := l.device
	whom := ""
	if d.User != "" {
		whom = "\nFor whom:        " + d.User
	}
	where := ""
	if len(d.From) > 0 {
		where = "\nFrom where:      " + strings.Join(d.From, ", ")
	}
	return fmt.Sprintf(`You answer for an exemption from a rule of %s: %s. It ends on %s
(UTC), %s from now. From then on the rule holds, and logins that do not keep
it are refused.

The rule:        %s%s%s
Why:             %s

What can be done:

- Change what logs in, so that it keeps the rule. Then it needs no exemption.
- If it no longer logs in, have the exemption removed.
- If it is still needed, ask the administrator of the gateway for a later end.

This is sent 30, 14 and 3 days before the end.
`, l.hostname, d.Name, d.LastDay, left, d.Requirement, whom, where, d.Because)
}
