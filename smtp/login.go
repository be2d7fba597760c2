package smtp

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"gateway/session"
)

// The mechanisms that carry a password (RFC 4616, and draft-murchison-sasl-login
// for what printers and Outlook speak).
const (
	mechanismPlain = "PLAIN"
	mechanismLogin = "LOGIN"
)

// AuthMechanisms is what EHLO announces: nothing where the rules let no password
// be sent over this channel.
func (t *transaction) AuthMechanisms() []string {
	if t.conn.sess != nil || !t.conn.offersPassword() {
		return nil
	}
	return []string{mechanismPlain, mechanismLogin}
}

func (c *conn) offersPassword() bool {
	return slices.Contains(c.attempt.Methods(), session.MethodPassword)
}

// Auth begins an exchange.
func (t *transaction) Auth(mechanism string) (sasl.Server, error) {
	switch mechanism {
	case mechanismPlain:
		return &plainServer{login: t.conn}, nil
	case mechanismLogin:
		return &loginServer{login: t.conn}, nil
	default:
		return nil, replyMechanism.error()
	}
}

// authenticator is the part of conn that the mechanisms use. Its errors are
// replies.
type authenticator interface {
	// prompt asks whether anything may be asked for, before the first 334.
	prompt() error
	// claim asks whether the password of user may be asked for.
	claim(user string) error
	// offer proves user by password.
	offer(user, password string) error
}

// prompt refuses a login that would send a credential where it may not be sent,
// before the client does (DESIGN promise 2).
func (c *conn) prompt() error {
	if err := c.claim(""); err != nil {
		return err
	}
	if !c.offersPassword() {
		return replyMechanism.error()
	}
	return nil
}

func (c *conn) claim(user string) error {
	if err := c.attempt.Claim(c.ctx, user); err != nil {
		return c.loginError(err)
	}
	return nil
}

// offer gives the credential to the Gate, also one that came although it was not
// asked for: the Gate drops and records it.
func (c *conn) offer(user, password string) error {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	sess, err := c.attempt.Offer(ctx, session.Password(user, password))
	if err != nil {
		return c.loginError(err)
	}
	c.loggedIn(sess)
	return nil
}

func (c *conn) loginError(err error) *gosmtp.SMTPError {
	r := loginReply(err)
	if r.code == 421 {
		c.why = session.ErrTooMany
	}
	return r.error()
}

// plainServer is the server side of PLAIN (RFC 4616).
type plainServer struct{ login authenticator }

// Next gets nil at the beginning if there was no initial response.
func (p *plainServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return []byte{}, false, p.login.prompt()
	}
	user, password, err := decodePlain(response)
	if err != nil {
		return nil, false, err
	}
	if err := p.login.offer(user, password); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

// decodePlain takes a message of PLAIN apart: authzid NUL authcid NUL password.
// An authorization identity is accepted only if it is the user's own.
func decodePlain(message []byte) (user, password string, err error) {
	parts := bytes.Split(message, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 {
		return "", "", replyMalformedSASL.error()
	}
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return "", "", replyAuthorization.error()
	}
	return string(parts[1]), string(parts[2]), nil
}

// loginServer is the server side of LOGIN, with the user name in the initial
// response or asked for.
type loginServer struct {
	login authenticator
	user  string
	asked bool // for the user name
	named bool
}

var errLoginOver = errors.New("login: exchange is over")

// Next implements sasl.Server.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil && !l.asked:
		l.asked = true
		return []byte("Username:"), false, l.login.prompt()
	case l.login == nil:
		return nil, false, errLoginOver
	case !l.named:
		if len(response) == 0 || bytes.IndexByte(response, 0) >= 0 {
			return nil, false, replyMalformedSASL.error()
		}
		l.user, l.named = string(response), true
		// The name first, so that the record has it when the channel is refused.
		err := l.login.claim(l.user)
		if err == nil && !l.asked {
			err = l.login.prompt()
		}
		return []byte("Password:"), false, err
	default:
		login := l.login
		l.login = nil
		if err := login.offer(l.user, string(response)); err != nil {
			return nil, false, err
		}
		return nil, true, nil
	}
}
