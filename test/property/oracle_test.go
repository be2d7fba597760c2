package property

import (
	"crypto/tls"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

const (
	// oracleNames is how many names that exist, and how many that do not, are asked for.
	oracleNames = 2000
	// oracleFew is how many where a connection takes a hundred times as long, but with
	// everyEnv set.
	oracleFew = 200
)

// A trial is a way in which somebody who has no account may try to find out names: what is
// said, with "NAME" for the name, each line after the reply to the one before.
type trial struct {
	name     string
	listener string
	upgrade  string // the command that asks for TLS; empty for none
	lines    func(user string) []string
	proof    proof // over SSH
}

func trials() []trial {
	ftp := func(user string) []string {
		return []string{"USER " + user, "PASS wrong", "USER " + user, "PASS wrong too", "QUIT"}
	}
	mail := func(lines func(user string) []string) func(string) []string {
		return func(user string) []string {
			return slices.Concat([]string{"EHLO client"}, lines(user), []string{"QUIT"})
		}
	}
	plain := mail(func(user string) []string { return []string{"AUTH PLAIN " + encoded("\x00"+user+"\x00wrong")} })
	login := mail(func(user string) []string { return []string{"AUTH LOGIN", encoded(user), encoded("wrong")} })
	scram := mail(func(user string) []string {
		return []string{"AUTH SCRAM-SHA-256", encoded("n,,n=" + user + ",r=x"), encoded("wrong")}
	})
	return []trial{
		{name: "ftp", listener: "ftp", lines: ftp},
		{name: "ftp with AUTH TLS", listener: "ftp", upgrade: "AUTH TLS", lines: ftp},
		{name: "ftps", listener: "ftps", lines: ftp},
		{name: "submission by PLAIN", listener: "submission", lines: plain},
		{name: "submission by LOGIN", listener: "submission", lines: login},
		{name: "submission by SCRAM", listener: "submission", lines: scram},
		{name: "submission with STARTTLS", listener: "submission", upgrade: "STARTTLS", lines: login},
		{name: "submissions", listener: "submissions", lines: plain},
		{name: "sftp by password", listener: "sftp", proof: proof{session.MethodPassword, "wrong"}},
		{name: "sftp by question", listener: "sftp", proof: proof{session.MethodKeyboardInteractive, "wrong"}},
		{name: "sftp by key", listener: "sftp", proof: proof{session.MethodPublicKey, strangeKey}},
	}
}

// inClear reports whether the trial takes no handshake.
func (tr trial) inClear() bool {
	return tr.upgrade == "" && (tr.listener == "ftp" || tr.listener == "submission")
}

// names is how many are tried of each kind.
func (tr trial) names() int {
	switch {
	case testing.Short():
		return oracleFew / 2
	case tr.inClear() || os.Getenv(everyEnv) != "":
		return oracleNames
	default:
		return oracleFew
	}
}

func knownName(i int) string   { return fmt.Sprintf("known-%04d", i) }
func unknownName(i int) string { return fmt.Sprintf("naught%04d", i) } // as long

// crowd is a world of that many accounts, in one of three groups each, and as many names
// without one, each of which is like some account.
func crowd(n int) *world {
	r := rand.New(rand.NewPCG(uint64(n), 3))
	w := &world{people: make(map[string]*person), like: map[string]string{"": knownName(0)}}
	for i := range n {
		w.people[knownName(i)] = &person{
			groups: []string{pick(r, "office", "legacy", "others")}, password: "right", key: pick(r, "", "ed25519"), disabled: r.IntN(20) == 0,
			passwordSet: begin().AddDate(0, 0, -r.IntN(100)), places: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		}
		w.like[unknownName(i)] = knownName(r.IntN(n))
	}
	return w
}

// unequal are rules that treat accounts otherwise by name, by group and by cohort, within a
// network only.
func unequal(n int) string {
	var users []string
	for i := 0; i < n; i += 10 {
		users = append(users, fmt.Sprintf("%q", knownName(i)))
	}
	return `
network "place" { cidrs = ["192.0.2.0/24"] }
allow "all" { protocol = ["ftp", "sftp", "submission"] }
require "encrypted-login" {
  channel = "encrypted"
  reply   = "Use TLS."
  rollout "office" {
    from    = "place"
    group   = "office"
    observe = "2026-12-01"
    enforce = "2026-12-10 30%"
  }
  rollout "legacy" {
    from  = "place"
    group = "legacy"
    brownout "2026-12-31" {
      every = "168h"
      for   = "167h"
    }
  }
}
require "office has keys" {
  method = "publickey"
  when { group = "office" }
}
exempt "encrypted-login" "some" {
  from    = "place"
  user    = [` + strings.Join(users, ", ") + `]
  until   = "2027-06-30"
  owner   = "o"
  because = "b"
}
`
}

// heard is all that somebody learns who tries a name: words, codes and their order, how
// long it took, and how much was hashed for it.
type heard struct {
	text   string
	took   time.Duration
	hashes int
}

// Nobody can find out which names exist: names that do not hear each answer as often as
// names that do, after the same time and for as many hashes. Where rules treat accounts
// otherwise by name, group or cohort, that is so within their network, and outside of it
// all hear the same.
func TestNoOracle(t *testing.T) {
	t.Parallel()
	for _, tr := range trials() {
		for scope, from := range map[string]string{"inside": "192.0.2.7", "outside": "198.51.100.7"} {
			t.Run(tr.name+" "+scope, func(t *testing.T) {
				t.Parallel()
				n := tr.names()
				rules, err := parseRules(unequal(n))
				if err != nil {
					t.Fatal(err)
				}
				var known, unknown map[heard]int
				synctest.Test(t, func(t *testing.T) {
					g := start(t, crowd(n), rules)
					time.Sleep(time.Until(begin()))
					known, unknown = g.tryNames(t, tr, from, n, knownName), g.tryNames(t, tr, from, n, unknownName)
				})
				compareHeard(t, known, unknown, n, scope == "outside" || !tr.inClear())
			})
		}
	}
}

// tryNames tries all names of a kind from an address and counts what was heard.
func (g *gateway) tryNames(t *testing.T, tr trial, from string, n int, name func(int) string) map[heard]int {
	t.Helper()
	counts := make(map[heard]int)
	for i := range n {
		s := &situation{Listener: tr.listener, Remote: from, User: name(i)}
		s.TLS.Version, s.TLS.Group = tls.VersionTLS13, tls.X25519
		began := time.Now()
		c := g.dial(s)
		if fault := c.play(&login{situation: s}, tr.speak); fault != "" {
			t.Fatalf("%s: %s\n%s", s.User, fault, c.dialogue.String())
		}
		g.record.take()
		checked, _, _ := g.world.seen()
		text := strings.NewReplacer(s.User, "NAME", encoded(s.User), "NAME", encoded("\x00"+s.User+"\x00wrong"), "NAME", encoded("n,,n="+s.User+",r=x"), "NAME").Replace(c.dialogue.String())
		counts[heard{text, time.Since(began), len(checked)}]++
	}
	return counts
}

// speak tries a name.
func (tr trial) speak(c *client, l *login) {
	if tr.proof.Method != "" {
		tr.speakSSH(c, l)
		return
	}
	if l.implicit() {
		c.secure(l)
	}
	c.reply()
	if tr.upgrade != "" {
		if tr.upgrade == "STARTTLS" {
			c.ask("EHLO client", "")
		}
		c.ask(tr.upgrade, "")
		c.secure(l)
	}
	for _, line := range tr.lines(l.User) {
		if c.ask(line, "") == "" {
			return // hung up on, which was heard
		}
	}
}

func (tr trial) speakSSH(c *client, l *login) {
	_, _, _, err := ssh.NewClientConn(c.conn, hostname, &ssh.ClientConfig{
		User: l.User, Auth: []ssh.AuthMethod{authMethod(tr.proof, func(proof) {})}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		Config:         ssh.Config{KeyExchanges: []string{ssh.KeyExchangeCurve25519}},
		BannerCallback: func(m string) error { c.dialogue.WriteString(m); return nil },
	})
	if err == nil {
		c.fault("logged in")
	}
	c.dialogue.WriteString(err.Error())
}

// compareHeard looks whether those who exist hear each answer as often as the others.
func compareHeard(t *testing.T, known, unknown map[heard]int, n int, alike bool) {
	t.Helper()
	all := maps.Clone(known)
	maps.Copy(all, unknown)
	switch {
	case alike && len(all) != 1:
		t.Errorf("%d answers, want one", len(all))
	case !alike && len(all) < 3:
		t.Errorf("%d answers, want several: the test shows nothing", len(all))
	}
	for h := range all {
		p, q := float64(known[h])/float64(n), float64(unknown[h])/float64(n)
		mean := (p + q) / 2
		// The two samples, and which account each name is like, are each as good as random.
		if far := 5 * math.Sqrt(3*mean*(1-mean)/float64(n)); math.Abs(p-q) > far {
			t.Errorf("of those who exist %.3f hear this, of the others %.3f, after %v and for %d hashes:\n%s", p, q, h.took, h.hashes, h.text)
		}
	}
}
