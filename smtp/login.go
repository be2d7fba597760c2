package smtp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"gateway/session"
)

// The mechanisms: RFC 7677 and RFC 5802, RFC 4616, draft-murchison-sasl-login for
// what printers and Outlook speak, and RFC 4422, appendix A.
const (
	mechanismBound    = "SCRAM-SHA-256-PLUS"
	mechanismSCRAM    = "SCRAM-SHA-256"
	mechanismPlain    = "PLAIN"
	mechanismLogin    = "LOGIN"
	mechanismExternal = "EXTERNAL"
)

// AuthMechanisms is what EHLO announces: nothing where the rules let nobody log in
// over this channel. EXTERNAL is for whoever showed a certificate, known or not.
func (t *transaction) AuthMechanisms() []string {
	c := t.conn
	if c.sess != nil {
		return nil
	}
	var list []string
	for _, m := range c.attempt.Methods() {
		switch m {
		case session.MethodSCRAM:
			if len(c.bindings()) > 0 {
				list = append(list, mechanismBound)
			}
			list = append(list, mechanismSCRAM)
		case session.MethodPassword:
			list = append(list, mechanismPlain, mechanismLogin)
		case session.MethodPublicKey:
			if _, shown := c.certificate(); shown {
				list = append(list, mechanismExternal)
			}
		}
	}
	return list
}

func (c *conn) offers(m session.Method) bool { return slices.Contains(c.attempt.Methods(), m) }

// Auth begins an exchange.
func (t *transaction) Auth(mechanism string) (sasl.Server, error) {
	switch mechanism {
	case mechanismPlain:
		return &plainServer{login: t.conn}, nil
	case mechanismLogin:
		return &loginServer{login: t.conn}, nil
	case mechanismSCRAM, mechanismBound:
		return &scramServer{login: t.conn, bound: mechanism == mechanismBound}, nil
	case mechanismExternal:
		return &externalServer{login: t.conn}, nil
	default:
		return nil, replyMechanism.error()
	}
}

// authenticator is the part of conn that the mechanisms use. Its errors are
// replies.
type authenticator interface {
	// prompt asks whether a proof by m may be asked for, before the first 334.
	prompt(m session.Method) error
	// claim asks whether a proof of user by m may be asked for.
	claim(user string, m session.Method) error
	// offer proves who somebody is. Of an exchange it speaks to the end, its final
	// message included.
	offer(c session.Credential) error
	// ask sends a challenge and waits for the response.
	ask(challenge string) (response string, err error)
	// bindings are session.Exchange.Bindings.
	bindings() map[string][]byte
	// certified is the key of the certificate that the peer showed, and the name in it.
	certified() (key session.Key, name string, ok bool)
}

// prompt refuses a login that would send a credential where it may not be sent,
// before the client does (DESIGN promise 2).
func (c *conn) prompt(m session.Method) error {
	if err := c.claim("", m); err != nil {
		return err
	}
	if !c.offers(m) {
		return replyMechanism.error()
	}
	return nil
}

func (c *conn) claim(user string, m session.Method) error {
	if err := c.attempt.Claim(c.ctx, user, m); err != nil {
		return c.loginError(err)
	}
	return nil
}

// offer gives the credential to the Gate, also one that came although it was not
// asked for: the Gate drops and records it.
func (c *conn) offer(credential session.Credential) error {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	sess, err := c.attempt.Offer(ctx, credential)
	if err != nil {
		return c.loginError(err)
	}
	if x := credential.Exchange; x != nil {
		// RFC 4954, section 4: what the server says at last is a challenge, too, and is
		// answered with nothing.
		if answer, err := c.ask(x.Final); err != nil || answer != "" {
			c.attempt.Logout(session.ErrAborted)
			return replyExchangeOver.error()
		}
	}
	c.loggedIn(sess)
	return nil
}

// ask is a challenge beside go-smtp, which waits meanwhile for what comes of the
// exchange.
func (c *conn) ask(challenge string) (response string, err error) {
	c.wire.put("334 " + base64.StdEncoding.EncodeToString([]byte(challenge)) + "\r\n")
	line, err := c.wire.readLine(maxAuthLine)
	if err != nil {
		return "", fmt.Errorf("%w: %w", session.ErrAborted, err)
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimRight(string(line), "\r\n"))
	if err != nil { // "*", for example
		return "", session.ErrAborted
	}
	return string(decoded), nil
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
		return []byte{}, false, p.login.prompt(session.MethodPassword)
	}
	user, password, err := decodePlain(response)
	if err != nil {
		return nil, false, err
	}
	if err := p.login.offer(session.Password(user, password)); err != nil {
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
		return []byte("Username:"), false, l.login.prompt(session.MethodPassword)
	case l.login == nil:
		return nil, false, errLoginOver
	case !l.named:
		if len(response) == 0 || bytes.IndexByte(response, 0) >= 0 {
			return nil, false, replyMalformedSASL.error()
		}
		l.user, l.named = string(response), true
		// The name first, so that the record has it when the channel is refused.
		err := l.login.claim(l.user, session.MethodPassword)
		if err == nil && !l.asked {
			err = l.login.prompt(session.MethodPassword)
		}
		return []byte("Password:"), false, err
	default:
		login := l.login
		l.login = nil
		if err := login.offer(session.Password(l.user, string(response))); err != nil {
			return nil, false, err
		}
		return nil, true, nil
	}
}

// scramServer is the server side of SCRAM-SHA-256 and its -PLUS, as far as the
// protocol goes: who verifies the proof speaks through authenticator.ask.
type scramServer struct {
	login authenticator
	bound bool
}

// Next implements sasl.Server.
func (s *scramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return []byte{}, false, s.login.prompt(session.MethodSCRAM)
	}
	credential, ok := session.SCRAM(&session.Exchange{
		First: string(response), Bound: s.bound, Bindings: s.login.bindings(), Ask: s.login.ask,
	})
	if !ok {
		return nil, false, replyMalformedSASL.error()
	}
	return nil, true, s.login.offer(credential)
}

// externalServer is the server side of EXTERNAL: the certificate that the peer
// showed in the handshake is its proof, the name that it says is its claim. Without
// one it is the common name in the certificate.
type externalServer struct{ login authenticator }

// Next implements sasl.Server.
func (e *externalServer) Next(response []byte) (challenge []byte, done bool, err error) {
	key, name, shown := e.login.certified()
	switch {
	case !shown:
		return nil, false, replyMechanism.error()
	case response == nil:
		return []byte{}, false, e.login.prompt(session.MethodPublicKey)
	case len(response) > 0:
		name = string(response)
	}
	if name == "" || strings.ContainsRune(name, 0) {
		return nil, false, replyMalformedSASL.error()
	}
	return nil, true, e.login.offer(session.PublicKey(name, key))
}

// certified implements authenticator.
func (c *conn) certified() (key session.Key, name string, ok bool) {
	if key, ok = c.certificate(); ok {
		name = c.tls.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	return key, name, ok
}

// certificate is the key of the certificate that the peer showed, if that is valid
// now.
func (c *conn) certificate() (session.Key, bool) {
	if c.tls == nil {
		return session.Key{}, false
	}
	shown := c.tls.ConnectionState().PeerCertificates
	if len(shown) == 0 {
		return session.Key{}, false
	}
	if now := time.Now(); now.Before(shown[0].NotBefore) || now.After(shown[0].NotAfter) {
		return session.Key{}, false
	}
	return session.CertificateKey(shown[0]), true
}
