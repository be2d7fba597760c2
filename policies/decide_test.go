package policies

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// noon is the time of all requests that do not give another.
func noon() time.Time { return time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC) }

func testOptions() Options { return Options{Hostname: "files.example.com", Now: noon()} }

func mustParse(t testing.TB, src string) *Policy {
	t.Helper()
	p, err := Parse([]byte(src), "policy.hcl", testOptions())
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return p
}

const office = `
network "plant" { cidrs = ["10.20.0.0/16", "2001:db8:20::/48"] }
allow "files" {
  protocol = ["ftp", "sftp"]
  group    = "users"
}
allow "mail" {
  protocol = "submission"
  group    = "mail"
}
require "encrypted-login" {
  channel = "encrypted"
  reply   = "Use sftp://{hostname}"
}
require "admin-key" {
  method = "publickey"
  when { group = "admins" }
}
require "inside" {
  from = ["plant", "192.0.2.0/24"]
  when { listener = "internal" }
}
exempt "encrypted-login" "scanner-7" {
  user    = "scanner-7"
  from    = "plant"
  until   = "2027-06-30"
  owner   = "facilities@example.com"
  because = "replacement ordered"
}
`

// request is a login of a known user in the group users with a password.
func request(change ...func(*session.Request)) session.Request {
	r := session.Request{
		Phase: session.PhaseVerified, Time: noon(), Listener: "ftp", Protocol: session.FTP, Channel: session.TLS,
		Remote: netip.MustParseAddr("192.0.2.7"), User: "alice", Known: true, Groups: []string{"users"},
		Method: session.MethodPassword,
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func plain(r *session.Request) { r.Channel = session.Plain }
func named(r *session.Request) { r.Phase = session.PhaseNamed }
func connecting(r *session.Request) {
	*r = session.Request{Phase: session.PhaseConnect, Time: r.Time, Listener: r.Listener, Protocol: r.Protocol, Remote: r.Remote}
}
func unknown(r *session.Request) { r.User, r.Known, r.Groups = "nobody", false, nil }
func nameless(r *session.Request) {
	r.Phase, r.User, r.Known, r.Groups = session.PhaseNamed, "", false, nil
}
func scanner(r *session.Request) {
	r.User, r.Remote, r.Channel = "scanner-7", netip.MustParseAddr("10.20.3.4"), session.Plain
}
func noMethod(r *session.Request) { r.Method = "" }
func from(a string) func(*session.Request) {
	return func(r *session.Request) { r.Remote = netip.MustParseAddr(a) }
}
func groups(g ...string) func(*session.Request) {
	return func(r *session.Request) { r.Groups = g }
}
func at(t string) func(*session.Request) {
	return func(r *session.Request) { r.Time, _ = time.Parse(time.RFC3339, t) }
}
func listener(l string) func(*session.Request) { return func(r *session.Request) { r.Listener = l } }
func over(p session.Protocol) func(*session.Request) {
	return func(r *session.Request) { r.Protocol = p }
}

func TestDecide(t *testing.T) {
	t.Parallel()
	const (
		allowed  = "allowed"
		refused  = "refused"
		insecure = "insecure"
	)
	p := mustParse(t, office)
	for _, tc := range []struct {
		name    string
		request session.Request
		want    string
		rule    string
	}{
		{"encrypted user", request(), allowed, `allow "files" (policy.hcl:3)`},
		{"clear user", request(plain), insecure, `require "encrypted-login" (policy.hcl:11)`},
		{"clear user, named", request(plain, named), insecure, `require "encrypted-login"`},
		{"clear user, named, no method yet", request(plain, named, noMethod), insecure, `require "encrypted-login"`},
		{"clear unknown user gets the same", request(plain, named, unknown), insecure, `require "encrypted-login"`},
		{"clear user of no group gets the same", request(plain, named, groups()), insecure, `require "encrypted-login"`},
		{"no group", request(groups()), refused, `default deny (policy.hcl)`},
		{"wrong group", request(groups("mail")), refused, `default deny (policy.hcl)`},
		{"second group matches", request(groups("x", "users")), allowed, `allow "files"`},
		{"unknown, named", request(named, unknown), refused, `default deny`},
		{"unknown, verified", request(unknown, groups("users")), refused, `default deny`},
		{"admin by password", request(groups("users", "admins")), refused, `require "admin-key"`},
		{"admin, method not known", request(groups("users", "admins"), noMethod), refused, `require "admin-key"`},
		{"listener inside", request(listener("internal")), allowed, `allow "files"`},
		{"listener from outside", request(listener("internal"), from("198.51.100.1")), refused, `require "inside"`},
		{"connect inside", request(listener("internal"), connecting), allowed, ``},
		{"connect outside", request(listener("internal"), from("198.51.100.1"), connecting), refused, `require "inside"`},
		{"connect elsewhere", request(from("198.51.100.1"), connecting), allowed, ``},
		{"connect, listener not known", request(listener(""), from("198.51.100.1"), connecting), refused, `require "inside"`},
		{"exempt", request(scanner), allowed, `exempt "encrypted-login" "scanner-7" (policy.hcl:23)`},
		{"exempt over IPv6", request(scanner, from("2001:db8:20::9")), allowed, `exempt "encrypted-login"`},
		{"exempt over mapped IPv4", request(scanner, from("::ffff:10.20.0.1")), allowed, `exempt "encrypted-login"`},
		{"exempt from elsewhere", request(scanner, from("10.21.0.0")), insecure, `require "encrypted-login"`},
		{"exempt below", request(scanner, from("10.19.255.255")), insecure, `require "encrypted-login"`},
		{"exempt of another", request(plain, from("10.20.3.4")), insecure, `require "encrypted-login"`},
		{"exempt on its last day", request(scanner, at("2027-06-30T23:59:59Z")), allowed, `exempt`},
		{"exempt after its last day", request(scanner, at("2027-07-01T00:00:00Z")), insecure, `require "encrypted-login"`},
		{"exempt at a time not known", request(scanner, func(r *session.Request) { r.Time = time.Time{} }), insecure, `require`},
		{"address not known", request(scanner, func(r *session.Request) { r.Remote = netip.Addr{} }), insecure, `require`},
		{"protocol not known", request(over("gopher")), refused, `default deny`},
		{"phase not known", request(func(r *session.Request) { r.Phase = "" }), refused, `default deny`},
		{"channel kind not known is clear", request(func(r *session.Request) { r.Channel = 9 }), insecure, `require`},
		{"anybody, encrypted", request(nameless), allowed, `allow "files"`},
		{"anybody, clear", request(nameless, plain), insecure, `require "encrypted-login"`},
		{"anybody, clear, in the plant", request(nameless, plain, from("10.20.0.9")), allowed, `exempt`},
		{"anybody, mail", request(nameless, over(session.Submission)), allowed, `allow "mail"`},
		{"anybody, mail, clear", request(nameless, plain, over(session.Submission)), insecure, `require`},
		{"anybody, relay", request(nameless, over(session.Relay)), refused, `default deny`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := p.Decide(tc.request)
			got := refused
			if v.Allowed {
				got = allowed
			} else if v.Insecure {
				got = insecure
			}
			if got != tc.want || !strings.HasPrefix(v.Rule, tc.rule) {
				t.Errorf("got %s by %s (%s), want %s by %s", got, v.Rule, v.Reason, tc.want, tc.rule)
			}
			if v.Insecure && v.Hint != "Use sftp://files.example.com" {
				t.Errorf("got hint %q, want the reply of the rule", v.Hint)
			}
			if v.Reason == "" && tc.request.Phase != session.PhaseConnect {
				t.Error("got no reason")
			}
		})
	}
}

func TestZeroPolicyRefuses(t *testing.T) {
	t.Parallel()
	var none *Policy
	if v := none.Decide(request()); v.Allowed {
		t.Errorf("nil policy: got %+v, want a refusal", v)
	}
	if got := none.Hash(); got != "" {
		t.Errorf("nil policy: got hash %q, want none", got)
	}
	if v := mustParse(t, "").Decide(request()); v.Allowed {
		t.Errorf("empty policy: got %+v, want a refusal", v)
	}
}

// A user who exists only as an exemption's condition must not make the channel
// look open to everybody: kinds of user are tried one by one.
func TestAnybodyNeedsOneUserForAll(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `
allow "mail" {
  protocol = "submission"
  group    = "mail"
}
require "encrypted" {
  channel = "encrypted"
  when { group = "mail" }
}
`)
	r := request(nameless, plain, over(session.Submission))
	if v := p.Decide(r); v.Allowed {
		t.Errorf("got %+v: whoever is in mail must encrypt, so AUTH must not be offered in clear", v)
	}
	r.Channel = session.TLS
	if v := p.Decide(r); !v.Allowed {
		t.Errorf("got %+v, want allowed over TLS", v)
	}
}

// An allow that holds only over an encrypted channel refuses before the
// credential too.
func TestAllowOverEncryptedChannelOnly(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `allow "files" {
  protocol = "ftp"
  channel  = "tls"
}`)
	for _, change := range []func(*session.Request){func(*session.Request) {}, unknown, nameless} {
		if v := p.Decide(request(plain, named, change)); !v.Insecure || v.Allowed {
			t.Errorf("got %+v, want insecure", v)
		}
	}
	if v := p.Decide(request()); !v.Allowed {
		t.Errorf("got %+v, want allowed", v)
	}
}

// At connect, an exemption that may match later must not be cut off.
func TestConnectWaitsForExemption(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `
allow "files" { protocol = "ftp" }
require "inside" { from = "10.0.0.0/8" }
exempt "inside" "traveller" {
  user     = "alice"
  listener = "ftp"
  until    = "2027-06-30"
  owner    = "o"
  because  = "travels"
}
`)
	if v := p.Decide(request(connecting)); !v.Allowed {
		t.Errorf("connect: got %+v, want allowed", v)
	}
	if v := p.Decide(request(connecting, listener("other"))); v.Allowed {
		t.Errorf("connect at another listener: got %+v, want refused", v)
	}
	if v := p.Decide(request(named)); !v.Allowed {
		t.Errorf("alice: got %+v, want allowed", v)
	}
	if v := p.Decide(request(named, unknown)); v.Allowed || v.Insecure {
		t.Errorf("somebody else: got %+v, want refused", v)
	}
}
