package relay

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"gateway/queue/relay/oauth"
	"gateway/session"
)

// maxChallenges bounds one login.
const maxChallenges = 4

// Auth is how to log in at a smart host. The zero Auth is none.
type Auth struct {
	User string
	// Password is for PLAIN (RFC 4616) and LOGIN, whichever the host has.
	Password session.Secret
	// Tokens is for XOAUTH2, in place of Password.
	Tokens *oauth.Source
}

// IsZero reports whether there is nothing to log in with.
func (a Auth) IsZero() bool { return a == Auth{} }

// mechanism is one way to log in: the initial response, and the answers to the
// challenges that follow. Further challenges are answered with nothing, which
// ends an exchange that has gone wrong.
type mechanism struct {
	name    string
	initial string // "" to send none
	answers []string
}

// plainMechanisms are those for a password, the best first.
func plainMechanisms(user, password string) []mechanism {
	return []mechanism{
		{name: "PLAIN", initial: "\x00" + user + "\x00" + password},
		{name: "LOGIN", answers: []string{user, password}},
	}
}

func xoauth2(user, token string) mechanism {
	return mechanism{name: "XOAUTH2", initial: "user=" + user + "\x01auth=Bearer " + token + "\x01\x01"}
}

// login authenticates us. A refusal is never final for a message: the operator
// has to look, and the text is for them.
func (c *conn) login(ctx context.Context, timeout time.Duration, a Auth) error {
	if !c.verified {
		return deferred("4.7.11", "login: credentials are sent only over TLS with a verified certificate")
	}
	if strings.ContainsAny(a.User, "\x00\x01\r\n") {
		return deferred("4.7.8", "login: the user name has a control character")
	}
	if a.Tokens == nil {
		return c.loginPassword(timeout, a)
	}
	if !slices.Contains(c.ext.auth, "XOAUTH2") {
		return deferred("4.7.8", "login: the host does not offer XOAUTH2")
	}
	token, err := a.Tokens.Token(ctx)
	if err != nil {
		return deferred("4.7.8", "login as %q: %s", a.User, err)
	}
	refusal, err := c.authenticate(timeout, a.User, token, xoauth2(a.User, token.Reveal()))
	if refusal == nil || err != nil || refusal.status.Code/100 != 5 {
		return orNil(refusal, err)
	}
	// The token may have been withdrawn before its time: once, with another.
	if token, err = a.Tokens.Renew(ctx, token); err != nil {
		return deferred("4.7.8", "login as %q: %s", a.User, err)
	}
	return orNil(c.authenticate(timeout, a.User, token, xoauth2(a.User, token.Reveal())))
}

// orNil is for the interface that a nil pointer would not be.
func orNil(refusal *fault, err error) error {
	if err == nil && refusal != nil {
		return refusal
	}
	return err
}

func (c *conn) loginPassword(timeout time.Duration, a Auth) error {
	if strings.ContainsAny(a.Password.Reveal(), "\x00\r\n") {
		return deferred("4.7.8", "login: the password has a control character")
	}
	for _, m := range plainMechanisms(a.User, a.Password.Reveal()) {
		if slices.Contains(c.ext.auth, m.name) {
			return orNil(c.authenticate(timeout, a.User, a.Password, m))
		}
	}
	return deferred("4.7.8", "login: the host offers neither PLAIN nor LOGIN")
}

// authenticate runs one mechanism (RFC 4954, section 4). refusal is the host's;
// err is a connection that broke.
func (c *conn) authenticate(timeout time.Duration, user string, secret session.Secret, m mechanism) (refusal *fault, err error) {
	rest := " " + m.name
	if m.initial != "" {
		rest += " " + base64.StdEncoding.EncodeToString([]byte(m.initial))
	}
	r, err := c.command(timeout, "AUTH", rest)
	for n := 0; err == nil && r.code == 334; n++ {
		if n == maxChallenges {
			return nil, fmt.Errorf("%w: more than %d challenges to AUTH", errReply, maxChallenges)
		}
		answer := ""
		if n < len(m.answers) {
			answer = m.answers[n]
		}
		r, err = c.command(timeout, "", base64.StdEncoding.EncodeToString([]byte(answer)))
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("login as %q: %w", user, err)
	case r.code/100 == 2:
		return nil, nil
	case r.code/100 == 3:
		return nil, fmt.Errorf("%w: AUTH answered with %d", errReply, r.code)
	}
	refusal = r.deferred(fmt.Sprintf("login as %q refused, check the credentials of this route", user))
	refusal.status.Text = redact(refusal.status.Text, m, secret)
	refusal.broken = r.code == 421
	return refusal, nil
}

// redact takes what we sent out of a reply that repeats it.
func redact(text string, m mechanism, secret session.Secret) string {
	for _, s := range append([]string{m.initial, secret.Reveal()}, m.answers...) {
		if len(s) < 2 || len(m.answers) > 0 && s == m.answers[0] { // the user name of LOGIN
			continue
		}
		text = strings.ReplaceAll(text, s, "[secret]")
		text = strings.ReplaceAll(text, base64.StdEncoding.EncodeToString([]byte(s)), "[secret]")
	}
	return text
}
