package smtp

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"gateway/session"
)

// trace is the Received field that the message gets from us (RFC 5321, section
// 4.4), with its id in the queue.
func (c *conn) trace(id string, now time.Time) string {
	var b strings.Builder
	b.WriteString("Received: ")
	if !c.cfg.HideSource {
		fmt.Fprintf(&b, "from %s (%s)\r\n\t", strings.ReplaceAll(c.helo, "?", "-"), literal(c.attempt.Peer().Remote.Addr().WithZone("").String()))
	}
	fmt.Fprintf(&b, "by %s with %s", c.cfg.Hostname, c.with())
	if c.tls != nil {
		state := c.tls.ConnectionState()
		fmt.Fprintf(&b, "\r\n\t(%s %s)", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
	}
	fmt.Fprintf(&b, "\r\n\tid %s;\r\n\t%s\r\n", id, date(now))
	return b.String()
}

// with names the protocol (RFC 3848; RFC 6531, section 4.3).
func (c *conn) with() string {
	name := "SMTP"
	switch {
	case c.tx.utf8:
		name = "UTF8SMTP"
	case c.extended, c.tls != nil:
		name = "ESMTP"
	}
	if c.tls != nil {
		name += "S"
	}
	if name == "SMTP" || c.sess.Method() == session.MethodDevice {
		return name // AUTH without EHLO has no name of its own
	}
	return name + "A"
}

// literal is an address as RFC 5321, section 4.1.3 writes it.
func literal(ip string) string {
	if strings.Contains(ip, ":") {
		return "[IPv6:" + ip + "]"
	}
	return "[" + ip + "]"
}

// date is a time as RFC 5322, section 3.3 writes it.
func date(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700") }
