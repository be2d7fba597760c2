package sftp

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

const (
	// maxUser is the longest part of a claimed name that is looked at. No account's
	// name is that long, so a name cut here is still nobody's.
	maxUser = 256
	// maxReason is the longest text of a failure that goes into the record.
	maxReason = 300
	// noTouchRequired is what the library looks for before it demands that a
	// security key was touched.
	noTouchRequired = "no-touch-required"
	// The questions of keyboard-interactive, with the echo off: one at a time, the
	// second only where a code is what is missing.
	prompt     = "Password: "
	codePrompt = "Verification code: "
)

var (
	// errLogin is what the library is told of every login that was not granted.
	errLogin = errors.New("not granted")
	// errForged is a signature that was not made with the key that it names.
	errForged = errors.New("wrong signature")
	// errNoMethod is a peer to whom the rules let us offer no way to log in.
	errNoMethod = errors.New("no login method may be offered here")
)

// login takes one connection from its first byte to a session. The library
// calls its callbacks one at a time, in the goroutine of run.
type login struct {
	server   *Server
	attempt  *session.Attempt
	wire     *wire
	draining <-chan struct{}

	ctx     context.Context // done when the login grace time is over
	before  ssh.ServerPreAuthConn
	known   string // the last name whose key was known, not proven
	strange strange
	offers  offers
	session *session.Session
	final   error // a refusal after which nothing more is asked
}

// strange is a client whose keys nobody knows, and who offered nothing else.
type strange struct {
	user string // the last name claimed
	key  string // the last key
	keys int
}

// maxOffers is how many keys one login may bring by having offered them.
const maxOffers = 4

// offers are the keys that were offered for a name whose account does not have them.
type offers struct {
	user string
	keys []session.Key
}

func (o *offers) add(user string, key session.Key) {
	if o.user != user {
		*o = offers{user: user}
	}
	if len(o.keys) < maxOffers {
		o.keys = append(o.keys, key)
	}
}

// of are those that were offered for user.
func (o *offers) of(user string) []session.Key {
	if o.user != user {
		return nil
	}
	return o.keys
}

// transport is what the library makes of a connection on which somebody logged in.
type transport struct {
	*ssh.ServerConn
	channels <-chan ssh.NewChannel
	requests <-chan *ssh.Request
}

// run does the key exchange and the authentication. Whatever the peer does, it
// is over when the login grace time is, or when the server stops: the library
// has no limit of its own.
func (l *login) run(ctx context.Context) (transport, error) {
	ctx, cancel := context.WithTimeout(ctx, l.server.cfg.LoginGrace)
	defer cancel()
	l.ctx = ctx
	over, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
		case <-l.draining:
			cancel()
		case <-over:
			return
		}
		l.wire.cut()
	}()
	defer func() {
		close(over)
		<-stopped
	}()
	var t transport
	var err error
	t.ServerConn, t.channels, t.requests, err = ssh.NewServerConn(l.wire, l.config())
	if err != nil {
		err = l.cause(err)
		if s := l.strange; s.keys > 0 {
			l.attempt.Unproven(context.WithoutCancel(ctx), s.user, session.MethodPublicKey, session.UnknownKey,
				fmt.Sprintf("none of %d keys is one of the account; the last was %s", s.keys, s.key))
		}
		return transport{}, err
	}
	return t, nil
}

// config is the library's configuration for this one connection.
func (l *login) config() *ssh.ServerConfig {
	offer := l.server.offer(l.attempt.SSH())
	config := &ssh.ServerConfig{
		Config:                  offer.config(l.server.cfg.RekeyAfter),
		PublicKeyAuthAlgorithms: offer.userKeys,
		// The Gate counts what was wrong; the library would count keys that were only
		// asked for, of which an agent may hold many. It stops at 128 requests anyway.
		MaxAuthTries:              -1,
		ServerVersion:             l.server.cfg.ServerVersion,
		PreAuthConnCallback:       l.exchanged,
		VerifiedPublicKeyCallback: l.publicKeyProven,
	}
	if banner := l.server.cfg.Banner; banner != "" {
		config.BannerCallback = func(ssh.ConnMetadata) string { return banner }
	}
	for _, k := range offer.signers {
		config.AddHostKey(k)
	}
	// What may be offered depends on the channel that there will be when it is
	// offered. Until the key exchange is done, there is none.
	l.attempt.Upgraded(session.Channel{Kind: session.SSH})
	methods := l.attempt.Methods()
	l.attempt.Upgraded(session.Channel{})
	callbacks := l.callbacks(methods)
	config.PasswordCallback = callbacks.PasswordCallback
	config.PublicKeyCallback = callbacks.PublicKeyCallback
	config.KeyboardInteractiveCallback = callbacks.KeyboardInteractiveCallback
	if len(methods) == 0 {
		// The library demands a method; this one always says no.
		config.NoClientAuth = true
		config.NoClientAuthCallback = l.none
	}
	return config
}

// callbacks are those of the methods that may be offered now.
func (l *login) callbacks(methods []session.Method) ssh.ServerAuthCallbacks {
	var c ssh.ServerAuthCallbacks
	if slices.Contains(methods, session.MethodPassword) {
		c.PasswordCallback = l.password
	}
	if slices.Contains(methods, session.MethodPublicKey) {
		c.PublicKeyCallback = l.publicKey
	}
	if slices.Contains(methods, session.MethodKeyboardInteractive) {
		c.KeyboardInteractiveCallback = l.keyboardInteractive
	}
	if slices.Contains(methods, session.MethodCode) {
		// Where a password would do as well, it has a method of its own.
		c.KeyboardInteractiveCallback = l.code
	}
	return c
}

// exchanged is called when the first key exchange is done, before any request.
func (l *login) exchanged(before ssh.ServerPreAuthConn) {
	l.before = before
	channel := session.Channel{Kind: session.SSH, Version: "SSH-2.0"}
	channel.SSHProfile = l.attempt.SSH().Profile(l.server.cfg.Profile).String()
	if c, ok := before.(ssh.AlgorithmsConnMetadata); ok {
		algorithms := c.Algorithms()
		channel.SSHKex = algorithms.KeyExchange
		// What the client sends is what carries the credential.
		channel.SSHCipher, channel.SSHMAC = algorithms.Read.Cipher, algorithms.Read.MAC
	}
	l.attempt.Upgraded(channel)
	l.attempt.Client(string(before.ClientVersion()))
}

// none answers where nothing may be offered.
func (l *login) none(m ssh.ConnMetadata) (*ssh.Permissions, error) {
	err := l.attempt.Claim(l.ctx, user(m), session.MethodPassword, session.MethodPublicKey, session.MethodKeyboardInteractive)
	if session.Hint(err) != "" {
		return nil, &ssh.BannerError{Err: errLogin, Message: session.Hint(err) + "\r\n"}
	}
	return nil, errLogin
}

func (l *login) password(m ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	return nil, l.offer(session.Password(user(m), string(password)))
}

// keyboardInteractive asks for the password (RFC 4256, section 3.2), whether or
// not the name exists.
func (l *login) keyboardInteractive(m ssh.ConnMetadata, challenge ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	answer, err := askFor(challenge, prompt)
	if err != nil {
		return nil, err
	}
	return nil, l.offer(session.KeyboardInteractive(user(m), answer))
}

// code asks for a one-time code. It is offered only after another proof.
func (l *login) code(m ssh.ConnMetadata, challenge ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	answer, err := askFor(challenge, codePrompt)
	if err != nil {
		return nil, err
	}
	return nil, l.offer(session.Code(user(m), answer))
}

func askFor(challenge ssh.KeyboardInteractiveChallenge, question string) (string, error) {
	answers, err := challenge("", "", []string{question}, []bool{false})
	if err != nil {
		return "", err
	}
	if len(answers) != 1 {
		return "", errLogin
	}
	return answers[0], nil
}

// publicKey answers whether a key would do. It is also called for keys that are
// only asked about (RFC 4252, section 7), so that it proves and records nothing.
func (l *login) publicKey(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if shortRSA(key) != nil {
		return nil, errLogin
	}
	answer := l.attempt.Knows(l.ctx, user(m), wireKey(key))
	if !answer.Known {
		l.offers.add(user(m), wireKey(key))
		l.strange = strange{user: user(m), key: ssh.FingerprintSHA256(key), keys: l.strange.keys + 1}
		if answer.Why != "" {
			l.strange.key += " (" + clip(answer.Why) + ")"
		}
		return nil, errLogin
	}
	l.known = user(m)
	if answer.NoTouch {
		return &ssh.Permissions{Extensions: map[string]string{noTouchRequired: ""}}, nil
	}
	return nil, nil
}

// publicKeyProven is called when the signature of a known key was right.
func (l *login) publicKeyProven(m ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (*ssh.Permissions, error) {
	return nil, l.offer(session.PublicKey(user(m), wireKey(key)))
}

// offer brings a proof to the gate and turns its answer into the library's.
func (l *login) offer(c session.Credential) error {
	l.strange = strange{} // there is a proof that is recorded
	s, err := l.attempt.Offer(l.ctx, c)
	more, isMore := errors.AsType[*session.MoreError](err)
	switch {
	case err == nil:
		l.session = s
		if notice := s.Notice(); notice != "" {
			_ = l.before.SendAuthBanner(notice + "\r\n") // who is gone is found out by the reply
		}
		return nil
	case isMore:
		return &ssh.PartialSuccessError{Next: l.callbacks(more.Methods)}
	case errors.Is(err, session.ErrTooMany), errors.Is(err, session.ErrUnavailable):
		l.hangUp(err)
		return errLogin
	case session.Hint(err) != "":
		return &ssh.BannerError{Err: errLogin, Message: session.Hint(err) + "\r\n"}
	default:
		return errLogin
	}
}

// hangUp ends the connection before the answer: the library would let the
// client go on asking. It has no SSH_MSG_DISCONNECT with a reason, so that the
// peer is told in a banner.
func (l *login) hangUp(cause error) {
	l.final = cause
	text := "Service not available, try again later.\r\n"
	switch {
	case errors.Is(cause, session.ErrPaused):
		text = session.Hint(cause) + "\r\n"
	case errors.Is(cause, session.ErrTooMany):
		text = "Too many attempts, try again later.\r\n"
	}
	_ = l.before.SendAuthBanner(text)
	_ = l.wire.Close()
}

// cause says why there was no session, from what the library says of it. A
// wrong signature ends the connection without a callback, and is recorded here.
func (l *login) cause(err error) error {
	text := err.Error()
	_, unproven := errors.AsType[*ssh.ServerAuthError](err)
	switch {
	case l.final != nil:
		return l.final
	case l.before != nil && l.known != "" && forged(err):
		l.strange = strange{}
		l.attempt.Unproven(context.WithoutCancel(l.ctx), l.known, session.MethodPublicKey, session.WrongProof, errForged.Error())
		return errForged
	case errors.Is(l.ctx.Err(), context.DeadlineExceeded):
		return session.ErrGrace
	case l.ctx.Err() != nil:
		return session.ErrShutdown
	case l.wire.lastHeard().IsZero():
		return nil // looked whether the port is open
	case errors.Is(err, errNotSSH), l.before == nil:
		return fmt.Errorf("%w: %s", session.ErrHandshake, clip(text))
	case unproven, strings.HasPrefix(text, "ssh: disconnect, reason"):
		return nil // left without having logged in
	case text == "ssh: no authentication methods available":
		return errNoMethod
	case l.wire.lost.Load():
		return fmt.Errorf("connection lost: %s", clip(text))
	default:
		return fmt.Errorf("%w: %s", session.ErrProtocol, clip(text))
	}
}

// forged reports whether the library refused a signature. Its errors for that
// have no type; TestWrongSignature holds their texts for each kind of key.
func forged(err error) bool {
	return errors.Is(err, rsa.ErrVerification) || strings.HasPrefix(err.Error(), "ssh: signature ")
}

// user is the name that the client claims at this moment; it may change it with
// every request.
func user(m ssh.ConnMetadata) string {
	name := m.User()
	return name[:min(len(name), maxUser)]
}

// wireKey describes a key in the words of the core.
func wireKey(key ssh.PublicKey) session.Key {
	return session.Key{Algorithm: key.Type(), Blob: string(key.Marshal()), Fingerprint: ssh.FingerprintSHA256(key)}
}

// clip bounds a text that the peer may have had a hand in.
func clip(text string) string { return text[:min(len(text), maxReason)] }
