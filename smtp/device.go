package smtp

import (
	"crypto/tls"
	"errors"
	"strings"

	gosmtp "github.com/emersion/go-smtp"

	"gateway/queue"
	"gateway/session"
)

// warningField tells the recipients of mail of a device that its time is nearly over.
const warningField = "X-Gateway-Warning"

// oldTLS is what a device is offered that has no TLS 1.2: base from TLS 1.0 on. The
// suites are written out, since Go's own choice leaves out those that such devices
// have: key exchange by RSA, CBC, and at last 3DES. They are in the order of
// preference of crypto/tls, and concern TLS 1.2 and below only. The keys of a
// certificate for them should be RSA.
func oldTLS(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.MinVersion = tls.VersionTLS10
	c.CipherSuites = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
	}
	return c
}

// tlsConfig is what the peer is offered in TLS.
func (c *conn) tlsConfig() *tls.Config {
	if c.attempt.OldTLS() && c.cfg.Protocol == session.Relay {
		return oldTLS(c.cfg.TLS)
	}
	return c.cfg.TLS
}

// enter lets in a peer that is about to send mail without a login, if it is a
// device. The error is the reply.
func (c *conn) enter() error {
	err := session.ErrDenied
	var sess *session.Session
	if c.cfg.Protocol == session.Relay {
		sess, err = c.attempt.Device(c.ctx)
	}
	switch hint := session.Hint(err); {
	case err == nil:
		c.loggedIn(sess)
		return nil
	case errors.Is(err, session.ErrTooMany):
		c.why = session.ErrTooMany
		return replyTooMany.error()
	case !errors.Is(err, session.ErrDenied):
		return replyOurFault.error()
	case hint != "":
		r := replyNeedsAuth
		r.text = printable(hint, maxHint)
		return r.error()
	case c.tls == nil && c.cfg.TLS != nil && !c.offers(session.MethodPassword) && !c.offers(session.MethodSCRAM):
		return replyNeedsTLS.error()
	default:
		return replyNeedsAuth.error()
	}
}

// device is what the session is held to; nothing if it is no device.
func (c *conn) device() session.Device {
	if c.sess == nil || c.sess.Device() == nil {
		return session.Device{}
	}
	return *c.sess.Device()
}

// maxBytes bounds a message of the session.
func (c *conn) maxBytes() int64 {
	if c.sess != nil {
		if own := c.sess.MessageBytes(); own != 0 {
			return min(own, c.cfg.MaxMessageBytes)
		}
	}
	return c.cfg.MaxMessageBytes
}

// lineEnds says what is done with line ends that are not CRLF.
func (c *conn) lineEnds() session.LineEnds {
	if ends := c.device().Lines; ends != session.LinesAsUsual || !c.cfg.RefuseBareLF {
		return ends
	}
	return session.LinesRefuse
}

// reversePath is who the message is from: what MAIL said, or the one address that a
// device sends from, whatever it said.
func (c *conn) reversePath(said string, options *gosmtp.MailOptions) (queue.Address, error) {
	if forced := c.device().Sender; forced != "" {
		said = forced
	}
	return queue.FromUnquoted(said, options.UTF8)
}

// ofDevice makes the header that of a device: its author is the one that it sends
// as, and nobody but us warns of its end. A From that says no more than that stays
// as it is, with its name for people.
func (h *header) ofDevice(d session.Device, warn, utf8 bool) {
	h.remove(warningField)
	if d.Sender != "" {
		if from := h.all("from"); len(from) != 1 || !onlyMailbox(from[0], d.Sender, utf8) {
			h.remove("From")
			h.add("From", "<"+d.Sender+">")
		}
		h.remove("Sender")
	}
	if warn {
		h.add(warningField, printable(d.Notice, maxHint))
	}
}

// onlyMailbox reports whether a field names the mailbox and no other.
func onlyMailbox(f field, mailbox string, utf8 bool) bool {
	list, err := parseMailboxes(f.value(), utf8)
	return err == nil && len(list) == 1 && strings.EqualFold(list[0].String(), mailbox)
}

// remove takes all fields of that name out.
func (h *header) remove(name string) {
	name = strings.ToLower(name)
	kept := h.fields[:0]
	for _, f := range h.fields {
		if f.name != name {
			kept = append(kept, f)
		}
	}
	h.fields = kept
}
