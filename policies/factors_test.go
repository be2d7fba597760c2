package policies

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

const twoFactors = `
allow "files" { protocol = ["ftp", "sftp"] }
require "two factors" {
  factors = ["publickey+password", "password+code"]
  when {
    group    = "admins"
    protocol = "sftp"
  }
}
require "keys outside" {
  factors = "publickey"
  when { from = "198.51.100.0/24" }
}
exempt "two factors" "old" {
  user    = "old"
  from    = "192.0.2.0/24"
  until   = "2027-06-30"
  owner   = "it@example.com"
  because = "new token ordered"
}
expect "a password is not enough" {
  user     = "joe"
  group    = "admins"
  protocol = "sftp"
  verdict  = "refuse"
}
expect "with a code it is" {
  user     = "joe"
  group    = "admins"
  protocol = "sftp"
  from     = "192.0.2.7"
  proven   = "password+code"
  verdict  = "allow"
}
`

func TestFactors(t *testing.T) {
	t.Parallel()
	p := mustParse(t, twoFactors)
	for _, c := range []struct {
		name, user, group, from, proven string
		want                            bool
		rule                            string
	}{
		{"another group", "joe", "users", "192.0.2.7", "password", true, ""},
		{"too little", "joe", "admins", "192.0.2.7", "password", false, "two factors"},
		{"nothing known", "joe", "admins", "192.0.2.7", "", false, "two factors"},
		{"wrong pair", "joe", "admins", "192.0.2.7", "publickey+code", false, "two factors"},
		{"enough", "joe", "admins", "192.0.2.7", "publickey+password", true, ""},
		{"more than enough", "joe", "admins", "192.0.2.7", "publickey+password+code", true, ""},
		{"exempted", "old", "admins", "192.0.2.7", "password", true, ""},
		{"exempted elsewhere only", "old", "admins", "203.0.113.1", "password", false, "two factors"},
		{"both rules, one met", "joe", "admins", "198.51.100.1", "password+code", false, "keys outside"},
		{"both rules", "joe", "admins", "198.51.100.1", "publickey+password", true, ""},
	} {
		r := request(func(r *session.Request) {
			r.Protocol, r.Channel, r.User, r.Groups = session.SFTP, session.SSH, c.user, []string{c.group}
			r.Remote = netip.MustParseAddr(c.from)
			_ = r.Proven.UnmarshalText([]byte(c.proven))
		})
		got := p.Decide(r)
		if got.Allowed != c.want || c.rule != "" && !strings.Contains(got.Rule, c.rule) {
			t.Errorf("%s: got %+v, want %v by %q", c.name, got, c.want, c.rule)
		}
		if r.Phase = session.PhaseNamed; !p.Decide(r).Allowed {
			t.Errorf("%s: refused before the proof", c.name)
		}
		if got := p.Decide(r).Lacking.More(r.Proven); got == c.want {
			t.Errorf("%s: before the proof, more is needed: %v", c.name, got)
		}
	}
}

func TestFactorsAreChecked(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		`factors = "passwort"`:          `"passwort" is not one of`,
		`factors = "password+password"`: "twice",
		`factors = []`:                  "mpty list",
	} {
		_, err := Parse([]byte("allow \"a\" { protocol = \"sftp\" }\nrequire \"r\" {\n  "+src+"\n}\n"), "policy.hcl", testOptions())
		if err == nil || !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), want) {
			t.Errorf("%s: got %v, want %q", src, err, want)
		}
	}
}

func TestFactorsAreExplained(t *testing.T) {
	t.Parallel()
	p := mustParse(t, twoFactors)
	e := p.Explain(request(func(r *session.Request) {
		r.Protocol, r.Channel, r.Groups = session.SFTP, session.SSH, []string{"admins"}
	}))
	var text strings.Builder
	if err := e.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"verdict  refuse, at phase verified", "required and not proven: publickey+password or password+code",
		"proven is password, not publickey+password or password+code", "  password+code proven",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("not said: %q in\n%s", want, text.String())
		}
	}
}

func TestFactorsThatAProtocolCannotShow(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		`allow "a" { protocol = ["ftp", "sftp"] }
require "r" { factors = "password+code" }`: "cannot be met over ftp,",
		`allow "a" { protocol = ["ftp", "submission"] }
require "r" { factors = "publickey+password" }`: "cannot be met over submission,",
		`allow "a" { protocol = ["ftp", "sftp"] }
require "r" { factors = "publickey+password" }`: "",
		`allow "a" { protocol = ["ftp", "sftp"] }
require "r" {
  factors = "password+code"
  when { protocol = "sftp" }
}`: "",
	} {
		var got []string
		for _, w := range mustParse(t, src).lint(time.Now()) {
			got = append(got, w.Text)
		}
		if want == "" && len(got) > 0 || !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("%s\ngot %q, want %q", src, got, want)
		}
	}
}
