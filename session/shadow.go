package session

import "slices"

// SetShadow has p decide beside the policy in force from now on, for the record only:
// what it would refuse and the policy in force lets pass stands in Event.WouldRefuse. It
// is never applied. Nil ends that.
func (g *Gate) SetShadow(p Policy) {
	if p == nil {
		g.shadow.Store(nil)
		return
	}
	g.shadow.Store(&p)
}

// wouldRefuse lists the rules that refuse it as yet only on paper: those that are
// observed, and the one of the shadow.
func (g *Gate) wouldRefuse(d decision) []string {
	shadow := g.shadow.Load()
	if shadow == nil || !d.verdict.Allowed {
		return d.verdict.WouldRefuse
	}
	v := (*shadow).Decide(d.request)
	if v.Allowed {
		return d.verdict.WouldRefuse
	}
	return append(slices.Clip(d.verdict.WouldRefuse), v.Rule)
}
