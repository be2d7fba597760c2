package policies

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// dataRules is the example of docs/policy.md: partners who must be bound, a host
// that needs CCC, and a client that cannot resume.
const dataRules = `
network "partners" { cidrs = ["192.0.2.0/24"] }
network "mainframe" { cidrs = ["10.1.2.3"] }

allow "files" {
  protocol = ["ftp", "sftp"]
  group    = "users"
}
allow "zos" {
  protocol       = "ftp"
  user           = "zos-batch"
  from           = "mainframe"
  tls_resumption = "preferred"
  grants         = ["clear-control", "clear-data"]
}
allow "no resumption" {
  protocol       = "ftp"
  group          = "java"
  tls_resumption = "off"
}
require "bound" {
  tls_resumption = "required"
  when { from = "partners" }
}
require "at least the certificate" {
  tls_resumption = "preferred"
  when { group = "finance" }
}
exempt "bound" "acme" {
  user    = "acme"
  from    = "partners"
  until   = "2027-06-30"
  owner   = "edi@example.com"
  because = "their client cannot resume, update announced"
}
`

func TestDecideData(t *testing.T) {
	t.Parallel()
	p := mustParse(t, dataRules)
	if w := p.Warnings(); len(w) > 0 {
		t.Errorf("got warnings %v, want none", w)
	}
	const (
		required  = session.ResumptionRequired
		preferred = session.ResumptionPreferred
		off       = session.ResumptionOff
	)
	user := func(name string) func(*session.Request) { return func(r *session.Request) { r.User = name } }
	home := from("198.51.100.9")
	for _, tc := range []struct {
		name    string
		request session.Request
		want    session.DataRules
	}{
		{"nothing said", request(home), session.DataRules{}},
		{"granted", request(home, groups("java")), session.DataRules{Granted: off}},
		{"the loosest of all that match", request(user("zos-batch"), from("10.1.2.3"), groups("users", "java")),
			session.DataRules{Granted: off, ClearData: true, ClearControl: true}},
		{"granted in one place", request(user("zos-batch"), from("10.1.2.3"), groups()),
			session.DataRules{Granted: preferred, ClearData: true, ClearControl: true}},
		{"not elsewhere", request(user("zos-batch"), home), session.DataRules{}},
		{"demanded", request(), session.DataRules{Demanded: required}},
		{"the strictest of all that apply", request(groups("users", "finance")), session.DataRules{Demanded: required}},
		{"demanded of a group", request(home, groups("java", "finance")), session.DataRules{Granted: off, Demanded: preferred}},
		{"exempted", request(user("acme")), session.DataRules{}},
		{"exempted from one of two", request(user("acme"), groups("users", "finance")), session.DataRules{Demanded: preferred}},
		{"exempted no longer", request(user("acme"), at("2027-07-01T00:00:00Z")), session.DataRules{Demanded: required}},
		{"exempted at a time not known", request(user("acme"), func(r *session.Request) { r.Time = time.Time{} }), session.DataRules{Demanded: required}},
		{"before the proof", request(named), session.DataRules{}},
		{"refused", request(groups("strangers")), session.DataRules{}},
		{"no account", request(unknown), session.DataRules{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := p.Decide(tc.request).Data; got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if refused := tc.name == "refused" || tc.name == "no account"; p.Decide(tc.request).Allowed == refused {
				t.Errorf("got allowed %v", !refused)
			}
		})
	}
}

// A require may be about the login and about its data connections; the exemption
// waives both.
func TestRequireOfBothKinds(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `
allow "files" { protocol = "ftp" }
require "safe" {
  channel        = "tls"
  tls_resumption = "required"
}
exempt "safe" "old" {
  from    = "10.0.0.0/8"
  until   = "2027-06-30"
  owner   = "o"
  because = "b"
}
`)
	if v := p.Decide(request()); !v.Allowed || v.Data.Demanded != session.ResumptionRequired {
		t.Errorf("over TLS: got %+v, want allowed with resumption", v)
	}
	if v := p.Decide(request(plain)); v.Allowed || !v.Insecure {
		t.Errorf("in clear: got %+v, want refused before the credential", v)
	}
	for name, r := range map[string]session.Request{"clear": request(plain, from("10.0.0.1")), "tls": request(from("10.0.0.1"))} {
		if v := p.Decide(r); !v.Allowed || v.Data != (session.DataRules{}) {
			t.Errorf("exempted, %s: got %+v, want allowed without a demand", name, v)
		}
	}
}

// A require that is about data connections alone refuses no login, at no phase
// and over no channel.
func TestDataRequirementRefusesNobody(t *testing.T) {
	t.Parallel()
	const allow = "allow \"files\" { protocol = [\"ftp\", \"submission\"] }\n"
	p, q := mustParse(t, allow), mustParse(t, allow+"require \"bound\" { tls_resumption = \"required\" }\n")
	for _, r := range []session.Request{
		request(), request(plain), request(named, plain), request(connecting), request(nameless), request(unknown),
		request(over(session.Submission)), request(over(session.Relay)),
	} {
		a, b := p.Decide(r), q.Decide(r)
		b.Data = session.DataRules{}
		a.Rule, b.Rule = "", ""
		if a.Allowed != b.Allowed || a.Insecure != b.Insecure || a.Reason != b.Reason {
			t.Errorf("%+v: got %+v, want %+v", r, b, a)
		}
	}
}

func TestDataWarnings(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ src, want string }{
		"never ftp": {`allow "a" {
  protocol = "sftp"
  grants   = "clear-data"
}`, `policy.hcl:1: allow "a" says something of data connections and can never match FTP over TLS`},
		"never tls": {`allow "a" {
  protocol       = "ftp"
  channel        = "plain"
  tls_resumption = "off"
}`, `allow "a" says something of data connections and can never match FTP over TLS`},
		"enrol over sftp": {`allow "a" {
  protocol = "sftp"
  grants   = "enrol-keys"
}`, ""},
		"enrol over ftp": {`allow "a" {
  protocol = "ftp"
  grants   = "enrol-keys"
}`, `allow "a" grants enrol-keys and can never match SFTP with a password`},
		"enrol by key": {`allow "a" {
  protocol = "sftp"
  method   = "publickey"
  grants   = "enrol-keys"
}`, `allow "a" grants enrol-keys and can never match SFTP with a password`},
		"offered keys over ftp": {`allow "a" {
  protocol = "ftp"
  grants   = ["enrol-keys", "enrol-offered"]
}`, `allow "a" grants enrol-keys and enrol-offered and can never match SFTP with a password`},
		"any protocol": {`allow "a" {
  group  = "users"
  grants = "clear-control"
}`, ""},
		"granting the strictest": {`allow "a" {
  protocol       = "ftp"
  tls_resumption = "required"
}`, "loosens nothing"},
		"demanding the loosest": {`require "a" { tls_resumption = "off" }`, "restricts nothing"},
		"demanded of sftp": {`require "a" {
  tls_resumption = "required"
  when { protocol = "sftp" }
}`, `require "a" says something of data connections and never applies to FTP over TLS`},
		"useful exemption": {`require "a" { tls_resumption = "required" }
exempt "a" "x" {
  from    = "10.0.0.0/8"
  until   = "2027-06-30"
  owner   = "o"
  because = "b"
}`, ""},
		"useless exemption": {`require "a" { tls_resumption = "required" }
exempt "a" "x" {
  from     = "10.0.0.0/8"
  protocol = "sftp"
  until    = "2027-06-30"
  owner    = "o"
  because  = "b"
}`, "is never needed"},
	} {
		w := mustParse(t, tc.src).Warnings()
		if tc.want == "" && len(w) > 0 || tc.want != "" && (len(w) != 1 || !strings.Contains(w[0].String(), tc.want)) {
			t.Errorf("%s: got %v, want %q", name, w, tc.want)
		}
	}
}

func TestExplainData(t *testing.T) {
	t.Parallel()
	p := mustParse(t, dataRules)
	for name, r := range map[string]session.Request{
		"partner": request(),
		"exempt":  request(func(r *session.Request) { r.User = "acme" }),
		"zos": request(from("10.1.2.3"), func(r *session.Request) {
			r.User = "zos-batch"
		}),
	} {
		e := p.Explain(r)
		var text bytes.Buffer
		if err := e.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/explain-data-"+name+".txt", text.String())
		if e.Data == nil {
			t.Errorf("%s: got no rules for data connections", name)
		}
	}
	for name, r := range map[string]session.Request{
		"sftp":    request(over(session.SFTP), func(r *session.Request) { r.Channel = session.SSH }),
		"refused": request(groups()),
		"plain":   request(plain),
		"named":   request(named),
	} {
		if e := p.Explain(r); e.Data != nil {
			t.Errorf("%s: got %+v, want nothing", name, e.Data)
		}
	}
}

// What an explanation says in words is what it says by listener.
func TestDataFinding(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]session.DataRules{
		"tls_resumption as the listener asks": {},
		"tls_resumption required":             {Granted: session.ResumptionOff, Demanded: session.ResumptionRequired},
		"tls_resumption off":                  {Granted: session.ResumptionOff},
		"tls_resumption preferred":            {Granted: session.ResumptionOff, Demanded: session.ResumptionPreferred},
		"tls_resumption preferred, or off where the listener asks for no more":      {Granted: session.ResumptionPreferred},
		"tls_resumption required, or preferred where the listener asks for no more": {Demanded: session.ResumptionPreferred},
	} {
		if got := newDataFinding(d).lines(); !slices.Contains(got, want) {
			t.Errorf("%+v: got %q, want %q", d, got, want)
		}
	}
	for want, d := range map[string]session.DataRules{
		"clear data connections (PROT C) and clear control (CCC) not granted": {},
		"clear data connections (PROT C) granted":                             {ClearData: true},
		"clear control (CCC) granted":                                         {ClearControl: true},
		"clear data connections (PROT C) and clear control (CCC) granted":     {ClearData: true, ClearControl: true},
	} {
		if got := newDataFinding(d).lines(); !slices.Contains(got, want) {
			t.Errorf("%+v: got %q, want %q", d, got, want)
		}
	}
}

// The grants to bring keys are explained to whom they help: who logs in by password.
func TestExplainEnrolKeys(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `allow "files" {
  protocol = "sftp"
  group    = "users"
  grants   = ["enrol-keys", "enrol-offered"]
}`)
	for method, want := range map[session.Method]bool{
		session.MethodPassword: true, session.MethodKeyboardInteractive: true, session.MethodPublicKey: false,
	} {
		e := p.Explain(request(over(session.SFTP), func(r *session.Request) { r.Channel, r.Method = session.SSH, method }))
		var text bytes.Buffer
		if err := e.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		const lines = "keys     may be put as .ssh/authorized_keys\nkeys     that the client offers before are enrolled\n"
		if e.Verdict != verdictAllow || e.EnrolKeys != want || e.EnrolOffered != want || strings.Contains(text.String(), lines) != want {
			t.Errorf("%s: got %v and %v, want %v, in\n%s", method, e.EnrolKeys, e.EnrolOffered, want, &text)
		}
	}
}
