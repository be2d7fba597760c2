package relay

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gateway/queue/relay/oauth"
	"gateway/session"
)

const password = "correct horse battery"

// roundTrip is a token server.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// tokens hands out token-1, token-2 and so on.
func tokens(t *testing.T, asked *atomic.Int32) *oauth.Source {
	t.Helper()
	source, err := oauth.New(oauth.Config{
		TokenURL: "https://login.test/token", ClientID: "gw", ClientSecret: session.NewSecret("client secret"),
		Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			body := fmt.Sprintf(`{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, asked.Add(1))
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// The ways to log in at a smart host, and how a refusal reads.
func TestLogin(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server := ca.server(t, time.Hour, "smart.test")
	xoauth := func(n int) string { return b64(fmt.Sprintf("user=gw@x.test\x01auth=Bearer token-%d\x01\x01", n)) }
	for name, c := range map[string]struct {
		offers   string
		tokens   bool
		answers  map[string]string
		want     []string // commands of the login
		outcome  Outcome
		enhanced string
		text     string
	}{
		"PLAIN": {
			offers: "AUTH LOGIN PLAIN", want: []string{"AUTH PLAIN " + b64("\x00gw@x.test\x00"+password)},
			answers: map[string]string{"AUTH": "235 2.7.0 welcome"}, outcome: Delivered, enhanced: "2.0.0",
		},
		"LOGIN": {
			offers: "AUTH LOGIN", want: []string{"AUTH LOGIN", b64("gw@x.test"), b64(password)},
			answers: map[string]string{"AUTH": "334 VXNlcm5hbWU6", b64("gw@x.test"): "334 UGFzc3dvcmQ6", b64(password): "235 welcome"}, outcome: Delivered, enhanced: "2.0.0",
		},
		"XOAUTH2": {
			offers: "AUTH XOAUTH2", tokens: true, want: []string{"AUTH XOAUTH2 " + xoauth(1)},
			answers: map[string]string{"AUTH": "235 welcome"}, outcome: Delivered, enhanced: "2.0.0",
		},
		"XOAUTH2, withdrawn": {
			offers: "AUTH XOAUTH2", tokens: true, want: []string{"AUTH XOAUTH2 " + xoauth(1), "", "AUTH XOAUTH2 " + xoauth(2)},
			answers: map[string]string{"AUTH XOAUTH2 " + xoauth(1): "334 eyJzdGF0dXMiOiI0MDEifQ==", "": "535 5.7.3 expired", "AUTH XOAUTH2 " + xoauth(2): "235 welcome"},
			outcome: Delivered, enhanced: "2.0.0",
		},
		"XOAUTH2, refused twice": {
			offers: "AUTH XOAUTH2", tokens: true, want: []string{"AUTH XOAUTH2 " + xoauth(1), "AUTH XOAUTH2 " + xoauth(2)},
			answers: map[string]string{"AUTH": "535 5.7.3 SmtpClientAuthentication is disabled"}, outcome: Deferred, enhanced: "4.7.3", text: "check the credentials of this route: SmtpClientAuthentication is disabled",
		},
		"XOAUTH2, not now": {
			offers: "AUTH XOAUTH2", tokens: true, want: []string{"AUTH XOAUTH2 " + xoauth(1)},
			answers: map[string]string{"AUTH": "454 4.7.0 later"}, outcome: Deferred, enhanced: "4.7.0", text: "later",
		},
		"refused": {
			offers: "AUTH PLAIN", want: []string{"AUTH PLAIN " + b64("\x00gw@x.test\x00"+password)},
			answers: map[string]string{"AUTH": "535 5.7.8 no: " + b64("\x00gw@x.test\x00"+password) + " " + password}, outcome: Deferred, enhanced: "4.7.8", text: "refused, check the credentials of this route: no: [secret] [secret]",
		},
		"not offered": {offers: "AUTH CRAM-MD5", outcome: Deferred, enhanced: "4.7.8", text: "neither PLAIN nor LOGIN"},
		"no XOAUTH2":  {offers: "AUTH PLAIN", tokens: true, outcome: Deferred, enhanced: "4.7.8", text: "does not offer XOAUTH2"},
		"no end": {
			offers: "AUTH LOGIN", want: []string{"AUTH LOGIN", b64("gw@x.test"), b64(password), "", ""},
			answers: map[string]string{"AUTH": "334 a", b64("gw@x.test"): "334 b", b64(password): "334 c", "": "334 d"}, outcome: Deferred, enhanced: "4.5.0", text: "challenges",
		},
		"hangs up": {
			offers: "AUTH PLAIN", want: []string{"AUTH PLAIN " + b64("\x00gw@x.test\x00"+password)},
			answers: map[string]string{"AUTH": "drop"}, outcome: Deferred, enhanced: "4.4.2", text: "connection closed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &sink{tls: server, extensions: []string{c.offers}, answer: func(line string) string {
				if a, ok := c.answers[line]; ok {
					return a
				}
				verb, _, _ := strings.Cut(line, " ")
				return c.answers[verb]
			}}
			target := endpoint(s.start(t, "127.0.0.1:0"), "smart.test")
			target.Auth = Auth{User: "gw@x.test", Password: session.NewSecret(password)}
			if c.tokens {
				target.Auth = Auth{User: "gw@x.test", Tokens: tokens(t, new(atomic.Int32))}
			}
			client := &Client{TLS: &tls.Config{RootCAs: ca.pool}}
			r := client.Deliver(t.Context(), target, letter("b@y.test"))
			_ = client.Close()
			wantStatus(t, r.Statuses[0], c.outcome, c.enhanced, c.text)
			var login []string
			for _, line := range s.heard("") {
				verb, _, _ := strings.Cut(line, " ")
				switch verb {
				case "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "QUIT":
				default:
					login = append(login, line)
				}
			}
			if fmt.Sprint(login) != fmt.Sprint(c.want) {
				t.Errorf("got %q, want %q", login, c.want)
			}
			if told := fmt.Sprintf("%+v", r); strings.Contains(told, password) || strings.Contains(told, "token-") {
				t.Errorf("a secret in %s", told)
			}
		})
	}
}

// Credentials wait for a verified certificate, whatever the route says of TLS.
func TestNoLoginWithoutVerifiedTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	for name, c := range map[string]struct {
		server   *tls.Config
		enhanced string
	}{
		"clear":     {nil, "4.7.4"},
		"untrusted": {newAuthority(t).server(t, time.Hour, "smart.test"), "4.7.5"},
		"misnamed":  {ca.server(t, time.Hour, "other.test"), "4.7.5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &sink{tls: c.server, extensions: []string{"AUTH PLAIN LOGIN"}}
			target := endpoint(s.start(t, "127.0.0.1:0"), "smart.test")
			target.Auth = Auth{User: "gw", Password: session.NewSecret(password)}
			client := &Client{TLS: &tls.Config{RootCAs: ca.pool}}
			r := client.Deliver(t.Context(), target, letter("b@y.test"))
			wantStatus(t, r.Statuses[0], Deferred, c.enhanced, "")
			if got := s.heard("AUTH"); len(got) > 0 {
				t.Errorf("got %q", got)
			}
		})
	}
}

// One login serves all the messages of a connection, and one token all logins.
func TestLoginIsShared(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := &sink{tls: ca.server(t, time.Hour, "smart.test"), extensions: []string{"AUTH XOAUTH2"}, answer: func(line string) string {
		if strings.HasPrefix(line, "AUTH") {
			return "235 ok"
		}
		return ""
	}}
	var asked atomic.Int32
	target := endpoint(s.start(t, "127.0.0.1:0"), "smart.test")
	target.Auth = Auth{User: "gw", Tokens: tokens(t, &asked)}
	client := &Client{TLS: &tls.Config{RootCAs: ca.pool}, MaxMessages: 2}
	for range 4 {
		wantStatus(t, client.Deliver(t.Context(), target, letter("b@y.test")).Statuses[0], Delivered, "2.0.0", "")
	}
	_ = client.Close()
	if logins := len(s.heard("AUTH")); logins != 2 || asked.Load() != 1 {
		t.Errorf("got %d logins with %d tokens, want 2 with 1", logins, asked.Load())
	}
}
