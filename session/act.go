package session

import (
	"slices"
	"sync/atomic"
)

// ruled are the rules that a session's acts are decided by: those of its login, until
// others come into force that still let it in.
type ruled struct {
	policy Policy
	acts   bool    // DataRules.Acts
	login  Request // by which it was let in
}

// rules is set before the session is granted, and by Gate.Redecide.
type rules = atomic.Pointer[ruled]

// actsOf lists what the rules are asked about a: of mail, once for each recipient, or once
// while none is known.
func actsOf(a Action) []Act {
	act := Act{Verb: a.Verb, Asked: a.Request, Over: a.Over}
	if !a.Verb.mail() {
		act.Path, act.Target = a.Object, a.Target
		return []Act{act}
	}
	act.Sender = a.Object
	if len(a.To) == 0 {
		return []Act{act}
	}
	list := make([]Act, len(a.To))
	for i, to := range a.To {
		list[i] = act
		list[i].Recipient = to
	}
	return list
}

// judge asks the rules whether the session may do a, of which op keeps account. What they refuse is
// ErrDenied, or ErrPaused in a brownout; op is then told why, and of what is only observed,
// the shadow's refusals included.
func (s *Session) judge(op *Op, a Action) error {
	by, shadow := s.rules.Load(), s.attempt.gate.shadow.Load()
	if by == nil || !by.acts && shadow == nil {
		return nil
	}
	r := by.login
	r.Phase, r.Time = PhaseSession, op.began.UTC()
	for _, act := range actsOf(a) {
		r.Act = act
		if by.acts {
			v := by.policy.Decide(r)
			op.observe(v.WouldRefuse...)
			if !v.Allowed {
				op.rule, op.reason = v.Rule, v.Reason
				return v.refusal(ErrDenied)
			}
		}
		if shadow != nil {
			if v := (*shadow).Decide(r); !v.Allowed {
				op.observe(v.Rule)
			}
		}
	}
	return nil
}

// observe notes rules that refuse it as yet only on paper.
func (o *Op) observe(rules ...string) {
	for _, rule := range rules {
		if !slices.Contains(o.wouldRefuse, rule) {
			o.wouldRefuse = append(o.wouldRefuse, rule)
		}
	}
}
