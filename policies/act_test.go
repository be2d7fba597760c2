package policies

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"gateway/session"
)

// doing is a request of somebody who is let in.
func doing(act session.Act, change ...func(*session.Request)) session.Request {
	r := request(change...)
	r.Phase, r.Act = session.PhaseSession, act
	return r
}

const acting = nearby + `
allow "files" { protocol = ["ftp", "sftp"] }
allow "mail" { protocol = "submission" }

require "pay from inside" {
  from = "near"
  when { path = ["/hr/pay", "/board"] }
}
require "drop box" {
  operation = ["write", "append", "mkdir", "stat"]
  reply     = "This folder takes files and shows none."
  when { path = "/in" }
}
require "what moves is protected" {
  data_channel = "encrypted"
  when {
    path      = "/hr"
    operation = ["read", "write", "append"]
  }
}
require "no scp" {
  request = ["open", "opendir", "readdir"]
  when {
    request = "scp"
    path    = "/hr"
  }
}
require "board by key" {
  factors = "publickey"
  when { path = "/board" }
}
require "mail stays here" {
  recipient_domain = ["example.com", ".example.com"]
  when { group = "devices" }
}
require "own sender" { sender_domain = ["example.com", "<>"] }
exempt "mail stays here" "alarms" {
  recipient_domain = "alarms.test"
  listener         = "ftp"
  until            = "2027-06-30"
  owner            = "o"
  because          = "b"
}
`

func TestActs(t *testing.T) {
	t.Parallel()
	p := mustParse(t, acting)
	inside := from("10.0.0.7")
	byKey := func(r *session.Request) { r.Proven, r.Method = session.FactorKey, session.MethodPublicKey }
	file := func(v session.Verb, path string, target ...string) session.Act {
		return session.Act{Verb: v, Path: path, Target: strings.Join(target, ""), Over: session.TLS, Asked: "open"}
	}
	mail := func(sender, recipient string) session.Act {
		return session.Act{Verb: session.Accept, Sender: sender, Recipient: recipient, Over: session.TLS}
	}
	device := groups("devices")
	for _, tc := range []struct {
		name string
		r    session.Request
		rule string // that refuses; empty for none
	}{
		{"nothing is said of it", doing(file(session.Read, "/pub/a")), ""},
		{"below the folder", doing(file(session.Read, "/hr/pay/a")), "pay from inside"},
		{"the folder", doing(file(session.List, "/hr/pay")), "pay from inside"},
		{"beside it", doing(file(session.Read, "/hr/payroll")), ""},
		{"from inside", doing(file(session.Read, "/hr/pay/a"), inside), ""},
		{"drop box, put", doing(file(session.Write, "/in/a")), ""},
		{"drop box, get", doing(file(session.Read, "/in/a")), "drop box"},
		{"drop box, list", doing(file(session.List, "/in")), "drop box"},
		{"moved out of the drop box", doing(file(session.Rename, "/in/a", "/pub/a")), "drop box"},
		{"moved within it", doing(file(session.Rename, "/in/a", "/in/b")), "drop box"},
		{"moved into it", doing(file(session.Rename, "/pub/a", "/in/a")), "drop box"},
		{"moved elsewhere", doing(file(session.Rename, "/pub/a", "/other/b")), ""},
		{"what holds a folder is moved", doing(file(session.Rename, "/hr", "/x")), "pay from inside"},
		{"the same from inside", doing(file(session.Rename, "/hr", "/x"), inside), ""},
		{"in clear", doing(session.Act{Verb: session.Read, Path: "/hr/a", Asked: "open"}, inside), "what moves is protected"},
		{"out of where it is protected, in clear", doing(session.Act{Verb: session.Rename, Path: "/hr/a", Target: "/pub/a", Asked: "open"}, inside), "what moves is protected"},
		{"listed in clear", doing(session.Act{Verb: session.List, Path: "/hr", Asked: "open"}), ""},
		{"by scp", doing(session.Act{Verb: session.Read, Path: "/hr/a", Over: session.SSH, Asked: "scp"}), "no scp"},
		{"by a password", doing(file(session.Read, "/board/a"), inside), "board by key"},
		{"by a key", doing(file(session.Read, "/board/a"), inside, byKey), ""},
		{"mail of files is none", doing(mail("a@example.com", "x@elsewhere.test")), ""},
		{"mail out", doing(mail("a@example.com", "x@elsewhere.test"), device), "mail stays here"},
		{"mail in", doing(mail("a@example.com", "x@example.com"), device), ""},
		{"mail to below", doing(mail("a@example.com", "x@Lab.EXAMPLE.com"), device), ""},
		{"mail to what ends alike", doing(mail("a@example.com", "x@notexample.com"), device), "mail stays here"},
		{"nobody named yet", doing(mail("a@example.com", ""), device), ""},
		{"exempted", doing(mail("a@example.com", "x@alarms.test"), device), ""},
		{"exempted no longer", doing(mail("a@example.com", "x@alarms.test"), device, at("2027-07-01T00:00:00Z")), "mail stays here"},
		{"not elsewhere", doing(mail("a@example.com", "x@alarms.test"), device, listener("b")), "mail stays here"},
		{"another sender", doing(mail("a@other.test", "")), "own sender"},
		{"nobody as sender", doing(mail("", "x@y.test")), ""},
	} {
		v := p.Decide(tc.r)
		if want := fmt.Sprintf("require %q ", tc.rule); v.Allowed != (tc.rule == "") || !v.Allowed && !strings.HasPrefix(v.Rule, want) {
			t.Errorf("%s: got %+v, want it refused by %q", tc.name, v, tc.rule)
		}
	}
	if v := p.Decide(doing(file(session.Read, "/in/a"))); v.Hint != "This folder takes files and shows none." || v.Insecure {
		t.Errorf("got %+v, want the words of the rule", v)
	}
}

func TestDecideOfActsDoesNotAllocate(t *testing.T) {
	p := mustParse(t, acting)
	r := doing(session.Act{Verb: session.Rename, Path: "/hr/a/b", Target: "/in/b", Over: session.TLS, Asked: "open"}, from("10.0.0.7"))
	mail := doing(session.Act{Verb: session.Accept, Sender: "a@example.com", Recipient: "b@lab.example.com"})
	if n := testing.AllocsPerRun(100, func() { p.Decide(r); p.Decide(mail) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

// The verdict on the login says whether anything of a session needs to be decided.
func TestSessionsWithoutRulesAreNotAsked(t *testing.T) {
	t.Parallel()
	const src = `allow "files" { protocol = ["ftp", "sftp"] }
require "hr" {
  operation = "read"
  when {
    path  = "/hr"
    group = "temps"
  }
}
require "small" {
  operation = ["read", "list", "stat"]
  when { user = "reader" }
}`
	p := mustParse(t, src)
	for _, tc := range []struct {
		r           session.Request
		acts, paths bool
	}{
		{request(), false, false},
		{request(groups("temps")), true, true},
		{request(func(r *session.Request) { r.User = "reader" }), true, false},
		{request(named, groups("temps")), false, false},
	} {
		if d := p.Decide(tc.r).Data; d.Acts != tc.acts || d.Paths != tc.paths {
			t.Errorf("%+v: got %+v, want acts %v, paths %v", tc.r, d, tc.acts, tc.paths)
		}
	}
}

func TestActsThatCannotBe(t *testing.T) {
	t.Parallel()
	const ok = "allow \"a\" { protocol = \"ftp\" }\n"
	for _, tc := range []struct{ src, want string }{
		{`allow "x" { path = "/hr" }`, "say in a require what must hold of that"},
		{`require "x" { path = "hr" }`, `"hr" is none`},
		{`require "x" { path = "/" }`, `"/" is none`},
		{`require "x" { path = "/a/../b" }`, `"/a/../b" is none`},
		{`require "x" { recipient_domain = "a@b" }`, `"a@b" is none`},
		{`require "x" { recipient_domain = "<>" }`, `"<>" is none`},
		{`require "x" { operation = "raed" }`, `Did you mean "read"?`},
		{`require "x" { request = "posix-renam" }`, `Did you mean "posix-rename"?`},
		{`require "x" {
			path = "/hr"
			when { recipient_domain = "b.test" }
		}`, "no session does both at once"},
		{`require "x" {
			read_only = true
			when { path = "/hr" }
		}`, "Make two of it"},
		{`require "x" {
			channel = "encrypted"
		}
		exempt "x" "e" {
			path = "/hr"
			from = "10.0.0.0/8"
			until = "2027-06-30"
			owner = "o"
			because = "b"
		}`, "decided at the login"},
		{`require "x" {
			path = "/in"
			rollout "r" {
				path = "/hr"
				enforce = "2027-04-01"
			}
		}`, "A rollout is about logins"},
		{`require "x" {
			operation = "read"
			otherwise = "drop"
		}`, "are about logins"},
		{`require "x" {
			channel = "encrypted"
			otherwise = "drop"
			when { group = "g" }
		}`, "tells names apart"},
		{`require "x" {
			key = "ed25519"
			otherwise = "drop"
		}`, "before that"},
		{`require "x" {
			from = "10.0.0.0/8"
			otherwise = "drp"
		}`, `Did you mean "drop"?`},
		{`require "x" { logins = "six a minute" }`, "6 per minute"},
		{`require "x" { logins = "0 per hour" }`, "6 per minute"},
		{`require "x" { last_login = "90d" }`, `"less than 90d ago"`},
	} {
		_, err := Parse([]byte(ok+tc.src), "p.hcl", testOptions())
		if err == nil || !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.src, err, tc.want)
		}
	}
}

// A requirement in steps is recorded first, and then refuses for a while.
func TestActsInSteps(t *testing.T) {
	t.Parallel()
	p := mustParse(t, `allow "a" { protocol = "ftp" }
require "x" {
  operation = ["read", "list", "stat"]
  rollout "all" {
    everybody = true
    observe   = "2027-01-01"
    brownout "2027-04-01" {
      every = "2h"
      for   = "1h"
    }
    enforce = "2027-06-01"
  }
}`)
	put := session.Act{Verb: session.Write, Path: "/a"}
	if v := p.Decide(doing(put)); !v.Allowed || len(v.WouldRefuse) != 1 {
		t.Errorf("observed: got %+v", v)
	}
	if v := p.Decide(doing(put, at("2027-04-01T00:30:00Z"))); v.Allowed || v.Retry.IsZero() {
		t.Errorf("brownout: got %+v", v)
	}
	if v := p.Decide(doing(put, at("2027-06-01T00:00:00Z"))); v.Allowed || !v.Retry.IsZero() {
		t.Errorf("enforced: got %+v", v)
	}
}

// randomActing writes a policy about what sessions do.
func randomActing(r *rand.Rand) []string {
	out := []string{"allow \"a\" { protocol = [\"ftp\", \"sftp\", \"submission\"] }\n"}
	requires := 1 + r.IntN(4)
	for i := range requires {
		when := ""
		if r.IntN(3) > 0 {
			when = "  when {\n" + randomCondition(r, conditionNames()...) + "  }\n"
		}
		out = append(out, fmt.Sprintf("require \"r%d\" {\n%s%s}\n", i, randomCondition(r, actNames()...), when))
	}
	for i := range r.IntN(3) {
		out = append(out, fmt.Sprintf("exempt \"r%d\" \"e%d\" {\n%s  listener = \"a\"\n  until = %q\n  owner = \"o\"\n  because = \"b\"\n}\n",
			r.IntN(requires), i, randomCondition(r, append(actNames(), "user", "group")...), pick(r, "2027-02-01", "2027-06-30")))
	}
	return out
}

func randomAct(r *rand.Rand) session.Act {
	if r.IntN(4) == 0 {
		return session.Act{Verb: session.Accept, Sender: pick(r, "a@example.com", "a@x.example.com", "", "a@other.test"),
			Recipient: pick(r, "", "b@example.com", "b@partner.test", "b@a.b.test", "b@x.example.com")}
	}
	place := func() string {
		return pick(r, "/", "/hr", "/hr/pay", "/hr/pay/x", "/hr/payroll", "/in/a", "/pub", "/elsewhere")
	}
	a := session.Act{Verb: pickVerb(r), Path: place(), Over: session.ChannelKind(r.IntN(3)), Asked: pick(r, "open", "STOR", "posix-rename", "")}
	if a.Verb == session.Rename {
		a.Target = place()
	}
	return a
}

func pickVerb(r *rand.Rand) session.Verb {
	return []session.Verb{session.Read, session.Write, session.List, session.Rename, session.Remove}[r.IntN(5)]
}

// The tables decide as the plain reading of the statements does; for an act at two paths, as
// for one at each, with every operation if the paths come under different rules.
func TestActsAreDecidedAsStatementsRead(t *testing.T) {
	t.Parallel()
	decided, refused := 0, 0
	for seed := range uint64(4 * rounds) {
		r := rand.New(rand.NewPCG(seed, 9))
		src := nearby + strings.Join(randomActing(r), "")
		p, err := Parse([]byte(src), "p.hcl", testOptions())
		if err != nil {
			continue // about files and mail at once
		}
		for range 100 {
			q := randomRequest(r)
			q.Known, q.Phase, q.Act = true, session.PhaseSession, randomAct(r)
			got, want := p.Decide(q).Allowed, p.actPlainly(q)
			if got != want {
				t.Fatalf("seed %d, %+v: got %v, want %v for\n%s", seed, q, got, want, src)
			}
			decided++
			if !got {
				refused++
			}
		}
	}
	if decided < 5000 || refused < decided/10 {
		t.Errorf("%d decided, %d of them refused: too few to tell", decided, refused)
	}
}

// actPlainly is the slow reference: each path apart, and what moves a folder moves what is in
// it.
func (p *Policy) actPlainly(r session.Request) bool {
	one := func(r session.Request) bool {
		return !slices.ContainsFunc(p.acts, func(q *statement) bool { return p.finding(q, r).Result == resultNotMet })
	}
	places := []string{r.Act.Path}
	if r.Act.Target != "" {
		places = append(places, r.Act.Target)
		if p.classOf(r.Act.Path) != p.classOf(r.Act.Target) {
			r.Act.Verb = ""
		}
	}
	r.Act.Target = ""
	for _, at := range places {
		q := r
		q.Act.Path = at
		if !one(q) {
			return false
		}
		if len(places) == 1 {
			continue
		}
		for _, named := range []string{"/hr", "/hr/pay", "/in", "/pub"} { // below it, as far as whens go
			if !strings.HasPrefix(named, strings.TrimSuffix(at, "/")+"/") {
				continue
			}
			if slices.ContainsFunc(p.acts, func(s *statement) bool { return s.whenNames(named) && p.notMetBelow(s, q, named) }) {
				return false
			}
		}
	}
	return true
}

// whenNames reports whether the when of a requirement has that path.
func (s *statement) whenNames(path string) bool {
	return s.when != nil && slices.Contains(s.when.act.paths, path)
}

// notMetBelow reports whether a requirement about a path below is not met by what is done above.
func (p *Policy) notMetBelow(s *statement, r session.Request, below string) bool {
	applies := r
	applies.Act.Path = below
	if len(s.outside(applies)) > 0 || !s.concerns(&r.Act) {
		return false
	}
	if len(s.cond.unmet(r)) == 0 {
		return false
	}
	return !slices.ContainsFunc(s.exempts, func(e *statement) bool { return len(e.cond.unmet(r)) == 0 && !e.expired(r.Time) })
}

// classOf is what a policy has to say of a path and of all below it.
func (p *Policy) classOf(at string) string {
	var out []string
	for i, c := range p.actConditions() {
		for _, named := range c.act.paths {
			for above := at; ; above = path.Dir(above) {
				if above == named {
					out = append(out, fmt.Sprint(i))
				}
				if above == "/" {
					break
				}
			}
			if slices.ContainsFunc(p.acts, func(q *statement) bool { return q.when == c }) && strings.HasPrefix(named, strings.TrimSuffix(at, "/")+"/") {
				out = append(out, fmt.Sprint(i))
			}
		}
	}
	slices.Sort(out)
	return fmt.Sprint(slices.Compact(out))
}

func (p *Policy) actConditions() []*condition {
	var out []*condition
	for _, q := range p.acts {
		out = append(out, &q.cond)
		if q.when != nil {
			out = append(out, q.when)
		}
		for _, e := range q.exempts {
			out = append(out, &e.cond)
		}
	}
	return out
}
