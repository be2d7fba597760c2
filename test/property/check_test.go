package property

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

// play waits for the time of a situation, plays it, and returns what is not as it must
// be, with what was said.
func (g *gateway) play(s *situation, counts *tally) string {
	if time.Until(s.At) > 0 {
		time.Sleep(time.Until(s.At))
	}
	if s.TLS.Again {
		g.visit(s)
	}
	s.At = time.Now().UTC().Round(0)
	l := &login{situation: s, world: g.world, policy: g.rules.policy}
	c := g.dial(s)
	speak := map[session.Protocol]func(*client, *login){session.FTP: speakFTP, session.SFTP: speakSSH, session.Submission: speakSMTP}[s.protocol()]
	fault := c.play(l, speak)
	conn, logins := g.record.take()
	for _, check := range []func() string{
		func() string { return g.compareChecks(l) },
		func() string { return compareLogins(l, logins) },
		func() string { return compareConnection(l, conn) },
		func() string { return g.broken(l, c) },
		func() string { return l.shutOut() },
	} {
		if fault == "" {
			fault = check()
		}
	}
	if fault != "" {
		return fault + "\n" + c.dialogue.String()
	}
	counts.add(l.came(g.rules, conn)...)
	return ""
}

// visit is a connection before that of the situation, which leaves a session of TLS to
// resume. FTP resumes none of other connections.
func (g *gateway) visit(s *situation) {
	if s.protocol() != session.Submission {
		return
	}
	before := *s
	before.First, before.Ways = "", nil
	l := &login{situation: &before, world: g.world, policy: g.rules.policy}
	g.dial(s).play(l, speakSMTP) // what is wrong with it shows in the other
	g.record.take()
	g.world.seen()
}

// compareChecks looks whether the proofs were checked that the policy lets be checked, and
// no others, and which passwords count as exposed.
func (g *gateway) compareChecks(l *login) string {
	checked, exposed, suspects := g.world.seen()
	if !slices.Equal(checked, l.verified) {
		return fmt.Sprintf("checked %v, want %v", checked, l.verified)
	}
	if !slices.Equal(exposed, l.exposed) || !slices.Equal(suspects, l.suspects) {
		return fmt.Sprintf("exposed %v and suspects %v, want %v and %v", exposed, suspects, l.exposed, l.suspects)
	}
	return ""
}

// compareLogins looks whether each decision is recorded, with its facts and its verdict.
func compareLogins(l *login, logins []session.Event) string {
	if len(logins) != len(l.events) {
		return fmt.Sprintf("recorded %d logins, want %d:\n%s\nwant\n%s", len(logins), len(l.events), describe(logins), describe(l.events))
	}
	for i, want := range l.events {
		if d := difference(logins[i], want); d != "" {
			return fmt.Sprintf("recorded login %d: %s", i+1, d)
		}
	}
	return ""
}

func describe(events []session.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprintf("%s %s %s %q %s %q", e.User, e.Method, e.Outcome, e.Rule, e.Stage, e.Reason))
	}
	return strings.Join(out, "\n")
}

// difference says in what a login was recorded otherwise than it must be.
func difference(got, want session.Event) string {
	for _, f := range []struct {
		name      string
		got, want any
	}{
		{"user", got.User, want.User}, {"method", got.Method, want.Method}, {"outcome", got.Outcome, want.Outcome},
		{"rule", got.Rule, want.Rule}, {"reason", got.Reason, want.Reason}, {"stage", got.Stage, want.Stage},
		{"credential", got.Credential, want.Credential}, {"exposed", got.Exposed, want.Exposed},
		{"would_refuse", strings.Join(got.WouldRefuse, "\n"), strings.Join(want.WouldRefuse, "\n")}, {"policy", got.Policy, want.Policy},
	} {
		if f.got != f.want {
			return fmt.Sprintf("%s is %#v, want %#v", f.name, f.got, f.want)
		}
	}
	facts := *got.Facts
	facts.Time = facts.Time.Round(0)
	if !reflect.DeepEqual(facts, *want.Facts) {
		return fmt.Sprintf("facts are\n%+v, want\n%+v", facts, *want.Facts)
	}
	return ""
}

// compareConnection looks whether the connection is recorded as what it was.
func compareConnection(l *login, conn session.Event) string {
	want := session.OutcomeNoLogin
	rule := ""
	v := l.policy.Decide(l.peer(l.At))
	switch {
	case !v.Allowed:
		want, rule = session.OutcomeRefused, v.Rule
	case l.granted != nil:
		want = session.OutcomeSession
	}
	if conn.Outcome != want || conn.Rule != rule || conn.Conn == "" || conn.Count != 1 || conn.Remote.Addr() != l.addr() || conn.Listener != l.Listener {
		return fmt.Sprintf("recorded connection %+v, want %s by %q", conn, want, rule)
	}
	return ""
}

// broken says which assert of the policy was not kept. They are about channels in clear.
func (g *gateway) broken(l *login, c *client) string {
	for _, a := range g.rules.asserts {
		if !l.cleartext() || !a.covers(l.At, l.addr()) {
			continue
		}
		switch {
		case a.claim == "no" && len(l.verified) > 0:
			return fmt.Sprintf("%scredentials over plain were looked at: %v", a, l.verified)
		case a.claim == "only" && l.granted != nil && len(l.policy.Waived(*l.granted)) == 0:
			return fmt.Sprintf("%slet in over plain without an exemption", a)
		case a.claim == "same" && len(c.answers) == 2 && c.answers[l.First] != c.answers[l.User]:
			return fmt.Sprintf("%snames are told apart: %q", a, c.answers)
		}
	}
	return ""
}

// cleartext reports whether all of the dialogue was in clear.
func (l *login) cleartext() bool { return l.channel == session.Plain && !l.Upgrade && !l.implicit() }

// shutOut looks whether somebody was not let in although the policy lets in whoever has
// the proof of the situation: by what Decide says of the last word alone, however the
// dialogue goes there.
func (l *login) shutOut() string {
	if l.granted != nil || l.First != "" || l.Slow || len(l.Proofs) != 1 || !l.world.right(l.User, l.Proofs[0]) || l.world.people[l.User].disabled {
		return ""
	}
	if !l.policy.Decide(l.peer(l.At)).Allowed {
		return ""
	}
	l.said = l.said || l.protocol() == session.SFTP
	l.forget()
	r := l.facts(l.At, l.User, l.Proofs[0].Method)
	if !l.policy.Decide(r).Allowed {
		return ""
	}
	l.prove(l.User, l.Proofs[0])
	r = l.facts(l.At, l.User, l.Proofs[0].Method)
	r.Phase = session.PhaseVerified
	if v := l.policy.Decide(r); v.Allowed {
		return "not let in, and the policy allows it by " + v.Rule
	}
	return ""
}

// came lists all that the situation was, for the tally.
func (l *login) came(rules ruleset, conn session.Event) []string {
	k := l.kind()
	out := []string{string(k)}
	if conn.Outcome == session.OutcomeRefused {
		out = append(out, "refused by place")
	}
	told := make(map[answerKind]bool)
	for _, a := range l.told {
		told[a.kind] = true
		if a.notice != "" {
			out = append(out, "with a notice")
		}
	}
	for a := range told {
		out = append(out, came(k, a))
	}
	if l.granted != nil && len(l.policy.Waived(*l.granted)) > 0 {
		out = append(out, "exempted")
	}
	if l.granted != nil && l.granted.Channel == session.TLS && l.granted.Proven&session.FactorKey != 0 {
		out = append(out, "by certificate")
	}
	if l.changed {
		out = append(out, "changed meanwhile")
	}
	if l.tls.Resumed {
		out = append(out, "resumed")
	}
	for _, v := range l.verified {
		out = append(out, "by "+string(v.method))
	}
	for _, e := range l.events {
		if e.WouldRefuse != nil {
			out = append(out, "observed")
			break
		}
	}
	for _, a := range rules.asserts {
		if l.cleartext() && a.covers(l.At, l.addr()) {
			out = append(out, "under assert "+a.claim)
		}
	}
	return out
}
