package policies

import (
	"slices"
	"strings"

	"gateway/session"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	attrFactors = "factors" // require
	attrProven  = "proven"  // expect
)

// factors reads the sets of proofs of which one is wanted.
func (d *decoder) factors(s *statement, a *hclsyntax.Attribute) {
	for _, t := range d.texts(a) {
		if w := d.proven(t); w != 0 {
			s.ways = append(s.ways, w)
		}
	}
	s.lacking = session.LackingAllBut(s.ways...)
}

// proven reads one set of proofs.
func (d *decoder) proven(t text) session.Factors {
	f, err := session.ParseFactors(t.value)
	if err != nil {
		d.fault(t.at, "Unknown factor", "In %q, %s. Write such as \"publickey+password\".", t.value, err)
	}
	return f
}

// askingFactors lists the statements that want several proofs.
func askingFactors(list []*statement) []*statement {
	return slices.DeleteFunc(slices.Clone(list), func(s *statement) bool { return s.ways == nil })
}

// lacking is what is not enough for whoever the conditions matched: each rule
// that applies and is not exempted must be met.
func (p *Policy) lacking(matched *bits, r *session.Request) session.Lacking {
	var out session.Lacking
	for _, q := range p.factorRules {
		if q.applies(matched) && exemption(q, matched, r.Time) == nil && q.standing(matched, r).refuses() {
			out |= q.lacking
		}
	}
	return out
}

// unproven refuses r by the first rule that wants more than was proven.
func (p *Policy) unproven(matched *bits, r *session.Request) session.Verdict {
	for _, q := range p.factorRules {
		if !q.lacking.More(r.Proven) || !q.applies(matched) || exemption(q, matched, r.Time) != nil {
			continue
		}
		if s := q.standing(matched, r); s.refuses() {
			return session.Verdict{Rule: q.rule, Reason: q.unproven, Lacking: q.lacking, Retry: s.until, Hint: hintUntil(q, s.until)}
		}
	}
	return session.Verdict{Rule: p.defaultRule, Reason: reasonPhase} // not reached
}

// shortOfProof notes the rules that want more than was proven and are not yet in
// force.
func (p *Policy) shortOfProof(v *session.Verdict, matched *bits, r *session.Request) {
	for _, q := range p.factorRules {
		if !q.lacking.More(r.Proven) || !q.applies(matched) || exemption(q, matched, r.Time) != nil {
			continue
		}
		q.standing(matched, r).note(v, q, r)
	}
}

// waysText lists what a require wants proven.
func (s *statement) waysText() string {
	list := make([]string, len(s.ways))
	for i, w := range s.ways {
		list[i] = w.String()
	}
	return strings.Join(list, " or ")
}

// short says what r has proven too little of, in words; nothing if it is enough,
// or not yet the time to ask.
func (s *statement) short(r session.Request) []string {
	if s.ways == nil || r.Phase != session.PhaseVerified || !s.lacking.More(r.Proven) {
		return nil
	}
	return []string{"proven is " + orUnknown(r.Proven.String()) + ", not " + s.waysText()}
}

// lintFactors warns of rules that nobody can meet over a protocol to which they
// apply. A code can be asked for over SSH only, and a client can show two proofs
// there, or by a certificate and a password over FTP.
func (p *Policy) lintFactors(warn func(s *statement, format string, args ...any)) {
	for _, q := range p.factorRules {
		if q.cond.sets[dimProtocol] != 0 && !q.cond.sets[dimProtocol].has(protocolNumber(session.FTP)) && !q.cond.sets[dimProtocol].has(protocolNumber(session.Submission)) {
			continue
		}
		var closed []string
		for protocol, can := range map[session.Protocol]session.Factors{
			session.FTP:        session.FactorKey | session.FactorPassword,
			session.Submission: session.FactorPassword,
		} {
			served := slices.ContainsFunc(p.allows, func(a *statement) bool {
				return a.cond.sets[dimProtocol] == 0 || a.cond.sets[dimProtocol].has(protocolNumber(protocol))
			})
			applies := q.when == nil || q.when.sets[dimProtocol] == 0 || q.when.sets[dimProtocol].has(protocolNumber(protocol))
			if served && applies && !slices.ContainsFunc(q.ways, func(w session.Factors) bool { return w&^can == 0 }) {
				closed = append(closed, string(protocol))
			}
		}
		slices.Sort(closed)
		if len(closed) > 0 {
			warn(q, "require %q cannot be met over %s, which has no way to prove that; if that is meant, say so by an allow, "+
				"else add protocol = \"sftp\" to its when", q.name, strings.Join(closed, ", "))
		}
	}
}
