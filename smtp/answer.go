package smtp

import (
	"strconv"
	"strings"

	"gateway/session"
)

// rewording is a reply of go-smtp that is sent in our words, because the code is
// not the one that the RFC asks for, or because it would echo what the peer sent.
type rewording struct {
	after  verb   // the command answered; empty for any
	prefix string // how go-smtp's line begins
	reply  reply
}

// rewordings is the table of them; the first that fits counts.
func rewordings() []rewording {
	return []rewording{
		{"MAIL", "250 ", replySenderOK},
		{"RCPT", "250 ", replyRecipientOK},
		{"AUTH", "235 ", replyAuthSucceeded},
		{"AUTH", "454 4.7.0 Invalid base64", replyMalformedSASL},
		{"AUTH", "502 ", replyMechanism},
		{"RCPT", "452 4.5.3 Maximum", replyTooManyRcpt},
		{"MAIL", "500 5.5.4 Unknown", replyParameter},
		{"RCPT", "500 5.5.4 Unknown", replyParameter},
		{"MAIL", "504 ", replyParameterValue},
		{"RCPT", "504 ", replyParameterValue},
		{"MAIL", "501 5.5.", replyMalformedArg},
		{"RCPT", "501 5.5.", replyMalformedArg},
		{"MAIL", "500 ", replyMalformedArg},
		{"RCPT", "500 ", replyMalformedArg},
		{"", "421 4.0.0 Internal", replyPanic},
	}
}

// repair returns a line of go-smtp's reply as the peer shall see it, and whether
// it is the last of the reply. An empty line is not sent.
func (c *conn) repair(w *wire, line string) (repaired string, final bool) {
	if len(line) < 4 {
		return "", true // never sent by go-smtp
	}
	final = line[3] == ' '
	switch {
	case w.last == "EHLO" && strings.HasPrefix(line, "250"):
		if strings.HasPrefix(line[4:], "Hello ") {
			// RFC 5321, section 4.1.1.1: the reply begins with our name, not the peer's.
			line = line[:4] + c.cfg.Hostname
			if c.tls != nil { // go-smtp does not know that it is above TLS
				line += "\r\n250-REQUIRETLS"
			}
		}
		return line, final
	case w.last == "HELO" && strings.HasPrefix(line, "250 "):
		return "250 " + c.cfg.Hostname, true
	case w.last == "BDAT" && strings.HasPrefix(line, "354"):
		return "", true // the chunk is under way already
	}
	for _, r := range c.rewordings {
		if (r.after == "" || r.after == w.last) && strings.HasPrefix(line, r.prefix) {
			return strings.TrimSuffix(r.reply.String(), "\r\n"), final
		}
	}
	return line, final
}

// answered follows the state by the last line of a reply of go-smtp.
func (c *conn) answered(w *wire, line string) {
	code := 0
	if len(line) >= 3 {
		code, _ = strconv.Atoi(line[:3])
	}
	switch {
	case code == 421:
		cause := c.causeOr(session.ErrProtocol)
		if line+"\r\n" == replyPanic.String() {
			cause = session.ErrPanic // go-smtp recovered, and logs it after this reply
		}
		_ = w.fail(cause, reply{})
		return
	case w.last == "DATA" || w.last == "BDAT":
		if strings.HasPrefix(line, "354") || line == "" {
			return
		}
		c.state = greeted
		if code == 250 {
			c.errors, c.idle, c.surplus = 0, 0, 0
		}
	case code == 250:
		c.advance(w.last)
	case code == 334:
		w.exchange = true
		return
	case code == 235:
		c.errors, c.idle = 0, 0
	case code == 221:
		c.quit = true
	}
	if !w.swallow {
		c.count(w, code)
	}
}

// advance is the state after an accepted command.
func (c *conn) advance(name verb) {
	switch name {
	case "EHLO", "HELO":
		c.state = greeted
	case "RSET":
		if c.state != fresh {
			c.state = greeted
		}
	case "MAIL":
		c.state = begun
	case "RCPT":
		c.state = addressed
	}
}

// count hangs up after too many refusals.
func (c *conn) count(w *wire, code int) {
	if code < 400 || w.mute {
		return
	}
	if w.last == "RCPT" && code == replyTooManyRcpt.code && c.surplus < c.cfg.MaxRecipients {
		c.surplus++ // the peer will send the others a message of their own
		return
	}
	c.errors++
	if c.errors >= maxErrors {
		_ = w.fail(session.ErrProtocol, replyTooManyErrors)
	}
}
