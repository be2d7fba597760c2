package policies

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

const migration = `
allow "files" {
  protocol = ["ftp", "sftp"]
  group    = ["office", "legacy"]
}
network "plant" { cidrs = ["10.20.0.0/16"] }
require "encrypted-login" {
  channel = "encrypted"
  reply   = "Use sftp://{hostname}"
  rollout "office" {
    observe = "2027-01-11"
    warn    = "2027-02-01"
    brownout "2027-03-01" {
      every = "1h"
      for   = "5m"
    }
    brownout "2027-03-15" {
      every = "4h"
      for   = "1h"
    }
    enforce = ["2027-04-01 25%", "2027-04-15"]
  }
  rollout "plant machines" {
    from    = "plant"
    observe = "2027-01-11"
    enforce = "2027-09-01"
  }
}
`

func staged(change ...func(*session.Request)) session.Request {
	return request(append([]func(*session.Request){plain, groups("office")}, change...)...)
}

func cohort(n uint8) func(*session.Request) { return func(r *session.Request) { r.Cohort = n } }

// A requirement comes into force step by step, for those whom a rollout is for.
func TestRollout(t *testing.T) {
	t.Parallel()
	p := mustParse(t, migration)
	const off, observe, warn, brownout, enforce = "off", "observe", "warn", "brownout", "enforce"
	for _, tc := range []struct {
		name    string
		request session.Request
		want    string
	}{
		{"before it begins", staged(at("2027-01-10T23:59:59Z")), off},
		{"observed", staged(at("2027-01-11T00:00:00Z")), observe},
		{"warned of", staged(at("2027-02-01T00:00:00Z")), warn},
		{"in the first window", staged(at("2027-03-01T00:04:59Z")), brownout},
		{"after it", staged(at("2027-03-01T00:05:00Z")), warn},
		{"in a later one", staged(at("2027-03-10T17:02:00Z")), brownout},
		{"in a longer one", staged(at("2027-03-15T00:30:00Z")), brownout},
		{"between longer ones", staged(at("2027-03-15T01:00:00Z")), warn},
		{"a quarter is enforced", staged(at("2027-04-01T01:00:00Z"), cohort(24)), enforce},
		{"and not the rest", staged(at("2027-04-01T01:00:00Z"), cohort(25)), warn},
		{"all is enforced", staged(at("2027-04-15T00:00:00Z"), cohort(99)), enforce},
		{"a time that is not known", staged(func(r *session.Request) { r.Time = r.Time.AddDate(-9999, 0, 0) }, at("")), enforce},
		{"whom no rollout is for", staged(groups("legacy"), at("2027-01-11T00:00:00Z")), enforce},
		{"by place", staged(groups("legacy"), from("10.20.0.1"), at("2027-04-20T00:00:00Z")), observe},
		{"of two, the one that has come least far", staged(from("10.20.0.1"), at("2027-04-20T00:00:00Z")), observe},
		{"encrypted, nothing to say", staged(func(r *session.Request) { r.Channel = session.TLS }, at("2027-04-20T00:00:00Z")), off},
		{"a name like an account", staged(named, unknown, groups("office"), func(r *session.Request) { r.As = "bob" }, at("2027-01-11T00:00:00Z")), observe},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := p.Decide(tc.request)
			var got string
			switch {
			case !v.Allowed && !v.Retry.IsZero():
				got = brownout
			case !v.Allowed:
				got = enforce
			case v.Notice != "":
				got = warn
			case v.WouldRefuse != nil:
				got = observe
			default:
				got = off
			}
			if got != tc.want {
				t.Errorf("got %s: %+v, want %s", got, v, tc.want)
			}
			if !v.Allowed && (!v.Insecure || v.Hint != "Use sftp://files.example.com") {
				t.Errorf("got %+v, want insecure with the reply", v)
			}
			if e := p.Explain(tc.request); (e.Verdict == verdictAllow) != v.Allowed && tc.request.Phase == session.PhaseVerified {
				t.Errorf("explained as %s", e.Verdict)
			}
		})
	}
	v := p.Decide(staged(at("2027-03-15T00:30:00Z")))
	if got := v.Retry.Format("15:04"); got != "01:00" {
		t.Errorf("got a window until %s, want 01:00", got)
	}
	want := []string{`require "encrypted-login" (policy.hcl:7)`}
	if got := p.Decide(staged(at("2027-01-11T00:00:00Z"))).WouldRefuse; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A client is told the day that holds for it, and what it can do instead.
func TestNotice(t *testing.T) {
	t.Parallel()
	p := mustParse(t, migration)
	r := staged(at("2027-02-01T00:00:00Z"), cohort(10))
	if got := p.Decide(r).Notice; got != "From 2027-04-01 on, logins without encryption are refused here. Use FTPS, or sftp://files.example.com" {
		t.Errorf("got %q", got)
	}
	r.Client, r.Cohort = session.ClientWinSCP, 80
	if got := p.Decide(r).Notice; !strings.HasPrefix(got, "From 2027-04-15 on") || !strings.Contains(got, "In WinSCP") {
		t.Errorf("got %q", got)
	}
}

// Whether a password may be asked for at all is answered for whoever is reached last.
func TestAnybodyInARollout(t *testing.T) {
	t.Parallel()
	p := mustParse(t, migration)
	for when, want := range map[string]string{
		"2027-02-01T00:00:00Z": "allowed", "2027-03-01T00:01:00Z": "paused", "2027-04-01T00:00:00Z": "allowed", "2027-04-15T00:00:00Z": "refused",
	} {
		v := p.Decide(request(nameless, plain, at(when)))
		got := "refused"
		if v.Allowed {
			got = "allowed"
		} else if !v.Retry.IsZero() {
			got = "paused"
		}
		if got != want && !(when == "2027-04-01T00:00:00Z" && got == "paused") {
			t.Errorf("%s: got %s %+v, want %s", when, got, v, want)
		}
	}
}

// A rollout may wait for proofs, too.
func TestRolloutOfFactors(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `
allow "files" { protocol = "sftp" }
require "two" {
  factors = "password+code"
  rollout "all" {
    everybody = true
    warn      = "2027-02-01"
    enforce   = "2027-04-01"
  }
}
`)
	r := request(over(session.SFTP), func(r *session.Request) { r.Channel, r.Proven = session.SSH, session.FactorPassword })
	v := p.Decide(r)
	if !v.Allowed || len(v.WouldRefuse) != 1 || v.Notice == "" || v.Lacking != 0 {
		t.Errorf("got %+v, want allowed with a notice", v)
	}
	at("2027-04-01T00:00:00Z")(&r)
	if v := p.Decide(r); v.Allowed || v.Lacking == 0 {
		t.Errorf("got %+v, want refused", v)
	}
}

func TestExpectWithoutATimeInARollout(t *testing.T) {
	t.Parallel()
	opts := testOptions()
	opts.Now = opts.Now.Add(30 * time.Minute) // between two windows
	_, err := Parse([]byte(migration+`
expect "not yet" {
  user     = "alice"
  group    = "office"
  protocol = "ftp"
  channel  = "plain"
  verdict  = "allow"
}
`), "policy.hcl", opts)
	if err == nil || !strings.Contains(err.Error(), "Expectation without a time") {
		t.Errorf("got %v, want a fault", err)
	}
}
