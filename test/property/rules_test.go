package property

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gateway/policies"
)

// The situations happen within the half year after begin.
func begin() time.Time { return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }

const period = 180 * 24 * time.Hour

// hostname is what the gateway calls itself.
const hostname = "gw.example.com"

// A writer writes random policies about the world. Statements are of the kinds that
// people write, over facts at random, so that some let in and others refuse.
type writer struct{ *rand.Rand }

const networks = `network "near" { cidrs = ["10.1.0.0/16", "2001:db8:1::/48"] }
network "office" { cidrs = ["192.0.2.0/25", "10.1.2.0/24"] }
profile "strict" {
  dated   = "2026-11-01"
  tls     = "1.2"
  ciphers = ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
  groups  = ["x25519", "x25519mlkem768"]
}
`

// values are those of the conditions, most of them of facts that meet in the world.
func values() map[string][]string {
	return map[string][]string{
		"protocol": {"ftp", "sftp", "submission"}, "channel": {"plain", "tls", "ssh", "encrypted"},
		"listener": {"ftp", "ftps", "sftp", "submission", "submissions"},
		"user":     {"alice", "bob", "carol", "mallory"}, "group": {"g", "h"},
		"from": {"near", "office", "192.0.2.128/25", "2001:db8:2::/48"}, "method": {"password", "publickey", "token", "keyboard-interactive", "scram"},
		"client": {"winscp", "curl", "printer", "unknown", "openssh"}, "tls_version": {"1.2", "1.3"},
		"resumed": {"yes", "no"}, "client_certificate": {"yes", "no"},
		"weekday": {"monday", "workday", "sunday"}, "time": {"08:00-18:00", "22:00-12:30", "00:00-12:00"},
		"known_place": {"yes", "no"}, "exposed": {"no", "yes", "no, or for less than 14d", "for more than 14d"},
		"password_age": {"less than 90d", "more than 30d"}, "key": {"ed25519", "ecdsa"},
	}
}

// attributesOf lists the attributes that a word stands for.
func attributesOf(name string) []string {
	return map[string][]string{
		"any": {
			"protocol", "channel", "listener", "user", "group", "from", "method", "client", "tls_version", "resumed",
			"client_certificate", "weekday", "time", "known_place", "exposed", "password_age",
		},
		"whom":  {"user", "group", "group", "from", "protocol", "channel", "method", "client", "known_place", "exposed"},
		"peer":  {"from", "listener", "protocol", "time", "weekday"},
		"where": {"from", "listener"},
	}[name]
}

// condition writes attributes, at most that many, of those that a word stands for.
func (w writer) condition(most int, of string) string {
	var b strings.Builder
	var done []string
	for range 1 + w.IntN(most) {
		name := pick(w.Rand, attributesOf(of)...)
		if slices.Contains(done, name) {
			continue
		}
		done = append(done, name)
		fmt.Fprintf(&b, "  %s = %s\n", name, w.list(values()[name]))
	}
	return b.String()
}

func (w writer) list(from []string) string {
	var out []string
	for _, i := range w.Perm(len(from))[:1+w.IntN(min(2, len(from)))] {
		out = append(out, fmt.Sprintf("%q", from[i]))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func (w writer) chance(percent int) bool { return w.IntN(100) < percent }

func (w writer) allow(n int) string {
	if w.chance(75) {
		return fmt.Sprintf("allow \"a%d\" { protocol = %s }\n", n, pick(w.Rand, `["ftp", "submission", "sftp"]`, `["ftp", "submission", "sftp"]`, w.list(values()["protocol"])))
	}
	return fmt.Sprintf("allow \"a%d\" {\n%s}\n", n, w.condition(3, "any"))
}

// demand is what a require demands.
func (w writer) demand() string {
	switch w.IntN(12) {
	case 0, 1, 2, 3:
		return "  channel = \"encrypted\"\n"
	case 4:
		return "  profile = \"strict\"\n"
	case 5:
		return "  channel = \"at least the account's own floor\"\n  days = 2\n" + pick(w.Rand, "", "  scope = \"account\"\n")
	case 6:
		return "  factors = \"at least the account's own floor\"\n"
	case 7, 8:
		return "  factors = " + pick(w.Rand, `["publickey+password", "password+code"]`, `["publickey"]`, `"password+code"`, `["publickey", "password+code"]`) + "\n"
	case 9:
		return "  key = " + w.list(values()["key"]) + "\n"
	default:
		return w.condition(1, "any")
	}
}

func (w writer) require(n int) string {
	var b strings.Builder
	demand := w.demand()
	fmt.Fprintf(&b, "require \"r%d\" {\n%s", n, demand)
	if w.chance(40) {
		fmt.Fprintf(&b, "  reply = \"Rule %d: use {hostname}.\"\n", n%2)
	}
	if w.chance(75) || strings.Contains(demand, "key = ") {
		when := w.condition(1, "whom")
		if strings.Contains(demand, "key = ") {
			when = "  method = \"publickey\"\n"
		}
		fmt.Fprintf(&b, "  when {\n%s  }\n", when)
	}
	for i := range w.IntN(4) {
		b.WriteString(w.rollout(i))
	}
	b.WriteString("}\n")
	return b.String()
}

// rollout has its stages in order, of which some are left out.
func (w writer) rollout(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  rollout \"w%d\" {\n", n)
	switch w.IntN(4) {
	case 0:
		b.WriteString("    everybody = true\n")
	case 1:
		b.WriteString("    from = \"near\"\n    user = " + w.list(values()["user"]) + "\n")
	default:
		b.WriteString("  " + w.condition(1, "whom") + "    from = [\"near\", \"192.0.2.0/24\"]\n")
	}
	at := begin().AddDate(0, 0, w.IntN(50)-20)
	next := func() string {
		out := at.Format(time.DateOnly)
		at = at.AddDate(0, 0, 10+w.IntN(30))
		return out
	}
	if w.chance(50) {
		fmt.Fprintf(&b, "    observe = %q\n", next())
	}
	if w.chance(60) {
		fmt.Fprintf(&b, "    warn = %q\n", next())
	}
	if w.chance(60) {
		fmt.Fprintf(&b, "    brownout %q {\n      every = \"2h\"\n      for = \"1h\"\n    }\n", next())
	}
	if w.chance(40) {
		fmt.Fprintf(&b, "    enforce = [\"%s 50%%\", %q]\n", next(), next())
	} else {
		fmt.Fprintf(&b, "    enforce = %q\n", next())
	}
	b.WriteString("  }\n")
	return onceEach(b.String())
}

// onceEach leaves out attributes that a block has already.
func onceEach(block string) string {
	var out []string
	seen := make(map[string]bool)
	for line := range strings.Lines(block) {
		name, _, is := strings.Cut(strings.TrimSpace(line), " = ")
		if is && seen[name] {
			continue
		}
		seen[name] = true
		out = append(out, line)
	}
	return strings.Join(out, "")
}

func (w writer) exempt(requirement, n int) string {
	return onceEach(fmt.Sprintf("exempt \"r%d\" \"e%d\" {\n%s%s  until = %q\n  owner = \"o\"\n  because = \"b\"\n}\n",
		requirement, n, w.condition(1, "where"), w.condition(1, "whom"), begin().AddDate(0, 0, w.IntN(200)).Format(time.DateOnly)))
}

// policy writes one. It may be one that does not load.
func (w writer) policy() string {
	var b strings.Builder
	b.WriteString(networks)
	for i := range 1 + w.IntN(3) {
		b.WriteString(w.allow(i))
	}
	requires := w.IntN(4)
	for i := range requires {
		b.WriteString(w.require(i))
	}
	if requires > 0 {
		for i := range w.IntN(5) {
			b.WriteString(w.exempt(w.IntN(requires), i))
		}
	}
	if w.chance(10) {
		fmt.Fprintf(&b, "require \"peer\" {\n%s}\n", onceEach(w.condition(2, "peer")))
	}
	return b.String()
}

// An assertion is an assert that a policy holds to.
type assertion struct {
	claim  string // no, only or same
	after  time.Time
	except []netip.Prefix
}

// covers reports whether the assertion says something of a moment and a place.
func (a assertion) covers(at time.Time, from netip.Addr) bool {
	return !at.Before(a.after) && !slices.ContainsFunc(a.except, func(p netip.Prefix) bool { return p.Contains(from) })
}

func (a assertion) String() string {
	value := map[string]string{"no": "credential over plain", "only": "exempted logins over plain", "same": "answer before the credential"}[a.claim]
	var except []string
	for _, p := range a.except {
		except = append(except, fmt.Sprintf("%q", p))
	}
	text := fmt.Sprintf("assert %q {\n  %s = %q\n  after = %q\n", a.claim, a.claim, value, a.after.Format(time.RFC3339))
	if except != nil {
		text += "  except_from = [" + strings.Join(except, ", ") + "]\n"
	}
	return text + "}\n"
}

// A ruleset is a policy and what it asserts.
type ruleset struct {
	text    string
	policy  *policies.Policy
	asserts []assertion
}

func parse(text string) (*policies.Policy, error) {
	return policies.Parse([]byte(text), "policy.hcl", policies.Options{Hostname: hostname, Listeners: listeners(), Now: begin()})
}

// parseRules reads a policy with its asserts, as they are written here.
func parseRules(text string) (ruleset, error) {
	p, err := parse(text)
	out := ruleset{text: text, policy: p}
	for _, claim := range claims() {
		for _, a := range assertions(claim) {
			if strings.Contains(text, a.String()) {
				out.asserts = append(out.asserts, a)
			}
		}
	}
	return out, err
}

// random writes policies until one loads, and adds those asserts that it holds to.
func (w writer) random(t testing.TB) ruleset {
	t.Helper()
	var out ruleset
	var err error
	for tries := 0; ; tries++ {
		out.text = w.policy()
		if out.policy, err = parse(out.text); err == nil {
			break
		}
		if tries == 50 {
			t.Fatalf("no policy that loads: %v\n%s", err, out.text)
		}
	}
	for _, claim := range claims() {
		// The narrowest that is proven, unless some other is, too.
		for _, a := range []assertion{pick(w.Rand, assertions(claim)...), assertions(claim)[0]} {
			if p, err := parse(out.text + a.String()); err == nil {
				out.text, out.policy, out.asserts = out.text+a.String(), p, append(out.asserts, a)
				break
			}
		}
	}
	return out
}

func claims() []string { return []string{"no", "only", "same"} }

// assertions are those of a claim that a policy may hold to, the narrowest first.
func assertions(claim string) []assertion {
	var out []assertion
	for _, days := range []int{120, 60, 0} {
		for _, except := range [][]netip.Prefix{{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8:1::/48")}, nil} {
			out = append(out, assertion{claim, begin().AddDate(0, 0, days), except})
		}
	}
	return out
}
