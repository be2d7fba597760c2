package policies

import (
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// Every fact, by a rule that looks at it.
func TestFacts(t *testing.T) {
	t.Parallel()
	const head = `
settings { time_zone = "Europe/Berlin" }
profile "tls-2026" {
  dated   = "2026-11-01"
  tls     = "1.2"
  ciphers = ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
  groups  = ["x25519", "X25519MLKEM768"]
}
allow "files" { protocol = ["ftp", "sftp"] }
require "it" {
  `
	good := func(r *session.Request) {
		r.TLS = session.TLSFacts{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Group: "X25519MLKEM768"}
	}
	byKey := func(kind string) func(*session.Request) {
		return func(r *session.Request) {
			r.Protocol, r.Channel, r.Method, r.Key, r.Proven = session.SFTP, session.SSH, session.MethodPublicKey, kind, session.FactorKey
		}
	}
	exposed := func(days int) func(*session.Request) {
		return func(r *session.Request) { r.Exposed = r.Time.AddDate(0, 0, -days) }
	}
	old := func(days int) func(*session.Request) {
		return func(r *session.Request) { r.PasswordSet = r.Time.AddDate(0, 0, -days) }
	}
	for _, tc := range []struct {
		rule    string
		request session.Request
		want    string
	}{
		{`time = "08:00-18:00"`, request(at("2027-03-01T07:00:00Z")), "allowed"},
		{`time = "08:00-18:00"`, request(at("2027-03-01T06:59:59Z")), "refused"},
		{`time = "08:00-18:00"`, request(at("2027-03-01T17:00:00Z")), "refused"},
		{`time = "08:00-18:00"`, request(at("2027-07-01T06:00:00Z")), "allowed"}, // in summer
		{`time = "22:00-06:00"`, request(at("2027-03-01T22:30:00Z")), "allowed"},
		{`time = "22:00-06:00"`, request(at("2027-03-01T12:00:00Z")), "refused"},
		{`time = ["00:00-01:00", "23:00-24:00"]`, request(at("2027-03-01T22:59:00Z")), "allowed"},
		{`time = "08:00-18:00"`, request(at("2027-03-01T06:59:59Z"), connecting), "refused"},
		{`weekday = "workday"`, request(at("2027-03-05T22:59:59Z")), "allowed"},
		{`weekday = "workday"`, request(at("2027-03-05T23:00:00Z")), "refused"}, // Saturday in Berlin
		{`client = ["winscp", "openssh"]`, request(func(r *session.Request) { r.Client = session.ClientWinSCP }), "allowed"},
		{`client = ["winscp", "openssh"]`, request(), "refused"},
		{`tls_version = "1.3"`, request(good), "allowed"},
		{`tls_version = "1.3"`, request(), "insecure"},
		{`profile = "tls-2026"`, request(good), "allowed"},
		{`profile = "tls-2026"`, request(good, named, func(r *session.Request) { r.TLS.Version = "TLS 1.0" }), "insecure"},
		{`profile = "tls-2026"`, request(good, named, func(r *session.Request) { r.TLS.Cipher = "TLS_AES_256_GCM_SHA384" }), "insecure"},
		{`profile = "tls-2026"`, request(good, named, func(r *session.Request) { r.TLS.Group = "CurveP256" }), "insecure"},
		{`profile = "tls-2026"`, request(good, named, func(r *session.Request) { r.TLS.Group = "" }), "insecure"},
		{`profile = "tls-2026"`, request(plain), "allowed"}, // it has none
		{`resumed = "no"`, request(func(r *session.Request) { r.TLS.Resumed = true }), "refused"},
		{`client_certificate = "yes"`, request(func(r *session.Request) { r.TLS.Certificate = true }), "allowed"},
		{`client_certificate = "yes"`, request(), "refused"},
		{`key = ["ed25519", "rsa-4096"]`, request(byKey("ed25519")), "allowed"},
		{`key = ["ed25519", "rsa-4096"]`, request(byKey("rsa-3072")), "refused"},
		{`key = "rsa"`, request(byKey("rsa-3072")), "allowed"},
		{`key = "ed25519"`, request(byKey(""), named), "allowed"}, // it is decided later
		{`key = "ed25519"`, request(), "refused"},
		{`known_place = "yes"`, request(func(r *session.Request) { r.Place = true }), "allowed"},
		{`known_place = "yes"`, request(), "refused"},
		{`known_place = "yes"`, request(nameless), "allowed"},
		{`exposed = "no"`, request(), "allowed"},
		{`exposed = "no"`, request(exposed(0)), "refused"},
		{`exposed = "no"`, request(exposed(0), byKey("ed25519")), "allowed"},
		{`exposed = "no, or for less than 14d"`, request(), "allowed"},
		{`exposed = "no, or for less than 14d"`, request(exposed(13)), "allowed"},
		{`exposed = "no, or for less than 14d"`, request(exposed(14)), "refused"},
		{`exposed = "yes"`, request(exposed(14)), "allowed"},
		{`exposed = "for more than 14d"`, request(exposed(13)), "refused"},
		{`password_age = "less than 90d"`, request(old(89)), "allowed"},
		{`password_age = "less than 90d"`, request(old(90)), "refused"},
		{`password_age = "less than 90d"`, request(old(90), byKey("ed25519")), "allowed"},
		{`password_age = "more than 90d"`, request(old(90)), "allowed"},
	} {
		p := mustParse(t, head+tc.rule+"\n}\n")
		v := p.Decide(tc.request)
		got := "refused"
		if v.Allowed {
			got = "allowed"
		} else if v.Insecure {
			got = "insecure"
		}
		if got != tc.want {
			t.Errorf("%s: got %s (%s), want %s for %+v", tc.rule, got, v.Reason, tc.want, tc.request)
		}
		if e := p.Explain(tc.request); tc.request.User != "" && tc.request.Phase == session.PhaseVerified && (e.Verdict == verdictAllow) != v.Allowed {
			t.Errorf("%s: explained as %s", tc.rule, e.Verdict)
		}
	}
}

func TestFactsInExpect(t *testing.T) {
	t.Parallel()
	mustParse(t, `
allow "files" { protocol = "ftp" }
require "rotated" { exposed = "no, or for less than 14d" }
require "ratchet" { channel = "at least the account's own floor" }
require "tls" {
  tls_version = "1.3"
  when { channel = "tls" }
}
expect "exposed for long" {
  user        = "joe"
  protocol    = "ftp"
  channel     = "tls"
  tls_version = "1.3"
  exposed     = "20d"
  verdict     = "refuse"
}
expect "exposed of late" {
  user        = "joe"
  protocol    = "ftp"
  channel     = "tls"
  tls_version = "1.3"
  exposed     = "13d"
  verdict     = "allow"
}
expect "of old TLS" {
  user        = "joe"
  protocol    = "ftp"
  channel     = "tls"
  tls_version = "1.2"
  verdict     = "refuse"
}
expect "no way back" {
  user     = "joe"
  protocol = "ftp"
  channel  = "plain"
  floor    = "encrypted"
  verdict  = "refuse"
}
expect "never encrypted" {
  user     = "joe"
  protocol = "ftp"
  channel  = "plain"
  verdict  = "allow"
}
`)
}

func TestWarningsAboutFacts(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `
profile "old" {
  dated = "2020-01-01"
  tls   = "1.2"
}
allow "a" {
  protocol = "ftp"
  client   = "winscp"
}
`)
	var text strings.Builder
	for _, w := range p.Warnings() {
		text.WriteString(w.String() + "\n")
	}
	for _, want := range []string{"profile \"old\" is of 2020-01-01", "profile \"old\" is not used", "whoever wants to can say the same"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("got %s, want %q", text.String(), want)
		}
	}
}

func TestDecideOnFactsDoesNotAllocate(t *testing.T) {
	p := mustParse(t, `
settings { time_zone = "Europe/Berlin" }
profile "p" {
  dated   = "2026-11-01"
  tls     = "1.2"
  ciphers = "TLS_AES_128_GCM_SHA256"
  groups  = "x25519"
}
allow "a" {
  protocol = "ftp"
  client   = "winscp"
  weekday  = "workday"
  time     = "08:00-18:00"
}
require "p" { profile = "p" }
require "r" { channel = "at least the account's own floor" }
require "e" {
  exposed      = "no"
  password_age = "less than 90d"
  known_place  = "yes"
}
require "k" {
  key = "ed25519"
  when { method = "publickey" }
}
`)
	r := request(func(r *session.Request) {
		r.Client, r.Place, r.PasswordSet = session.ClientWinSCP, true, r.Time.Add(-time.Hour)
		r.TLS = session.TLSFacts{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Group: "X25519"}
	})
	if v := p.Decide(r); !v.Allowed {
		t.Fatalf("got %+v, want allowed", v)
	}
	if n := testing.AllocsPerRun(100, func() { p.Decide(r) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

// Wherever a statement looks at the client, the policy says that it does.
func TestLooksAtClient(t *testing.T) {
	t.Parallel()
	const rest = "allow \"all\" { protocol = \"sftp\" }\nrequire \"r\" { channel = \"encrypted\" }\n"
	for text, want := range map[string]bool{
		rest: false,
		rest + "allow \"a\" { client = \"winscp\" }\n":                                                                                              true,
		rest + "require \"q\" { client = \"winscp\" }\n":                                                                                            true,
		rest + "require \"q\" {\n channel = \"ssh\"\n when { client = \"winscp\" }\n}\n":                                                            true,
		rest + "require \"q\" {\n channel = \"ssh\"\n rollout \"w\" {\n client = \"winscp\"\n enforce = \"2027-01-01\"\n }\n}\n":                    true,
		rest + "exempt \"r\" \"e\" {\n client = \"winscp\"\n from = \"10.0.0.0/8\"\n until = \"2027-01-01\"\n owner = \"o\"\n because = \"b\"\n}\n": true,
	} {
		if got := mustParse(t, text).LooksAtClient(); got != want {
			t.Errorf("got %v, want %v for\n%s", got, want, text)
		}
	}
	if (*Policy)(nil).LooksAtClient() {
		t.Error("no policy looks at the client")
	}
}
