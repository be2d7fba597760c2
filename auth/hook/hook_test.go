package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"gateway/auth"
	"gateway/session"
)

const key = "0123456789abcdef0123456789abcdef"

// program is a hook that answers with what a test returns; id and user are added.
func program(t *testing.T, answer func(q map[string]any) string) Config {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(body)
		if got, want := r.Header.Get(SignatureHeader), "sha256="+hex.EncodeToString(mac.Sum(nil)); got != want || r.Method != http.MethodPost {
			t.Errorf("%s, signed %s, want %s", r.Method, got, want)
		}
		var q map[string]any
		if err := json.Unmarshal(body, &q); err != nil {
			t.Error(err)
		}
		_, _ = fmt.Fprintf(w, `{"id":%q,"user":%q,%s}`, q["id"], q["user"], answer(q))
	}))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return Config{Name: "crm", URL: s.URL + "/accounts", Secret: session.NewSecret(key), Roots: roots}
}

// A program is asked for an account without a password, and for a password with it; who
// asks where is told with it.
func TestHook(t *testing.T) {
	t.Parallel()
	var asked []map[string]any
	cfg := program(t, func(q map[string]any) string {
		asked = append(asked, q)
		switch {
		case q["user"] != "joe":
			return `"exists":false`
		case q["ask"] == "account":
			return `"exists":true,"groups":["users"],"addresses":["joe@example.com"],"home":"joe"`
		default:
			return fmt.Sprintf(`"exists":true,"right":%v,"disabled":true`, q["password"] == "secret of joe")
		}
	})
	cfg.Homes = "/srv/ftp"
	h := New(cfg)
	said, err := h.Find(t.Context(), auth.Question{User: "joe", Remote: netip.MustParseAddr("::ffff:192.0.2.7")})
	want := &auth.Said{Groups: []string{"users"}, Addresses: []string{"joe@example.com"}, Home: "/srv/ftp/joe"}
	if err != nil || !reflect.DeepEqual(said, want) {
		t.Errorf("got %+v, %v, want %+v", said, err, want)
	}
	q := auth.Question{User: "joe", Protocol: session.FTP, Listener: "ftps", Method: session.MethodPassword}
	for password, want := range map[string]bool{"secret of joe": true, "wrong": false} {
		if said, right, err := h.Check(t.Context(), q, session.NewSecret(password)); err != nil || right != want || !said.Disabled {
			t.Errorf("%s: got %+v, %v, %v", password, said, right, err)
		}
	}
	if said, right, err := h.Check(t.Context(), auth.Question{User: "eve"}, session.NewSecret("x")); said != nil || right || err != nil {
		t.Errorf("nobody: got %+v, %v, %v", said, right, err)
	}
	if err := h.Decoy(t.Context(), auth.Question{User: "eve"}); err != nil {
		t.Error(err)
	}
	ids := make(map[any]bool)
	for _, q := range asked {
		if at, err := time.Parse(time.RFC3339, q["time"].(string)); err != nil || time.Since(at).Abs() > time.Minute || ids[q["id"]] {
			t.Errorf("id or time of %v", q)
		}
		ids[q["id"]] = true
		delete(q, "id")
		delete(q, "time")
	}
	if want := map[string]any{"ask": "account", "user": "joe", "remote": "192.0.2.7"}; !reflect.DeepEqual(asked[0], want) {
		t.Errorf("asked %v, want %v", asked[0], want)
	}
	if q := asked[1]; q["ask"] != "password" || q["protocol"] != "ftp" || q["listener"] != "ftps" || q["method"] != "password" {
		t.Errorf("asked %v", q)
	}
	if last := asked[len(asked)-1]; last["ask"] != "account" || last["password"] != nil {
		t.Errorf("a decoy asks %v", last)
	}
}

// Whatever is not exactly an answer says nothing of the account.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`"exists":true,"right":true,"Groups":[]`:   `not known: "Groups"`,
		`"exists":true,"right":true,"admin":true`:  `not known: "admin"`,
		`"exists":true,"right":true,"right":false`: "right: it comes twice",
		`"exists":true,"right":true,"user":"root"`: "user: it comes twice",
		`"right":true`:                                "exists: want",
		`"exists":true`:                               "right: want",
		`"exists":"yes","right":true`:                 "exists",
		`"exists":true,"right":true,"groups":"users"`: "groups",
		`"exists":true,"right":true}{"x":1`:           "something follows",
		`"exists":true,"right":true,"home":"../etc"`:  "not below /srv/ftp",
		`"exists":true,"right":true,"groups":["` + strings.Repeat("a", maxAnswer) + `"]`: "longer than 65536 bytes",
	} {
		cfg := program(t, func(map[string]any) string { return answer })
		cfg.Homes = "/srv/ftp"
		_, right, err := New(cfg).Check(t.Context(), auth.Question{User: "joe"}, session.NewSecret("secret of joe"))
		if right || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, %v, want %q", answer, right, err, want)
		}
	}
}

// A program that fails, points elsewhere, is late or is not the one that is known is not
// believed.
func TestFaults(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			_, _ = io.Copy(io.Discard, r.Body) // only then it is seen that the peer left
			leave()
			<-r.Context().Done()
		case "/elsewhere":
			http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	secure := program(t, func(map[string]any) string { return `"exists":true,"right":true` })
	for name, tc := range map[string]struct {
		cfg  Config
		want string
	}{
		"status":        {Config{URL: s.URL + "/missing"}, "status 404"},
		"redirect":      {Config{URL: s.URL + "/elsewhere"}, "status 307"},
		"not there":     {Config{URL: "http://127.0.0.1:1/"}, "connection refused"},
		"not trusted":   {Config{URL: secure.URL}, "certificate"},
		"another's pin": {Config{URL: secure.URL, Pin: strings.Repeat("0", 64)}, "somebody is between"},
	} {
		tc.cfg.Secret = session.NewSecret(key)
		_, right, err := New(tc.cfg).Check(t.Context(), auth.Question{User: "joe"}, session.NewSecret("secret of joe"))
		if right || !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secret of joe") {
			t.Errorf("%s: got %v, %v", name, right, err)
		}
	}
	if _, err := New(Config{URL: s.URL + "/late", Secret: session.NewSecret(key)}).Find(ctx, auth.Question{User: "joe"}); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("left: got %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := Config{URL: "https://crm.example.com/accounts", Secret: session.NewSecret(key)}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Config){
		"want https://HOST/PATH": func(c *Config) { c.URL = "crm.example.com" },
		"in clear":               func(c *Config) { c.URL = "http://192.0.2.7/" },
		"it has a user":          func(c *Config) { c.URL = "https://a:b@crm.example.com/" },
		"at least 16":            func(c *Config) { c.Secret = session.NewSecret("short") },
		"the whole path":         func(c *Config) { c.Homes = "srv" },
	} {
		c := good
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, url := range []string{"http://127.0.0.1:8000/", "http://10.1.2.3/accounts", "http://[::1]:8000/"} {
		if err := (Config{URL: url, Secret: session.NewSecret(key)}).Check(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// An answer that is taken is one object about the one who was asked about.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		`{"id":"1","user":"joe","exists":true,"right":true,"groups":["users"],"addresses":[],"home":"","disabled":false}`,
		`{"id":"1","user":"joe","exists":false}`, `{"id":"1","user":"joe","exists":null}`, `{"ID":"1"}`, `[]`, `{"id":"1"`, "{\"id\":\"\xff\"}", `{"groups":{"a":[]}}`,
	} {
		f.Add([]byte(body))
	}
	password := "x"
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := parseAnswer(body, question{ID: "1", User: "joe", Password: &password})
		if err != nil {
			return
		}
		if a.ID != "1" || a.User != "joe" || a.Exists == nil || *a.Exists && a.Right == nil || !*a.Exists && a.Right != nil {
			t.Errorf("%q is taken as %+v", body, a)
		}
		var any map[string]json.RawMessage
		if err := json.Unmarshal(body, &any); err != nil {
			t.Errorf("%q is taken, and is no object: %v", body, err)
		}
	})
}
