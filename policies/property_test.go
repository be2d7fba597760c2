package policies

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// The properties are checked on random policies over a small world, in which
// statements meet often.

func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

func some(r *rand.Rand, list ...string) string {
	var out []string
	for _, i := range r.Perm(len(list))[:1+r.IntN(2)] {
		out = append(out, fmt.Sprintf("%q", list[i]))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// randomCondition writes attributes; at least one, of those in names.
func randomCondition(r *rand.Rand, names ...string) string {
	values := map[string][]string{
		"protocol": {"ftp", "sftp", "submission"}, "channel": {"plain", "tls", "ssh", "encrypted"},
		"listener": {"a", "b"}, "user": {"alice", "bob"}, "group": {"g", "h"},
		"from": {"near", "10.1.0.0/16", "2001:db8::/32"}, "method": {"password", "publickey"},
		"client": {"winscp", "curl", "unknown"}, "tls_version": {"1.2", "1.3"}, "resumed": {"yes", "no"}, "client_certificate": {"yes", "no"},
		"weekday": {"monday", "workday", "sunday"}, "time": {"08:00-18:00", "22:00-12:30", "00:00-12:00"},
		"known_place": {"yes", "no"}, "exposed": {"no", "yes", "no, or for less than 14d", "for more than 14d"}, "password_age": {"less than 90d", "more than 30d"},
		"key": {"rsa", "ed25519"}, "last_login": {"never", "less than 30d ago", "more than 90d ago"},
		"operation": {"read", "write", "rename", "change", "list", "accept"}, "data_channel": {"plain", "encrypted"},
		"path": {"/hr", "/hr/pay", "/in", "/pub"}, "sender_domain": {"example.com", ".example.com", "<>"},
		"recipient_domain": {"example.com", "partner.test", ".test"}, "request": {"open", "posix-rename", "STOR"},
	}
	var b strings.Builder
	for _, i := range r.Perm(len(names))[:1+r.IntN(3)] {
		fmt.Fprintf(&b, "  %s = %s\n", names[i], some(r, values[names[i]]...))
	}
	return b.String()
}

// ofPeer are the attributes that do not look at the account; early all but those that
// are known after the proof.
func ofPeer() []string {
	return slices.DeleteFunc(early(), func(n string) bool {
		return n == "known_place" || n == "exposed" || n == "password_age" || n == "last_login"
	})
}

func early() []string {
	return slices.DeleteFunc(loginNames(), func(n string) bool { return n == "key" })
}

func randomAllow(r *rand.Rand, n int, names ...string) string {
	data := ""
	if r.IntN(3) == 0 {
		data = "  tls_resumption = " + strconv.Quote(pick(r, resumptions()...)) + "\n"
	}
	if r.IntN(3) == 0 {
		data += "  grants = " + some(r, grantWords()...) + "\n"
	}
	return fmt.Sprintf("allow \"a%d\" {\n%s%s}\n", n, randomCondition(r, names...), data)
}

func randomRequire(r *rand.Rand, n int, names ...string) string {
	when := ""
	if r.IntN(2) == 0 {
		when = "  when {\n" + randomCondition(r, names...) + "  }\n"
	}
	if r.IntN(3) == 0 {
		return fmt.Sprintf("require \"r%d\" {\n%s%s%s}\n", n, randomCondition(r, names...), when, randomRollouts(r))
	}
	what := randomCondition(r, names...)
	if k := r.IntN(3); k > 0 {
		data := "  tls_resumption = " + strconv.Quote(pick(r, resumptions()...)) + "\n"
		if what += data; k == 1 {
			what = data
		}
	}
	return fmt.Sprintf("require \"r%d\" {\n%s%s}\n", n, what, when)
}

func randomRollouts(r *rand.Rand) string {
	out := ""
	for i := range 1 + r.IntN(2) {
		whom := randomCondition(r, "user", "group", "protocol", "channel")
		where := "  from = \"near\"\n"
		dates := pick(r, "observe = \"2027-01-01\"\n", "warn = \"2027-01-01\"\n", "brownout \"2027-01-01\" {\n every = \"2h\"\n for = \"1h\"\n}\n", "")
		out += fmt.Sprintf("rollout \"w%d\" {\n%s%s%s  enforce = [%s]\n}\n", i, whom, where, dates,
			pick(r, `"2027-02-01"`, `"2027-06-01"`, `"2027-02-01 50%", "2027-06-01"`))
	}
	return out
}

func randomExempt(r *rand.Rand, requirement, n int) string {
	where := `from = "near"`
	if r.IntN(2) == 0 {
		where = `listener = "a"`
	}
	return fmt.Sprintf("exempt \"r%d\" \"e%d\" {\n%s  %s\n  until = %q\n  owner = \"o\"\n  because = \"b\"\n}\n",
		requirement, n, randomCondition(r, "user", "group", "protocol", "channel", "method"), where,
		pick(r, "2027-02-01", "2027-06-30"))
}

const nearby = "network \"near\" { cidrs = [\"10.0.0.0/15\", \"10.1.2.0/24\", \"192.0.2.1\"] }\n"

func randomPolicy(r *rand.Rand, names ...string) []string {
	var out []string
	for i := range 1 + r.IntN(4) {
		out = append(out, randomAllow(r, i, names...))
	}
	requires := r.IntN(4)
	for i := range requires {
		out = append(out, randomRequire(r, i, names...))
	}
	if requires > 0 {
		for i := range r.IntN(4) {
			out = append(out, randomExempt(r, r.IntN(requires), i))
		}
	}
	return out
}

func randomRequest(r *rand.Rand) session.Request {
	out := session.Request{
		Phase: session.Phase(pick(r, "connect", "named", "verified")), Time: noon(),
		Listener: pick(r, "a", "b", "c", ""), Protocol: session.Protocol(pick(r, "ftp", "sftp", "submission", "relay", "")),
		Channel: session.ChannelKind(r.IntN(3)), Method: session.Method(pick(r, "password", "publickey", "keyboard-interactive", "")),
		User: pick(r, "alice", "bob", "carol"), Known: r.IntN(4) > 0, Cohort: uint8(r.IntN(session.Cohorts)),
		Client: session.Client(r.IntN(int(session.Clients))), Place: r.IntN(2) == 0, PasswordSet: noon().AddDate(0, 0, -r.IntN(120)),
	}
	if addr := pick(r, "10.0.0.0", "10.1.2.3", "10.1.255.255", "10.2.0.0", "192.0.2.1", "2001:db8::1", "::1", ""); addr != "" {
		out.Remote = netip.MustParseAddr(addr)
	}
	if out.Channel == session.TLS {
		out.TLS = session.TLSFacts{Version: pick(r, "TLS 1.2", "TLS 1.3"), Resumed: r.IntN(2) == 0, Certificate: r.IntN(2) == 0}
	}
	out.Time = out.Time.Add(time.Duration(r.IntN(7*24*60)) * time.Minute)
	if r.IntN(2) == 0 {
		out.Exposed = out.Time.AddDate(0, 0, -r.IntN(30))
	}
	if r.IntN(2) == 0 {
		out.LastLogin = out.Time.AddDate(0, 0, -r.IntN(120))
	}
	if out.Known {
		out.Groups = [][]string{nil, {"g"}, {"h"}, {"g", "h"}, {"x"}}[r.IntN(5)]
	}
	return out
}

func parseStatements(t *testing.T, statements []string) *Policy {
	t.Helper()
	return mustParse(t, nearby+strings.Join(statements, ""))
}

const rounds = 100

func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 1))
		statements := randomPolicy(r, early()...)
		p := parseStatements(t, statements)
		r.Shuffle(len(statements), func(i, j int) { statements[i], statements[j] = statements[j], statements[i] })
		q := parseStatements(t, statements)
		for range 50 {
			req := randomRequest(r)
			if r.IntN(5) == 0 {
				req.Phase, req.User, req.Known, req.Groups = session.PhaseNamed, "", false, nil
			}
			a, b := p.Decide(req), q.Decide(req)
			if req.User == "" { // whom it found first may differ, what it says may not
				a, b = session.Verdict{Allowed: a.Allowed}, session.Verdict{Allowed: b.Allowed}
			}
			a.Rule, _, _ = strings.Cut(a.Rule, " (")
			b.Rule, _, _ = strings.Cut(b.Rule, " (")
			if a.Allowed != b.Allowed || a.Insecure != b.Insecure || a.Rule != b.Rule || a.Hint != b.Hint || a.Data != b.Data {
				t.Fatalf("seed %d, %+v: got %+v and %+v for\n%s", seed, req, a, b, p.Source())
			}
		}
	}
}

func TestMonotone(t *testing.T) {
	t.Parallel()
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 2))
		statements := append(randomPolicy(r, early()...), randomRequire(r, 100, early()...))
		p := parseStatements(t, statements)
		stricter := parseStatements(t, append(slices.Clone(statements), randomRequire(r, 101, early()...)))
		wider := parseStatements(t, append(slices.Clone(statements), randomAllow(r, 101, early()...), randomExempt(r, 100, 101)))
		for range 50 {
			req := randomRequest(r)
			got := p.Decide(req)
			if less := stricter.Decide(req); !atMost(less, got) {
				t.Fatalf("seed %d: one more require made %+v of %+v for %+v:\n%s", seed, less, got, req, stricter.Source())
			}
			if more := wider.Decide(req); !atMost(got, more) {
				t.Fatalf("seed %d: one more allow and exempt made %+v of %+v for %+v:\n%s", seed, more, got, req, wider.Source())
			}
		}
	}
}

// atMost reports whether less permits nothing that more does not.
func atMost(less, more session.Verdict) bool {
	if !less.Allowed {
		return less.Data == session.DataRules{}
	}
	a, b := less.Data, more.Data
	if !more.Allowed || a.ClearData && !b.ClearData || a.ClearControl && !b.ClearControl || a.SCP && !b.SCP || a.EnrolKeys && !b.EnrolKeys || a.EnrolOffered && !b.EnrolOffered {
		return false
	}
	for _, listener := range everyResumption() {
		if a.Resumption(listener) > b.Resumption(listener) {
			return false
		}
	}
	return true
}

func everyResumption() []session.Resumption {
	return []session.Resumption{session.ResumptionUnset, session.ResumptionRequired, session.ResumptionPreferred, session.ResumptionOff}
}

// The tables decide as the plain reading of the statements does.
func TestTablesDecideAsStatementsRead(t *testing.T) {
	t.Parallel()
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := parseStatements(t, randomPolicy(r, early()...))
		for range 100 {
			req := randomRequest(r)
			req.Phase = session.PhaseNamed
			if got, want := p.Decide(req).Allowed, p.plainly(req); got != want {
				t.Fatalf("seed %d, %+v: got %v, want %v for\n%s", seed, req, got, want, p.Source())
			}
			req.Phase = session.PhaseVerified
			var want session.DataRules
			v := p.Decide(req)
			if v.Allowed {
				want = p.dataPlainly(req)
			}
			if v.Data != want {
				t.Fatalf("seed %d, %+v: got %+v, want %+v for\n%s", seed, req, v.Data, want, p.Source())
			}
		}
	}
}

// dataPlainly finds the rules about data connections by the same reading.
func (p *Policy) dataPlainly(r session.Request) session.DataRules {
	var out session.DataRules
	for _, a := range p.allows {
		if p.finding(a, r).Result == resultMatches {
			out.Granted = max(out.Granted, a.data.Granted)
			out.ClearData = out.ClearData || a.data.ClearData
			out.ClearControl = out.ClearControl || a.data.ClearControl
			out.SCP = out.SCP || a.data.SCP
			out.EnrolKeys = out.EnrolKeys || a.data.EnrolKeys
			out.EnrolOffered = out.EnrolOffered || a.data.EnrolOffered
		}
	}
	for _, q := range p.requires {
		if p.finding(q, r).Result == resultHolds && q.data.Demanded != session.ResumptionUnset {
			if out.Demanded == session.ResumptionUnset || q.data.Demanded < out.Demanded {
				out.Demanded = q.data.Demanded
			}
		}
	}
	return out
}

// plainly decides by the reading that explanations are made of.
func (p *Policy) plainly(r session.Request) bool {
	for _, q := range p.requires {
		if res := p.finding(q, r).Result; res == resultNotMet {
			return false
		}
	}
	return slices.ContainsFunc(p.allows, func(a *statement) bool { return p.finding(a, r).Result == resultMatches })
}

// If any user of the small world is let in, the question without a name says so;
// and it says so only if somebody could be.
func TestAnybodyIsSomebody(t *testing.T) {
	t.Parallel()
	var users []session.Request
	for _, u := range []string{"alice", "bob", "carol"} {
		for _, g := range [][]string{nil, {"g"}, {"h"}, {"g", "h"}} {
			users = append(users, session.Request{User: u, Known: true, Groups: g})
		}
	}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 4))
		p := parseStatements(t, randomPolicy(r, ofPeer()...))
		for range 20 {
			req := randomRequest(r)
			req.Phase, req.User, req.Known, req.Groups = session.PhaseNamed, "", false, nil
			want := slices.ContainsFunc(users, func(u session.Request) bool {
				who := req
				who.User, who.Known, who.Groups, who.Cohort = u.User, u.Known, u.Groups, session.Cohorts-1
				return p.Decide(who).Allowed
			})
			if got := p.Decide(req).Allowed; got != want {
				t.Fatalf("seed %d, %+v: got %v, want %v for\n%s", seed, req, got, want, p.Source())
			}
		}
	}
}

// What looks at the account besides its name and groups may be so or not: whoever
// would be let in is asked for a credential.
func TestAnybodyCoversEveryAccount(t *testing.T) {
	t.Parallel()
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 6))
		p := parseStatements(t, randomPolicy(r, early()...))
		for range 50 {
			who := randomRequest(r)
			who.Phase, who.Known, who.Cohort = session.PhaseNamed, true, session.Cohorts-1
			anybody := who
			anybody.User, anybody.Known, anybody.Groups, anybody.Place = "", false, nil, false
			anybody.Exposed, anybody.PasswordSet, anybody.LastLogin = time.Time{}, time.Time{}, time.Time{}
			if p.Decide(who).Allowed && !p.Decide(anybody).Allowed {
				t.Fatalf("seed %d: %+v is let in and nobody is asked:\n%s", seed, who, p.Source())
			}
		}
	}
}

// What is refused at connect would be refused later for everybody.
func TestConnectRefusesOnlyTheHopeless(t *testing.T) {
	t.Parallel()
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 5))
		p := parseStatements(t, randomPolicy(r, early()...))
		for range 50 {
			req := randomRequest(r)
			peer := session.Request{Phase: session.PhaseConnect, Time: req.Time, Listener: req.Listener, Protocol: req.Protocol, Remote: req.Remote}
			req.Phase = session.PhaseNamed
			if !p.Decide(peer).Allowed && p.Decide(req).Allowed {
				t.Fatalf("seed %d: refused at connect and allowed later: %+v for\n%s", seed, req, p.Source())
			}
		}
	}
}

// fortyRules is a policy of forty statements.
func fortyRules() string {
	var b strings.Builder
	b.WriteString(nearby)
	for i := range 10 {
		fmt.Fprintf(&b, "allow \"a%d\" {\n protocol = [\"ftp\", \"sftp\"]\n group = [\"g%d\", \"users\"]\n tls_resumption = \"preferred\"\n grants = \"clear-data\"\n}\n", i, i)
		fmt.Fprintf(&b, "require \"r%d\" {\n channel = \"encrypted\"\n when {\n group = \"g%d\"\n from = \"10.%d.0.0/16\"\n }\n}\n", i, i, i)
		fmt.Fprintf(&b, "require \"s%d\" {\n method = [\"password\", \"publickey\"]\n tls_resumption = \"required\"\n when { user = \"u%d\" }\n}\n", i, i)
		fmt.Fprintf(&b, "require \"w%d\" {\n channel = \"encrypted\"\n when {\n user = \"w%d\"\n from = \"192.0.2.0/24\"\n }\n rollout \"all\" {\n everybody = true\n warn = \"2027-01-01\"\n enforce = \"2027-09-01\"\n }\n}\n", i, i)
		fmt.Fprintf(&b, "exempt \"r%d\" \"e\" {\n user = \"u%d\"\n from = \"near\"\n until = \"2027-06-30\"\n owner = \"o\"\n because = \"b\"\n}\n", i, i)
	}
	return b.String()
}

func TestDecideDoesNotAllocate(t *testing.T) {
	p := mustParse(t, fortyRules())
	for name, r := range map[string]session.Request{
		"verified": request(groups("users", "g3")), "named": request(named, plain), "connect": request(connecting),
		"anybody": request(nameless), "unknown": request(unknown, named), "exempt": request(plain, from("10.1.0.1"), groups("g1")),
		"warned": request(plain, func(r *session.Request) { r.User = "w3" }),
	} {
		if n := testing.AllocsPerRun(100, func() { p.Decide(r) }); n != 0 {
			t.Errorf("%s: got %v allocations, want none", name, n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	p, err := Parse([]byte(fortyRules()), "policy.hcl", Options{Now: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		b.Fatal(err)
	}
	for name, r := range map[string]session.Request{
		"verified": request(groups("users", "g3")), "connect": request(connecting), "anybody": request(nameless),
		"warned": request(plain, func(r *session.Request) { r.User = "w3" }),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(r)
			}
		})
	}
}
