package queue

import (
	"errors"
	"strings"
	"testing"
)

func TestParseRoute(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want, words string }{
		{"smtp://mail.example.com", "smtp://mail.example.com:25", ""},
		{"smtp://Mail.Example.com:2525", "smtp://mail.example.com:2525", ""},
		{"smtp://192.0.2.1", "smtp://192.0.2.1:25", ""},
		{"smtp://[2001:db8::1]:26", "smtp://[2001:db8::1]:26", ""},
		{"smtps://mail.example.com", "smtps://mail.example.com:465", ""},
		{"smtp://mail_out", "smtp://mail_out:25", ""},
		{"lmtp://store:24", "lmtp://store:24", ""},
		{"lmtp:///run/dovecot/lmtp", "lmtp:///run/dovecot/lmtp", ""},
		{"maildir://inbox", "maildir://inbox", ""},
		{"maildir://a/b@c.d", "maildir://a/b@c.d", ""},
		{"mx", "mx", ""},
		{"smart-host", "smart-host", ""},
		{"MX", "", "want mx"},
		{"", "", "want mx"},
		{"mail.example.com", "", "name of a route"},
		{"http://x", "", "unknown scheme"},
		{"SMTP://x", "", "unknown scheme"},
		{"smtp://", "", "no host"},
		{"smtp://:25", "", "no host"},
		{"smtp://x:0", "", "port"},
		{"smtp://x:65536", "", "port"},
		{"smtp://x:y", "", "want smtp://host:port"},
		{"smtp://x/y", "", "path"},
		{"smtp://x?y=z", "", "options"},
		{"smtp://x#y", "", "options"},
		{"smtp://-x", "", "host name"},
		{"smtp://[fe80::1%25eth0]", "", "zone"},
		{"smtp://x..y", "", "host name"},
		{"smtp://joe:hunter2@x", "", "route block"},
		{"smtp://joe@x", "", "route block"},
		{"smtp://joe:hunt%zzer2@x", "", "want smtp://host:port"},
		{"smtp://x\r\ny", "", "control"},
		{"smtp://ü", "", "ASCII"},
		{"lmtp://store", "", "port"},
		{"lmtp:///", "", "socket"},
		{"lmtp:///a/../b", "", "socket"},
		{"lmtp:///" + strings.Repeat("x", 200), "", "longer"},
		{"maildir://", "", "folder"},
		{"maildir:///inbox", "", "relative"},
		{"maildir://../x", "", "dot"},
		{"maildir://a/../../x", "", "dot"},
		{"maildir://a//b", "", "empty"},
		{"maildir://a/new", "", "tmp, new or cur"},
		{"maildir://a:b", "", "letters"},
		{"smtp://" + strings.Repeat("x", 2000), "", "longer"},
	} {
		got, err := ParseRoute(c.in)
		if got.String() != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: got %q, %v; want %q", c.in, got, err, c.want)
		}
		if err != nil && (!errors.Is(err, ErrRoute) || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%q: got error %v, want %q in it", c.in, err, c.words)
		}
	}
}

func FuzzRoute(f *testing.F) {
	for _, s := range []string{"smtp://x", "smtps://[::1]:1", "lmtp:///a", "lmtp://x:1", "maildir://a/b", "smtp://u:p@x", "maildir://.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRoute(s)
		if err != nil {
			if !r.IsZero() {
				t.Fatalf("%q: got %q with an error", s, r)
			}
			return
		}
		again, err := ParseRoute(r.String())
		if err != nil || again != r {
			t.Fatalf("%q: %q parses to %q, %v", s, r, again, err)
		}
		if r.maildir() && (strings.Contains(r.path, "..") && strings.Contains("/"+r.path+"/", "/../") || r.path[0] == '/') {
			t.Fatalf("%q: got folder %q", s, r.path)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add("Received: a\r\nSubject: b\r\n\r\nReceived: c\r\n")
	f.Add("received: a\nx")
	f.Add("")
	f.Add(strings.Repeat("x", maxHeader+10))
	f.Fuzz(func(t *testing.T, s string) {
		h, err := readHeader(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(s, string(h.raw)) || len(h.raw) > maxHeader || h.received > strings.Count(strings.ToLower(s), "received:") {
			t.Fatalf("got %d bytes, %d received", len(h.raw), h.received)
		}
	})
}
