// Package hook asks a program over HTTP about accounts, as an auth.Source. What is asked and
// answered is in docs/operations.md, "A program that knows the accounts".
//
// What is asked is signed with a secret that both know. It goes over TLS to a server that is
// known by a pin or an authority, or in clear to an address of a private network. A password
// is shown only if the program has the account, and only to see whether it is right. An
// answer that is late, too long, about somebody else or not exactly as it should be is none.
package hook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"gateway/auth"
	"gateway/internal/pinned"
	"gateway/session"
)

// Config describes one hook.
type Config struct {
	Name string
	// URL is asked by POST.
	URL string
	// Secret keys the signature.
	Secret session.Secret
	// Pin is the SHA-256 of the certificate, in hex. Empty trusts Roots, nil for those of the
	// system.
	Pin   string
	Roots *x509.CertPool
	// Homes is the folder below which the folders of accounts are that the hook names.
	// Empty takes none.
	Homes string
	// Timeout is for all of a question. Zero means 2 s.
	Timeout time.Duration
}

const (
	defaultTimeout = 2 * time.Second
	// maxQuestions is how many questions are asked at the same time; more wait.
	maxQuestions = 16
	// minSecret is how long the secret is at least.
	minSecret = 16
	// maxHeaders is how many bytes the header of an answer may have.
	maxHeaders = 16 << 10
	// maxIdle is how many connections are kept for the next question, idleTime for how long.
	maxIdle  = 4
	idleTime = time.Minute

	// SignatureHeader holds "sha256=" and the HMAC of the body, in hex.
	SignatureHeader = "Gateway-Signature"
)

// Check reports what in a Config cannot be.
func (c Config) Check() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("url: %q: want https://HOST/PATH", c.URL)
	case u.User != nil:
		return errors.New("url: it has a user in it; who asks is told by secret")
	case u.Scheme == "http" && !pinned.Private(u.Hostname()):
		return errors.New("url: passwords cross in clear: without https it must be an address of a private network, such as http://127.0.0.1:8000/accounts")
	case c.Secret.Len() < minSecret:
		return fmt.Errorf("secret: want at least %d characters that nobody can guess, such as of: openssl rand -hex 32", minSecret)
	case c.Pin != "" && !pinned.Valid(c.Pin):
		return errors.New("pin: want the SHA-256 of its certificate, 64 digits of hex")
	case c.Homes != "" && !filepath.IsAbs(c.Homes):
		return fmt.Errorf("homes: %q: want the whole path, from / on", c.Homes)
	}
	return nil
}

// A Hook is one that can be asked.
type Hook struct {
	cfg    Config
	slots  chan struct{}
	client *http.Client
}

var _ auth.Source = (*Hook)(nil)

// New returns the hook of a Config that was checked.
func New(cfg Config) *Hook {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	address := ""
	if u, err := url.Parse(cfg.URL); err == nil {
		address = net.JoinHostPort(u.Hostname(), u.Port())
	}
	return &Hook{cfg: cfg, slots: make(chan struct{}, maxQuestions), client: &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: pinned.TLS(address, cfg.Pin, cfg.Roots), ForceAttemptHTTP2: true,
			MaxIdleConns: maxIdle, MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: idleTime, MaxResponseHeaderBytes: maxHeaders,
		},
		// Another place is not the one that was named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// question is the body of a request.
type question struct {
	Ask      string           `json:"ask"` // account, password
	ID       string           `json:"id"`
	Time     string           `json:"time"`
	User     string           `json:"user"`
	Remote   string           `json:"remote,omitempty"`
	Protocol session.Protocol `json:"protocol,omitempty"`
	Listener string           `json:"listener,omitempty"`
	Method   session.Method   `json:"method,omitempty"`
	Password *string          `json:"password,omitempty"`
}

// Name implements auth.Source.
func (h *Hook) Name() string { return h.cfg.Name }

// Find implements auth.Source.
func (h *Hook) Find(ctx context.Context, q auth.Question) (*auth.Said, error) {
	a, err := h.ask(ctx, q, nil)
	if err != nil {
		return nil, err
	}
	return a.said(h.cfg.Homes)
}

// Check implements auth.Source.
func (h *Hook) Check(ctx context.Context, q auth.Question, password session.Secret) (*auth.Said, bool, error) {
	if password.Empty() {
		said, err := h.Find(ctx, q)
		return said, false, err
	}
	text := password.Reveal()
	a, err := h.ask(ctx, q, &text)
	if err != nil {
		return nil, false, err
	}
	said, err := a.said(h.cfg.Homes)
	return said, said != nil && *a.Right, err
}

// Decoy implements auth.Source.
func (h *Hook) Decoy(ctx context.Context, q auth.Question) error {
	_, err := h.Find(ctx, q)
	return err
}

// ask asks about an account, or with a password about that too.
func (h *Hook) ask(ctx context.Context, q auth.Question, password *string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return answer{}, fmt.Errorf("%w: it is asked %d questions already", session.ErrUnavailable, maxQuestions)
	}
	out := question{
		Ask: "account", ID: rand.Text(), Time: time.Now().UTC().Format(time.RFC3339), User: q.User,
		Protocol: q.Protocol, Listener: q.Listener, Method: q.Method, Password: password,
	}
	if password != nil {
		out.Ask = "password"
	}
	if q.Remote.IsValid() {
		out.Remote = q.Remote.Unmap().String()
	}
	body, err := h.post(ctx, out)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	a, err := parseAnswer(body, out)
	if err != nil {
		return answer{}, fmt.Errorf("%w: its answer: %w", session.ErrUnavailable, err)
	}
	return a, nil
}

// post sends a question and returns what is answered.
func (h *Hook) post(ctx context.Context, q question) ([]byte, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(SignatureHeader, sign(h.cfg.Secret, body))
	resp, err := h.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers with status %d; want 200, also for an account that there is not", resp.StatusCode)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(content) > maxAnswer {
		err = fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	return content, err
}

// sign is the value of SignatureHeader.
func sign(secret session.Secret, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
