package policies

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// sshRules is the example of docs/policy.md: everybody has what the listener
// offers, partners only the newest, one scanner of the plant old algorithms for a
// while.
const sshRules = `
network "plant" { cidrs = ["10.20.0.0/16"] }
network "partners" { cidrs = ["192.0.2.0/24"] }

allow "files" {
  protocol = ["ftp", "sftp"]
  group    = "users"
}
require "ssh algorithms" { ssh_profile = "compatible" }
require "partners are up to date" {
  ssh_profile = "modern"
  when { from = "partners" }
}
exempt "ssh algorithms" "scanner-7" {
  from        = "10.20.3.4"
  until       = "2027-06-30"
  ssh_profile = "legacy"
  owner       = "facilities@example.com"
  because     = "MFP firmware, replacement ordered"
}
exempt "partners are up to date" "acme" {
  from    = "192.0.2.77"
  until   = "2027-03-31"
  owner   = "edi@example.com"
  because = "update announced"
}
`

func TestDecideSSH(t *testing.T) {
	t.Parallel()
	p := mustParse(t, sshRules)
	if w := p.Warnings(); len(w) > 0 {
		t.Errorf("got warnings %v, want none", w)
	}
	const (
		modern, compatible, legacy = session.SSHModern, session.SSHCompatible, session.SSHLegacy
	)
	for _, tc := range []struct {
		name    string
		request session.Request
		want    session.SSHRules
	}{
		{"everybody", request(from("198.51.100.9"), connecting), session.SSHRules{Demanded: compatible}},
		{"narrower", request(connecting), session.SSHRules{Demanded: modern}},
		{"exempted from the narrower", request(from("192.0.2.77"), connecting), session.SSHRules{Demanded: compatible}},
		{"exempted no longer", request(from("192.0.2.77"), at("2027-04-01T00:00:00Z"), connecting), session.SSHRules{Demanded: modern}},
		{"wider", request(from("10.20.3.4"), connecting), session.SSHRules{Granted: legacy}},
		{"wider no longer", request(from("10.20.3.4"), at("2027-07-01T00:00:00Z"), connecting), session.SSHRules{Demanded: compatible}},
		{"wider at a time not known", request(from("10.20.3.4"), func(r *session.Request) { r.Time = time.Time{} }, connecting),
			session.SSHRules{Demanded: compatible}},
		{"a neighbour", request(from("10.20.3.5"), connecting), session.SSHRules{Demanded: compatible}},
		{"address not known", request(connecting, func(r *session.Request) { r.Remote = session.Request{}.Remote }), session.SSHRules{Demanded: modern}},
		{"too late", request(), session.SSHRules{}},
		{"before the proof", request(named), session.SSHRules{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := p.Decide(tc.request)
			if v.SSH != tc.want || !v.Allowed {
				t.Errorf("got %+v, allowed %v, want %+v", v.SSH, v.Allowed, tc.want)
			}
		})
	}
}

// A demand about algorithms refuses no login.
func TestSSHProfileRefusesNobody(t *testing.T) {
	t.Parallel()
	p := mustParse(t, sshRules)
	for _, r := range []session.Request{request(), request(over(session.SFTP)), request(from("10.20.3.4"))} {
		if v := p.Decide(r); !v.Allowed || !strings.HasPrefix(v.Rule, `allow "files"`) {
			t.Errorf("%+v: got %+v, want allowed", r, v)
		}
	}
}

func TestExplainSSH(t *testing.T) {
	t.Parallel()
	p := mustParse(t, sshRules+`allow "more" { group = "sftp" }`)
	for _, tc := range []struct{ name, from, at, want string }{
		{"wider", "10.20.3.4", "2027-03-01T00:00:00Z", "ssh      ssh_profile legacy\n"},
		{"ended", "10.20.3.4", "2027-08-01T00:00:00Z", "ssh      ssh_profile as the listener has it\n"},
		{"narrower", "192.0.2.7", "2027-03-01T00:00:00Z", "ssh      ssh_profile modern\n"},
	} {
		var b strings.Builder
		r := request(from(tc.from), at(tc.at), over(session.SFTP), func(r *session.Request) { r.Channel = session.SSH })
		if err := p.Explain(r).WriteText(&b); err != nil || !strings.Contains(b.String(), tc.want) {
			t.Errorf("%s: got %v and\n%s\nwant it to have %q", tc.name, err, b.String(), tc.want)
		}
	}
}

// Of random rules about algorithms, a further require never widens and a further
// exempt never narrows, in any order, for any listener.
func TestSSHIsMonotone(t *testing.T) {
	t.Parallel()
	require := func(r *rand.Rand, n int) string {
		when := ""
		if r.IntN(2) == 0 {
			when = "  when {\n" + randomCondition(r, "protocol", "listener", "from") + "  }\n"
		}
		return fmt.Sprintf("require \"r%d\" {\n  ssh_profile = %q\n%s}\n", n, pick(r, "modern", "compatible"), when)
	}
	exempt := func(r *rand.Rand, requirement, n int) string {
		grant := pick(r, "", "  ssh_profile = \"compatible\"\n", "  ssh_profile = \"legacy\"\n")
		return fmt.Sprintf("exempt \"r%d\" \"e%d\" {\n  from = %s\n%s  until = %q\n  owner = \"o\"\n  because = \"b\"\n}\n",
			requirement, n, some(r, "near", "10.1.0.0/16", "2001:db8::/32"), grant, pick(r, "2027-02-01", "2027-06-30"))
	}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 6))
		statements := []string{"allow \"a\" { protocol = \"sftp\" }\n"}
		for i := range 1 + r.IntN(3) {
			statements = append(statements, require(r, i), exempt(r, i, i))
		}
		statements = append(statements, require(r, 100))
		p := parseStatements(t, statements)
		stricter := parseStatements(t, append(statements[:len(statements):len(statements)], require(r, 101)))
		wider := parseStatements(t, append(statements[:len(statements):len(statements)], exempt(r, 100, 101)))
		r.Shuffle(len(statements), func(i, j int) { statements[i], statements[j] = statements[j], statements[i] })
		shuffled := parseStatements(t, statements)
		for range 50 {
			req := randomRequest(r)
			req = session.Request{Phase: session.PhaseConnect, Time: req.Time, Listener: req.Listener, Protocol: req.Protocol, Remote: req.Remote}
			got := p.Decide(req).SSH
			if again := shuffled.Decide(req).SSH; again != got {
				t.Fatalf("seed %d: got %+v and in another order %+v for\n%s", seed, got, again, p.Source())
			}
			for _, listener := range []session.SSHProfile{session.SSHModern, session.SSHCompatible} {
				less, more := stricter.Decide(req).SSH.Profile(listener), wider.Decide(req).SSH.Profile(listener)
				if has := got.Profile(listener); less > has || more < has {
					t.Fatalf("seed %d: %v, with one more require %v, with one more exempt %v for %+v:\n%s", seed, has, less, more, req, p.Source())
				}
			}
		}
	}
}
