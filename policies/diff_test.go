package policies

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gateway/policies/box"
	"gateway/session"
)

// pointOf is where a request lies in a space.
func pointOf(s *space, q *session.Request) []int {
	p := make([]int, len(s.Sizes))
	p[s.door] = slices.IndexFunc(s.doors, func(d door) bool { return protocols()[d.protocol] == string(q.Protocol) && d.channel == q.Channel })
	for d := dimChannel + 1; d < dimensions; d++ {
		if axis := s.dims[d]; axis >= 0 {
			if p[axis] = d.number(q, s.zone); p[axis] < 0 {
				p[axis] = d.unknownValue()
			}
		}
	}
	for n := range scales {
		if axis := s.scales[n]; axis >= 0 {
			v, _ := n.number(q, s.zone)
			for p[axis]+1 < len(s.edges[n]) && s.edges[n][p[axis]+1] <= v {
				p[axis]++
			}
		}
	}
	p[s.listener] = indexOr(s.listeners, q.Listener)
	p[s.user] = indexOr(s.users, q.Subject())
	for p[s.from]+1 < len(s.addresses) && s.addresses[p[s.from]+1].Compare(q.Remote) <= 0 {
		p[s.from]++
	}
	for p[s.epoch]+1 < len(s.epochs) && !s.epochs[p[s.epoch]+1].After(q.Time) {
		p[s.epoch]++
	}
	for p[s.cohort]+1 < len(s.percents) && s.percents[p[s.cohort]+1] <= q.Cohort {
		p[s.cohort]++
	}
	for g, axis := range s.groups {
		if slices.Contains(q.Groups, g) {
			p[axis] = 1
		}
	}
	return p
}

func indexOr(names []string, name string) int {
	if i, found := slices.BinarySearch(names, name); found {
		return i
	}
	return len(names)
}

func in1(r box.Region, p []int) bool {
	return slices.ContainsFunc(r, func(b box.Box) bool {
		for axis, v := range p {
			if !b[axis].Has(v) {
				return false
			}
		}
		return true
	})
}

func fateOf(v session.Verdict) string {
	switch {
	case !v.Retry.IsZero():
		return fatePaused
	case !v.Allowed:
		return fateRefused
	case v.Notice != "" && v.WouldRefuse != nil: // else it is about the password
		return fateWarned
	default:
		return fateAllowed
	}
}

// The regions of fates are what Decide says of each login.
func TestFatesAreThoseOfDecide(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 7))
	tried := make(map[string]int)
	for n := range 400 {
		src := nearby + strings.Join(randomPolicy(r, append(early(), "key")...), "\n")
		p, err := Parse([]byte(src), "p.hcl", Options{Now: noon()})
		if err != nil {
			continue
		}
		s := newSpace(noon(), nil, nil, p)
		regions, err := (&ruling{space: s, policy: p, phase: session.PhaseVerified}).fates(s.real())
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			q := randomRequest(r)
			q.Phase, q.Known, q.Proven = session.PhaseVerified, true, session.FactorPassword|session.FactorCode|session.FactorKey
			q.Time = noon().AddDate(0, r.IntN(8), r.IntN(7)).Add(time.Duration(r.IntN(24)) * time.Hour)
			if q.Listener == "" || !q.Remote.IsValid() || q.Protocol == "" || q.Method == "" || !exists(q.Protocol, q.Channel, q.Method) {
				continue
			}
			v, _ := p.run(q)
			want, at := fateOf(v), pointOf(s, &q)
			for _, fate := range fates() {
				// Between the windows of a brownout it is as in the stage before; and in one, who is
				// never let in hears of that first.
				good := fate == want || fate == fatePaused && want == fateWarned || fate == fateRefused && want == fatePaused && refusedLater(p, q)
				if in1(regions[fate], at) && !good {
					t.Fatalf("policy %d: %s is %s and in the region %s\n%s", n, sayRequest(q), want, fate, src)
				}
			}
			if !slices.ContainsFunc(fates(), func(f string) bool { return in1(regions[f], at) }) {
				t.Fatalf("policy %d: %s is in no region\n%s", n, sayRequest(q), src)
			}
			tried[want]++
		}
	}
	for _, fate := range fates() {
		if tried[fate] == 0 {
			t.Errorf("no login was %s", fate)
		}
	}
}

// refusedLater reports whether a login is refused between the windows of a brownout too.
func refusedLater(p *Policy, q session.Request) bool {
	q.Time = q.Time.Add(time.Hour)
	v, _ := p.run(q)
	return fateOf(v) == fateRefused
}

// A policy decides as itself, and otherwise as another where that says so.
func TestCompare(t *testing.T) {
	t.Parallel()
	const open = `
allow "files" { group = "users" }
require "encrypted" {
  channel = "encrypted"
  rollout "office" { enforce = "2027-06-01" }
}
`
	const strict = `
allow "files" { group = "users" }
require "encrypted" { channel = "encrypted" }
require "factors" {
  factors = "publickey"
  when { protocol = "sftp" }
}
`
	load := func(src string) *Policy {
		p, err := Parse([]byte(src), "p.hcl", Options{Now: noon()})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	same, err := load(open).Compare(load(open+"# only a comment\n"), noon())
	if err != nil || len(same.Logins)+len(same.Others) != 0 {
		t.Errorf("the same policy: %+v, %v", same, err)
	}
	other, err := load(open).Compare(load(strict), noon())
	if err != nil {
		t.Fatal(err)
	}
	want := Difference{Before: fateAllowed, After: fateRefused, Logins: "in clear, in group office and users, until 2027-06-01", Rule: `require "encrypted" (p.hcl:3)`}
	if len(other.Logins) != 1 || other.Logins[0] != want {
		t.Errorf("got %+v, want %+v", other.Logins, want)
	}
	if !slices.Equal(other.Others, []string{`require "factors" is new`}) {
		t.Errorf("others: %v", other.Others)
	}
	back, err := load(strict).Compare(load(open), noon())
	if err != nil || len(back.Logins) != 1 || back.Logins[0].Before != fateRefused || back.Logins[0].After != fateAllowed {
		t.Errorf("back: %+v, %v", back, err)
	}
}

// Where two policies decide otherwise, a statement says something that only one of them has.
func TestTouched(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(13, 7))
	differing := 0
	for range 200 {
		statements := randomPolicy(r, append(early(), "key")...)
		less := slices.Delete(slices.Clone(statements), 0, 1)
		p, err1 := Parse([]byte(nearby+strings.Join(statements, "\n")), "p.hcl", Options{Now: noon()})
		then, err2 := Parse([]byte(nearby+strings.Join(less, "\n")), "p.hcl", Options{Now: noon()})
		if err1 != nil || err2 != nil {
			continue
		}
		s := newSpace(noon(), nil, nil, p, then)
		only, err := s.touched(p, then)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			q := randomRequest(r)
			q.Phase, q.Known, q.Proven = session.PhaseVerified, true, session.FactorPassword|session.FactorCode|session.FactorKey
			if q.Listener == "" || !q.Remote.IsValid() || q.Protocol == "" || q.Method == "" || !exists(q.Protocol, q.Channel, q.Method) {
				continue
			}
			u, _ := p.run(q)
			v, _ := then.run(q)
			if fateOf(u) == fateOf(v) {
				continue
			}
			differing++
			if !in1(only, pointOf(s, &q)) {
				t.Fatalf("%s is %s and %s, and nothing that differs is about it\n%s", sayRequest(q), fateOf(u), fateOf(v), strings.Join(statements, "\n"))
			}
		}
	}
	if differing < 50 {
		t.Errorf("only %d logins were decided otherwise", differing)
	}
}
