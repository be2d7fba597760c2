package oauth

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

// server answers each request for a token by what answers says next; the last
// answer stays.
type server struct {
	mu       sync.Mutex
	requests []url.Values
	basic    []string // user names
	answers  []string // status and body
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	user, _, _ := r.BasicAuth()
	s.requests, s.basic = append(s.requests, form), append(s.basic, user)
	answer := s.answers[min(len(s.requests), len(s.answers))-1]
	var status int
	_, text, _ := strings.Cut(answer, " ")
	if _, err := fmt.Sscan(answer, &status); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Body: io.NopCloser(strings.NewReader(text)), Request: r,
		Header: http.Header{"Content-Type": {"application/json"}, "Location": {"https://evil.test/"}},
	}, nil
}

func source(t *testing.T, s *server, cfg Config) *Source {
	t.Helper()
	cfg.TokenURL, cfg.ClientID, cfg.Transport = "https://login.test/token", "gw", s
	src, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	s := &server{answers: []string{`200 {"access_token":"a","token_type":"Bearer"}`}}
	src := source(t, s, Config{ClientSecret: session.NewSecret("hidden"), Scopes: []string{"https://outlook.office365.com/.default"}})
	for range 2 {
		token, err := src.Token(t.Context())
		if err != nil || token.Reveal() != "a" {
			t.Fatalf("got %q, %v", token.Reveal(), err)
		}
	}
	if len(s.requests) != 1 || s.requests[0].Get("grant_type") != "client_credentials" ||
		s.requests[0].Get("scope") != "https://outlook.office365.com/.default" || s.basic[0] != "gw" {
		t.Errorf("got %v", s.requests)
	}
}

// kept is a Keeper in memory.
type kept map[string]string

func (k kept) Load(_ context.Context, name string) ([]byte, error) { return []byte(k[name]), nil }
func (k kept) Save(_ context.Context, name string, token []byte)   { k[name] = string(token) }

// A token is fetched anew before its end, and a refresh token that takes the place of
// the last one is used, after a restart too, until another is configured.
func TestTokensEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{answers: []string{
			`200 {"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r2"}`,
			`200 {"access_token":"b","token_type":"Bearer","expires_in":3600}`,
		}}
		keeper := kept{}
		begin := func(refresh string) *Source {
			src := source(t, s, Config{RefreshToken: session.NewSecret(refresh)})
			if err := src.Keep(t.Context(), keeper); err != nil {
				t.Fatal(err)
			}
			return src
		}
		want := func(src *Source, token string) {
			t.Helper()
			got, err := src.Token(t.Context())
			if err != nil || got.Reveal() != token {
				t.Errorf("got %q, %v, want %q", got.Reveal(), err, token)
			}
		}
		src := begin("r1")
		want(src, "a")
		time.Sleep(time.Hour - early - time.Second)
		want(src, "a")
		time.Sleep(2 * time.Second)
		want(src, "b")
		want(begin("r1"), "b")
		want(begin("new"), "b")
		var sent []string
		for _, r := range s.requests {
			sent = append(sent, r.Get("refresh_token"))
		}
		if got := strings.Join(sent, " "); got != "r1 r2 r2 new" || s.requests[0].Get("client_id") != "gw" {
			t.Errorf("sent %s", got)
		}
		for name := range keeper {
			if strings.Contains(name, "r1") {
				t.Errorf("the name says the token: %s", name)
			}
		}
	})
}

// Who was refused gets another token; who comes later with the same gets that one.
func TestRenew(t *testing.T) {
	t.Parallel()
	s := &server{answers: []string{`200 {"access_token":"a"}`, `200 {"access_token":"b"}`}}
	src := source(t, s, Config{ClientSecret: session.NewSecret("hidden")})
	first, err := src.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := src.Renew(t.Context(), first); err != nil || got.Reveal() != "b" {
			t.Errorf("got %q, %v", got.Reveal(), err)
		}
	}
	if len(s.requests) != 2 {
		t.Errorf("got %d requests", len(s.requests))
	}
}

// An error tells the operator what to do and repeats no secret.
func TestErrors(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`401 {"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret hidden\nprovided"}`: "answered 401: invalid_client: AADSTS7000215: Invalid client secret [secret] provided",
		`500 <html>hidden</html>`:        "answered 500",
		`302 hidden`:                     "answered 302",
		`200 {"token_type":"Bearer"}`:    "missing access_token",
		`400 {"error":"invalid_grant"}`:  "answered 400: invalid_grant",
		`200 ` + strings.Repeat("x", 99): "cannot parse json",
	} {
		s := &server{answers: []string{answer}}
		src := source(t, s, Config{ClientSecret: session.NewSecret("hidden")})
		token, err := src.Token(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") || !token.Empty() {
			t.Errorf("%s: got %v", answer, err)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	secret := session.NewSecret("x")
	for name, cfg := range map[string]Config{
		"no TLS":      {TokenURL: "http://login.test/", ClientID: "gw", ClientSecret: secret},
		"no URL":      {TokenURL: "login.test", ClientID: "gw", ClientSecret: secret},
		"with user":   {TokenURL: "https://a:b@login.test/", ClientID: "gw", ClientSecret: secret},
		"no client":   {TokenURL: "https://login.test/", ClientSecret: secret},
		"no secret":   {TokenURL: "https://login.test/", ClientID: "gw"},
		"nothing set": {},
	} {
		if _, err := New(cfg); err == nil || strings.Contains(err.Error(), "a:b") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
