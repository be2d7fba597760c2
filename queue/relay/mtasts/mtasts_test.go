package mtasts

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/queue/relay/dns"
)

const document = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.net\r\nmax_age: 604800\r\n"

func TestParsePolicy(t *testing.T) {
	t.Parallel()
	p, err := ParsePolicy(document)
	if err != nil || p.Mode != Enforce || p.MaxAge != 7*24*time.Hour || !slices.Equal(p.MX, []string{"mail.example.com", "*.example.net"}) {
		t.Errorf("got %+v, %v", p, err)
	}
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"LF, unknown keys, no end": {"version: STSv1\nmode: testing\nfuture: x\nmx: a.test\nmax_age: 1", true},
		"none without mx":          {"version: STSv1\nmode: none\nmax_age: 0\n", true},
		"the first of two counts":  {"version: STSv1\nmode: none\nmode: bad\nmax_age: 0\n", true},
		"no version":               {"mode: none\nmax_age: 0\n", false},
		"other version":            {"version: STSv2\nmode: none\nmax_age: 0\n", false},
		"no mode":                  {"version: STSv1\nmax_age: 0\n", false},
		"no max_age":               {"version: STSv1\nmode: none\n", false},
		"negative max_age":         {"version: STSv1\nmode: none\nmax_age: -1\n", false},
		"enforce without mx":       {"version: STSv1\nmode: enforce\nmax_age: 1\n", false},
		"wildcard inside":          {"version: STSv1\nmode: enforce\nmx: a.*.test\nmax_age: 1\n", false},
		"mx with a path":           {"version: STSv1\nmode: enforce\nmx: ../x\nmax_age: 1\n", false},
		"HTML":                     {"<html>\nnothing\n", false},
		"too many mx":              {strings.Repeat("mx: a.test\n", maxHosts+1), false},
		"too large":                {strings.Repeat("x", maxPolicyBytes+1), false},
	} {
		if _, err := ParsePolicy(c.text); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	p := Policy{MX: []string{"mail.example.com", "*.example.net"}}
	for host, want := range map[string]bool{
		"mail.example.com": true, "MAIL.example.com.": true, "a.example.net": true, "example.net": false, "a.b.example.net": false,
		"xmail.example.com": false, "": false, ".example.net": true, "example.com": false,
	} {
		if p.Match(host) != want {
			t.Errorf("%q: got %t", host, !want)
		}
	}
}

func TestParseRecord(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		texts []string
		id    string
	}{
		{[]string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
		{[]string{"other", "v=STSv1;id=1"}, "1"},
		{[]string{"v=STSv1 ; x=y; id=2;"}, "2"},
		{[]string{"v=STSv1; id=1;", "v=STSv1; id=2;"}, ""},
		{[]string{"v=STSv2; id=1;"}, ""},
		{[]string{"v=STSv1;"}, ""},
		{[]string{"v=STSv1; id=a-b;"}, ""},
		{[]string{"v=STSv1; id=" + strings.Repeat("1", 33)}, ""},
		{nil, ""},
	} {
		if id, found := ParseRecord(c.texts); found != (c.id != "") || found && id != c.id {
			t.Errorf("%q: got %q, %t", c.texts, id, found)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(document)
	f.Add("mx:\n:\n::\nversion")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		if p.MaxAge < 0 || p.MaxAge > maxAge || p.Applies() && len(p.MX) == 0 || len(p.MX) > maxHosts {
			t.Fatalf("got %+v", p)
		}
		for _, mx := range p.MX {
			if strings.ContainsAny(mx, "/\\\x00 \r\n") || mx != strings.ToLower(mx) {
				t.Fatalf("got mx %q", mx)
			}
		}
	})
}

// world is DNS and the web for one domain.
type world struct {
	mu       sync.Mutex
	texts    []string
	dns      error
	status   int
	kind     string
	document string
	fetches  int
	url      string
}

func (w *world) TXT(context.Context, string) (dns.Answer[string], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return dns.Answer[string]{Records: w.texts}, w.dns
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fetches++
	w.url = r.URL.String()
	if w.status == 0 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{
		StatusCode: w.status, Body: io.NopCloser(strings.NewReader(w.document)), Request: r,
		Header: http.Header{"Content-Type": {w.kind}, "Location": {"https://elsewhere.test/"}},
	}, nil
}

func healthy() *world {
	return &world{texts: []string{"v=STSv1; id=1;"}, status: 200, kind: "text/plain; charset=utf-8", document: document}
}

func open(t *testing.T, w *world, dir string) *Cache {
	t.Helper()
	c, err := Open(Config{Resolver: w, Transport: w, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mode(t *testing.T, c *Cache) Mode {
	t.Helper()
	p, err := c.Lookup(t.Context(), "Example.com")
	if err != nil {
		t.Errorf("lookup: %v", err)
	}
	return p.Mode
}

// A policy holds for its time, over a restart, whatever becomes of DNS and the
// web; a new id or a day's age lets it be fetched again.
func TestPolicyHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, dir := healthy(), filepath.Join(t.TempDir(), "sts")
		c := open(t, w, dir)
		for range 2 {
			if m := mode(t, c); m != Enforce {
				t.Errorf("got %q", m)
			}
		}
		if w.fetches != 1 || w.url != "https://mta-sts.example.com/.well-known/mta-sts.txt" {
			t.Errorf("%d fetches, of %s", w.fetches, w.url)
		}
		w.dns, w.status = errors.New("SERVFAIL"), 0
		c = open(t, w, dir)
		if m := mode(t, c); m != Enforce || w.fetches != 1 {
			t.Errorf("after a restart, without DNS: got %q, %d fetches", m, w.fetches)
		}
		w.dns, w.texts = nil, nil
		if m := mode(t, c); m != Enforce {
			t.Errorf("with the record gone: got %q", m)
		}
		w.texts, w.status, w.document = []string{"v=STSv1; id=2;"}, 200, strings.Replace(document, "enforce", "testing", 1)
		if m := mode(t, c); m != Testing || w.fetches != 2 {
			t.Errorf("with a new id: got %q, %d fetches", m, w.fetches)
		}
		time.Sleep(refreshAfter)
		if m := mode(t, c); m != Testing || w.fetches != 3 {
			t.Errorf("a day later: got %q, %d fetches", m, w.fetches)
		}
		w.texts, w.status = nil, 0
		time.Sleep(8 * 24 * time.Hour)
		if m := mode(t, c); m != "" {
			t.Errorf("after its end: got %q", m)
		}
		open(t, w, dir)
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("got %v, %v: want nothing kept", left, err)
		}
	})
}

// What is announced and cannot be had is an error with a name, once in five
// minutes; mail goes on.
func TestPolicyNotHad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*world)
		reason string
	}{
		"refused":    {func(w *world) { w.status = 0 }, FetchError},
		"not found":  {func(w *world) { w.status = 404 }, FetchError},
		"redirected": {func(w *world) { w.status = 301 }, FetchError},
		"HTML":       {func(w *world) { w.kind = "text/html" }, Invalid},
		"too large":  {func(w *world) { w.document = strings.Repeat("x", 10*maxPolicyBytes) }, Invalid},
		"nonsense":   {func(w *world) { w.document = "x" }, Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := healthy()
				c.change(w)
				cache := open(t, w, "")
				for range 2 {
					if p, err := cache.Lookup(t.Context(), "example.com"); err == nil || Reason(err) != c.reason || p.Applies() {
						t.Errorf("got %+v, %v", p, err)
					}
				}
				if w.fetches != 1 {
					t.Errorf("%d fetches at once", w.fetches)
				}
				time.Sleep(failedPause)
				*w = *healthy()
				if m := mode(t, cache); m != Enforce {
					t.Errorf("when repaired: got %q", m)
				}
			})
		})
	}
}

// Names that could leave the folder or the URL have no policy.
func TestOddDomains(t *testing.T) {
	t.Parallel()
	w := healthy()
	c := open(t, w, t.TempDir())
	for _, name := range []string{"", "..", "../x", "a/b", "a b", "a..b", "[127.0.0.1]", "x@y", "a:1", strings.Repeat("a.", 130)} {
		if p, err := c.Lookup(t.Context(), name); err != nil || p.Applies() {
			t.Errorf("%q: got %+v, %v", name, p, err)
		}
	}
	if w.fetches != 0 {
		t.Errorf("fetched %s", w.url)
	}
}

// What a crash or somebody else left in the folder does no harm.
func TestFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"example.com": `{"id":"1","mo`, ".new-123": "x", "Readme": "mine", "example.net": `{"mode":"enforce","mx":["a"],"max_age":99999999999,"fetched":"2020-01-01T00:00:00Z"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := healthy()
	c := open(t, w, dir)
	if m := mode(t, c); m != Enforce || w.fetches != 1 {
		t.Errorf("got %q, %d fetches", m, w.fetches)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != "Readme" || entries[1].Name() != "example.com" {
		t.Errorf("got %v, %v", entries, err)
	}
}

func TestDomainsAreBounded(t *testing.T) {
	t.Parallel()
	c := open(t, healthy(), "")
	for i := range maxDomains {
		c.domains[strings.Repeat("x", i)] = &domain{busy: make(chan struct{}, 1), fetched: time.Unix(int64(1000+(i+500)%maxDomains), 0)}
	}
	if m := mode(t, c); m != Enforce || len(c.domains) != maxDomains || c.domains[strings.Repeat("x", maxDomains-500)] != nil {
		t.Errorf("got %q, %d domains", m, len(c.domains))
	}
}
