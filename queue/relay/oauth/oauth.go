// Package oauth gets the access tokens with which a smart host lets us in (RFC
// 6749): by the client credentials of an application, or by a refresh token that
// somebody granted it.
package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"gateway/session"
)

const (
	// early is how long before its end a token is renewed.
	early = 2 * time.Minute
	// fetchTimeout bounds one request for a token.
	fetchTimeout = 30 * time.Second
	// maxDescription bounds what is told of a server's explanation.
	maxDescription = 200
)

// Config says where tokens come from.
type Config struct {
	// TokenURL is the token endpoint, with https.
	TokenURL string
	// ClientID names the application; ClientSecret is empty for a public one.
	ClientID     string
	ClientSecret session.Secret
	// Scopes are those to ask for.
	Scopes []string
	// RefreshToken is the grant; empty means that of the client credentials.
	RefreshToken session.Secret
	// Transport carries the requests; nil means http.DefaultTransport. Redirects are
	// not followed: the secret is for the server that was named.
	Transport http.RoundTripper
}

// Source hands out one token to all until it ends. Its methods may be called from
// any goroutine.
type Source struct {
	cfg    Config
	client *http.Client

	busy    chan struct{} // held by who uses the fields below
	token   session.Secret
	expires time.Time // zero: not known
	refresh session.Secret
	keeper  Keeper
	name    string // of what keeper keeps for us
}

// Keeper holds refresh tokens over a restart, where nobody can read them.
type Keeper interface {
	// Load returns what was saved under that name last; nil if nothing.
	Load(ctx context.Context, name string) ([]byte, error)
	// Save stores it on stable storage. Whoever is asked to reports a fault: the token is
	// good all the same.
	Save(ctx context.Context, name string, token []byte)
}

// New makes a Source. Nothing is asked yet.
func New(cfg Config) (*Source, error) {
	u, err := url.Parse(cfg.TokenURL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" || u.User != nil:
		return nil, errors.New("the token URL is not of the form https://host/path")
	case cfg.ClientID == "":
		return nil, errors.New("no client id")
	case cfg.ClientSecret.Empty() && cfg.RefreshToken.Empty():
		return nil, errors.New("neither a client secret nor a refresh token")
	}
	return &Source{
		cfg: cfg, refresh: cfg.RefreshToken, busy: make(chan struct{}, 1),
		client: &http.Client{
			Transport:     cfg.Transport,
			Timeout:       fetchTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Keep has k hold the refresh tokens that take the place of the configured one, and goes
// on with the last of them. Call it before the first use. Another token in the
// configuration is another beginning: what took the place of the one before it is not
// used any more.
func (s *Source) Keep(ctx context.Context, k Keeper) error {
	if s.refresh.Empty() {
		return nil
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{s.cfg.TokenURL, s.cfg.ClientID, s.cfg.RefreshToken.Reveal()}, "\x00")))
	s.keeper, s.name = k, "refresh token "+hex.EncodeToString(sum[:])
	last, err := k.Load(ctx, s.name)
	if err == nil && len(last) > 0 {
		s.refresh = session.NewSecret(string(last))
	}
	return err
}

// Token returns a token that is good for now. Its errors hold no secret.
func (s *Source) Token(ctx context.Context) (session.Secret, error) {
	return s.next(ctx, session.Secret{})
}

// Renew returns another token than refused, which the smart host did not take.
func (s *Source) Renew(ctx context.Context, refused session.Secret) (session.Secret, error) {
	return s.next(ctx, refused)
}

func (s *Source) next(ctx context.Context, refused session.Secret) (session.Secret, error) {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
		return session.Secret{}, context.Cause(ctx)
	}
	good := !s.token.Empty() && (s.expires.IsZero() || time.Until(s.expires) > early)
	if good && s.token != refused {
		return s.token, nil
	}
	t, err := s.fetch(ctx)
	if err != nil {
		return session.Secret{}, fmt.Errorf("get an access token: %w", s.describe(err))
	}
	s.token, s.expires = session.NewSecret(t.AccessToken), t.Expiry
	if t.RefreshToken != "" && t.RefreshToken != s.refresh.Reveal() {
		s.refresh = session.NewSecret(t.RefreshToken)
		if s.keeper != nil {
			// Whoever waits for the access token may go; the other must not be lost.
			s.keeper.Save(context.WithoutCancel(ctx), s.name, []byte(t.RefreshToken))
		}
	}
	return s.token, nil
}

func (s *Source) fetch(ctx context.Context) (*oauth2.Token, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.client)
	style := oauth2.AuthStyleAutoDetect
	if s.cfg.ClientSecret.Empty() {
		style = oauth2.AuthStyleInParams
	}
	if s.refresh.Empty() {
		c := clientcredentials.Config{
			ClientID: s.cfg.ClientID, ClientSecret: s.cfg.ClientSecret.Reveal(),
			TokenURL: s.cfg.TokenURL, Scopes: s.cfg.Scopes, AuthStyle: style,
		}
		return c.Token(ctx)
	}
	c := oauth2.Config{
		ClientID: s.cfg.ClientID, ClientSecret: s.cfg.ClientSecret.Reveal(),
		Endpoint: oauth2.Endpoint{TokenURL: s.cfg.TokenURL, AuthStyle: style}, Scopes: s.cfg.Scopes,
	}
	return c.TokenSource(ctx, &oauth2.Token{RefreshToken: s.refresh.Reveal()}).Token()
}

// describe keeps of an error what the operator needs. The library quotes the
// whole response, in which anything may stand.
func (s *Source) describe(err error) error {
	r, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return err
	}
	status := 0
	if r.Response != nil {
		status = r.Response.StatusCode
	}
	if r.ErrorCode == "" {
		return fmt.Errorf("the token server answered %d", status)
	}
	return fmt.Errorf("the token server answered %d: %s: %s", status, s.clean(r.ErrorCode), s.clean(r.ErrorDescription))
}

// clean makes a server's words fit for a log and takes our secrets out of them.
func (s *Source) clean(text string) string {
	for _, secret := range []session.Secret{s.cfg.ClientSecret, s.refresh} {
		if !secret.Empty() {
			text = strings.ReplaceAll(text, secret.Reveal(), "[secret]")
		}
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxDescription {
		text = strings.ToValidUTF8(text[:maxDescription], "")
	}
	return text
}
