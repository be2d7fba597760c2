package policies

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"gateway/policies/box"
	"gateway/session"
)

// What is proven is true of every login that is tried, and what is not has a login for
// which it is false: the words of a counterexample come from one that Decide was asked.
func TestAssertAgreesWithDecide(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	proven, disproven, undecided := 0, 0, 0
	for n := range 300 {
		src := nearby + strings.Join(randomPolicy(r, early()...), "\n")
		p, err := Parse([]byte(src), "p.hcl", Options{Now: noon()})
		if err != nil {
			continue // a demand that cannot be judged early enough
		}
		for _, claim := range []string{claimNoPlain, claimExempted, claimSame} {
			a := assertion{claim: claim, after: noon()}
			found, err := a.disprove(p, maxProofBoxes)
			switch {
			case err != nil:
				undecided++
			case found != "":
				disproven++
			default:
				proven++
				if bad := counterexample(p, claim, r); bad != "" {
					t.Fatalf("policy %d: %q is proven, and not true of %s\n%s", n, claim, bad, src)
				}
			}
		}
	}
	t.Logf("%d proven, %d disproven, %d undecided", proven, disproven, undecided)
	if proven < 50 || disproven < 50 || undecided > (proven+disproven)/10 {
		t.Errorf("%d proven, %d disproven, %d undecided", proven, disproven, undecided)
	}
}

// counterexample tries random logins.
func counterexample(p *Policy, claim string, r *rand.Rand) string {
	for range 500 {
		q := randomRequest(r)
		q.Phase, q.Time = session.PhaseNamed, noon().AddDate(0, r.IntN(8), r.IntN(7)).Add(time.Duration(r.IntN(24))*time.Hour)
		if q.Listener == "" || !q.Remote.IsValid() || q.Protocol == "" || q.Method == "" || !exists(q.Protocol, q.Channel, q.Method) {
			continue
		}
		v, phase := p.run(q)
		switch claim {
		case claimNoPlain:
			if q.Channel == session.Plain && phase == session.PhaseNamed && !v.Insecure && v.Retry.IsZero() {
				return sayRequest(q)
			}
		case claimExempted:
			if q.Channel == session.Plain && v.Allowed && len(p.Waived(q)) == 0 {
				return sayRequest(q)
			}
		default:
			other := q
			o := randomRequest(r)
			other.User, other.Groups, other.Cohort, other.Place, other.Exposed, other.PasswordSet, other.Floors = o.User, o.Groups, o.Cohort, o.Place, o.Exposed, o.PasswordSet, o.Floors
			u, v := p.Decide(q), p.Decide(other)
			if u.Insecure != v.Insecure {
				return sayRequest(q) + " and " + whoIs(other)
			}
		}
	}
	return ""
}

// An assertion that would take too long is not decided, and so the policy does not load.
func TestAssertHasABudget(t *testing.T) {
	t.Parallel()
	src := "allow \"a\" { protocol = \"ftp\" }\n"
	for i, when := range []string{"group = \"a\"\n client = \"curl\"", "user = \"b\"\n from = \"192.0.2.0/24\"", "listener = \"l\"\n known_place = \"no\""} {
		src += fmt.Sprintf("require \"r%d\" {\n channel = \"encrypted\"\n when {\n %s\n }\n}\n", i, when)
	}
	p, err := Parse([]byte(src), "p.hcl", Options{Now: noon()})
	if err != nil {
		t.Fatal(err)
	}
	a := assertion{claim: claimNoPlain, after: noon()}
	if found, err := a.disprove(p, maxProofBoxes); err != nil || found == "" {
		t.Errorf("got %q, %v", found, err)
	}
	if _, err := a.disprove(p, 3); !errors.Is(err, box.ErrBudget) {
		t.Errorf("got %v", err)
	}
}
