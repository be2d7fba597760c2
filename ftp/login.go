package ftp

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"gateway/session"
)

// userName takes a name. Where the rules refuse a credential over this channel
// it says so now, so that the password is never asked for; the connection stays
// open for AUTH TLS. The user before is logged out (RFC 959, section 4.1.1);
// PBSZ and PROT stay, since PHP sends them first.
func (c *conn) userName(ctx context.Context, user string) reply {
	c.logout()
	c.reset()
	if r, said := c.byCertificate(ctx, user); said {
		return r
	}
	switch err := c.attempt.Claim(ctx, user, session.MethodPassword); {
	case err == nil:
		c.user, c.state = user, named
		return reply{331, "Please specify the password."}
	case errors.Is(err, session.ErrInsecure):
		c.user, c.state = user, refused
		return loginReply(err)
	default:
		return c.loginFailed(err)
	}
}

// pass offers the password. One that comes although its name was refused is
// offered all the same: the Gate drops it unchecked and records that it crossed
// the network. One without a name proves nothing and goes nowhere.
func (c *conn) pass(ctx context.Context, password string) reply {
	user, before := c.user, c.state
	switch {
	case c.certified:
		return reply{202, "Already logged in by certificate."}
	case before != named && before != refused:
		return replySequence
	}
	c.user, c.state = "", fresh
	sess, err := c.attempt.Offer(ctx, session.Password(user, password))
	switch {
	case err != nil && before == refused && errors.Is(err, session.ErrInsecure):
		return replySequence
	case err != nil:
		return c.loginFailed(err)
	case before == refused: // the rules changed with the time; the name was not asked for
		c.attempt.Logout(nil)
		return replySequence
	}
	return c.enter(ctx, sess, reply{230, "Login successful."})
}

// enter begins the session that a login was granted.
func (c *conn) enter(ctx context.Context, sess *session.Session, welcome reply) reply {
	files, err := c.cfg.Files(ctx, sess)
	if err != nil {
		c.log.Error("open files", "user", sess.Identity().User, "err", err)
		c.attempt.Logout(err)
		return c.loginFailed(session.ErrUnavailable)
	}
	c.sess, c.files, c.state = sess, files, ready
	c.unwatch = sess.AfterDone(c.bell.ring)
	c.lastTransfer = time.Now()
	if notice := sess.Notice(); notice != "" {
		welcome.text = oneLine(notice) + "\n" + welcome.text
	}
	return welcome
}

// byCertificate logs in who showed a certificate whose key the account has: that is the
// credential, and if it is enough no password is asked for (232: RFC 2228, section 5).
// Whatever else is wrong with it, the answer is that of a client without one.
func (c *conn) byCertificate(ctx context.Context, user string) (r reply, said bool) {
	key, shown := c.certificate()
	if !shown || !c.attempt.Knows(ctx, user, key).Known {
		return none, false
	}
	sess, err := c.attempt.Offer(ctx, session.PublicKey(user, key))
	switch {
	case err == nil:
		r = c.enter(ctx, sess, reply{232, "Logged in by certificate."})
		c.certified = c.state == ready
		return r, true
	case errors.Is(err, session.ErrTooMany), errors.Is(err, session.ErrUnavailable), errors.Is(err, session.ErrDropped):
		return c.loginFailed(err), true
	default:
		return none, false
	}
}

// loginFailed is the reply to a login that was not granted; a 421 closes.
func (c *conn) loginFailed(err error) reply {
	r := loginReply(err)
	if r.code == 421 {
		c.cause = err
	}
	return r
}

// logout ends the session, if there is one. The time to log in begins anew.
func (c *conn) logout() {
	if c.files != nil {
		_ = c.files.Close()
	}
	if c.sess != nil {
		c.unwatch()
		c.began = time.Now()
	}
	c.attempt.Logout(nil)
	c.sess, c.files, c.user, c.state, c.certified = nil, nil, "", fresh, false
}

// rein starts over, but keeps TLS: RFC 4217 would have the connection revert to
// clear text, which no client in use asks for and which only helps whoever
// listens.
func (c *conn) rein(context.Context, string) reply {
	c.logout()
	c.reset()
	c.pbsz, c.private = false, c.cfg.Implicit
	return reply{220, "Service ready for new user."}
}

// auth agrees to TLS (RFC 4217, section 4). The old names SSL and TLS-P include
// the protection of data connections.
func (c *conn) auth(_ context.Context, mechanism string) reply {
	var private bool
	switch strings.ToUpper(mechanism) {
	case "TLS", "TLS-C":
	case "SSL", "TLS-P":
		private = true
	default:
		return replyParameter
	}
	switch {
	case c.cfg.TLS == nil:
		return reply{502, "TLS is not configured."}
	case c.tls != nil:
		return reply{534, "The connection is already secured."}
	}
	c.private = private
	return reply{234, "Proceed with TLS negotiation."}
}

// pbszCmd: under TLS the size is always 0 (RFC 4217, section 9).
func (c *conn) pbszCmd(_ context.Context, arg string) reply {
	if c.tls == nil {
		return replySequence
	}
	if _, err := strconv.ParseUint(arg, 10, 32); err != nil {
		return replySyntax
	}
	c.pbsz = true
	return reply{200, "PBSZ=0"}
}

// ccc lets the control connection go back to clear text, where a rule allows the
// session to (RFC 2228, section 3; RFC 4217, section 4.6): some firewalls follow
// FTP only if they can read it. Data connections stay as they are.
func (c *conn) ccc(context.Context, string) reply {
	switch {
	case !c.secured():
		return reply{533, "The control connection is not encrypted."}
	case c.sess == nil || !c.sess.Data().ClearControl:
		return reply{534, "Clearing the control channel is not allowed."}
	default:
		return reply{200, "Control connection goes on in clear."}
	}
}

func (c *conn) prot(_ context.Context, level string) reply {
	if c.tls == nil || !c.pbsz {
		return replySequence
	}
	switch strings.ToUpper(level) {
	case "P":
		c.private = true
		return reply{200, "PROT now Private."}
	case "C": // by the rules, which are known once it is known who asks
		if c.sess == nil || !c.sess.Data().ClearData {
			return reply{534, "Data connections must be encrypted."}
		}
		c.private = false
		return reply{200, "PROT now Clear."}
	case "S", "E":
		return reply{536, "Protection level not supported."}
	default:
		return replyParameter
	}
}
