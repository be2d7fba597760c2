// Package property tests that the front-ends do what the policy says: random
// situations under random policies, each of them played on the real FTP, SFTP and SMTP
// front-ends with the real gate, by a client that knows from the policy alone what it
// must hear. What is proven of a policy is thereby so of the gateway.
package property

import (
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	// rulesets is how many policies there are, each with situations in a half year that
	// are perRuleset in all: a hundred thousand.
	rulesets   = 500
	perRuleset = 200
	// Of them, so many each are over TLS and SSH, which take a hundred times as long, and
	// so many are mail in clear. With everyEnv set there are as many of each kind.
	tlsEach  = 2
	sshEach  = 2
	mailEach = 74
	everyEnv = "GATEWAY_PROPERTY_EVERY"
	// seedEnv is the seed of the one policy to try.
	seedEnv = "GATEWAY_PROPERTY_SEED"
	// shortPart is the part of the policies that are tried by go test -short.
	shortPart = 10
)

// mix is how many situations of each kind there are under each policy.
func mix() map[kind]int {
	if os.Getenv(everyEnv) != "" {
		out := make(map[kind]int)
		for _, k := range kinds() {
			out[k] = perRuleset / len(kinds())
		}
		return out
	}
	return map[kind]int{
		kindFTPS: tlsEach, kindMails: tlsEach, kindSSH: sshEach, kindMail: mailEach, kindFTP: perRuleset - mailEach - 2*tlsEach - sshEach,
	}
}

// seeds are those to try.
func seeds(t *testing.T) []uint64 {
	t.Helper()
	if text := os.Getenv(seedEnv); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
		return []uint64{seed}
	}
	most := rulesets
	if testing.Short() {
		most /= shortPart
	}
	out := make([]uint64, most)
	for i := range out {
		out[i] = uint64(i)
	}
	return out
}

// Each verdict that a client hears is that of Decide, and what an assert excludes
// does not happen.
func TestFrontEndsDoWhatDecideSays(t *testing.T) {
	t.Parallel()
	all, counts := seeds(t), &tally{counts: make(map[string]int)}
	t.Run("seeds", func(t *testing.T) {
		shards := runtime.GOMAXPROCS(0)
		for shard := range min(shards, len(all)) {
			t.Run(strconv.Itoa(shard), func(t *testing.T) {
				t.Parallel()
				for i := shard; i < len(all) && !t.Failed(); i += shards {
					tryAll(t, all[i], counts)
				}
			})
		}
	})
	counts.report(t)
	if !t.Failed() && len(all) > 1 {
		counts.demand(t)
	}
}

// tryAll plays the situations of one seed, and says of the first that is not as it must
// be what is needed to find out why.
func tryAll(t *testing.T, seed uint64, counts *tally) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	rules := writer{r}.random(t)
	situations := randomSituations(r, newWorld(seed))
	var fault string
	var wrong situation
	synctest.Test(t, func(t *testing.T) {
		g := start(t, newWorld(seed), rules)
		for _, s := range situations {
			if fault = g.play(&s, counts); fault != "" {
				wrong = s
				return
			}
		}
	})
	if fault == "" {
		return
	}
	text, again := shrink(t, seed, rules.text, wrong)
	if again == "" {
		again = "(not found again by itself, without what was before it)\n" + fault
	}
	t.Errorf("seed %d: %s\n\nAs a case of TestFound:\n{\"\", %d, `\n%s`, %s},", seed, again, seed, text, &wrong)
}

// randomSituations are those under one policy, in the order of their times.
func randomSituations(r *rand.Rand, w *world) []situation {
	var all []situation
	each := mix()
	for _, k := range kinds() {
		for range each[k] {
			s := randomSituation(r, w, k)
			s.At = begin().Add(time.Duration(r.Int64N(int64(period/time.Minute))) * time.Minute)
			if s.Slow { // rules change on the hour
				s.At = s.At.Truncate(time.Hour).Add(time.Hour - hesitation/2)
			}
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b situation) int { return a.At.Compare(b.At) })
	return all
}

// tryOne plays one situation under a policy, and returns what is wrong.
func tryOne(t *testing.T, seed uint64, text string, s situation) (fault string) {
	t.Helper()
	rules, err := parseRules(text)
	if err != nil {
		return err.Error()
	}
	synctest.Test(t, func(t *testing.T) {
		fault = start(t, newWorld(seed), rules).play(&s, &tally{counts: make(map[string]int)})
	})
	return fault
}

// shrink leaves out what the fault does not need of a policy: statements, and then
// lines. fault is what is wrong under the rest; empty if nothing is wrong under the whole.
func shrink(t *testing.T, seed uint64, text string, s situation) (rest, fault string) {
	t.Helper()
	if fault = tryOne(t, seed, text, s); fault == "" {
		return text, ""
	}
	for _, divide := range []func(string) []string{statements, lines} {
		parts := divide(text)
		for i := len(parts) - 1; i >= 0; i-- {
			without := slices.Delete(slices.Clone(parts), i, i+1)
			shorter := strings.Join(without, "")
			if _, err := parseRules(shorter); err != nil {
				continue
			}
			if f := tryOne(t, seed, shorter, s); f != "" {
				parts, text, fault = without, shorter, f
			}
		}
	}
	return text, fault
}

// statements divides a policy where a line begins with a name.
func statements(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if len(out) == 0 || line[0] >= 'a' && line[0] <= 'z' {
			out = append(out, "")
		}
		out[len(out)-1] += line
	}
	return out
}

func lines(text string) []string { return slices.Collect(strings.Lines(text)) }

// Situations that were found to go wrong. The seed is that of the world.
func TestFound(t *testing.T) {
	t.Parallel()
	for _, found := range []struct {
		name string
		seed uint64
		text string
		situation
	}{
		{"a rule for keys told names apart over FTP in clear", 19, `
allow "all" { protocol = "ftp" }
require "encrypted" {
  channel = "encrypted"
  when {
    method  = "publickey"
    exposed = "no"
  }
}
assert "same" {
  same = "answer before the credential"
  after = "2027-01-01T00:00:00Z"
}
`, situation{
			Listener: "ftp", At: at("2027-02-09T22:47:00Z"), Remote: "2001:db8:2::7",
			First: "carol", User: "dave", Proofs: []proof{{"password", "right-dave"}},
		}},
		{"an exempt for passwords did not exempt over FTP", 1, `
allow "all" { protocol = "ftp" }
require "encrypted" { channel = "encrypted" }
exempt "encrypted" "old" {
  method  = "password"
  from    = "192.0.2.7"
  until   = "2027-06-01"
  owner   = "o"
  because = "b"
}
`, situation{
			Listener: "ftp", At: at("2027-02-09T22:47:00Z"), Remote: "192.0.2.7", User: "bob", Proofs: []proof{{"password", "right-bob"}},
		}},
		{"an SSH client was offered nothing where a rule lets it in by what it is", 0, `
allow "new" { client = "openssh" }
`, situation{
			Listener: "sftp", At: at("2027-01-27T00:48:00Z"), Remote: "10.1.2.3", Software: "SSH-2.0-OpenSSH_9.9",
			User: "bob", Proofs: []proof{{"password", "right-bob"}},
		}},
	} {
		t.Run(found.name, func(t *testing.T) {
			t.Parallel()
			if fault := tryOne(t, found.seed, found.text, found.situation); fault != "" {
				t.Error(fault)
			}
		})
	}
}

// at reads the time of a situation.
func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}
