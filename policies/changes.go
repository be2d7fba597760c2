package policies

import (
	"slices"
	"time"
)

// Changes lists every moment after that time at which p decides otherwise for somebody by
// itself, in their order: the dates of rollouts, and the ends of exempts and devices. The
// windows of a brownout, which repeat, are not among them.
func (p *Policy) Changes(after time.Time) []time.Time {
	if p == nil {
		return nil
	}
	var out []time.Time
	for _, q := range p.everyRequire() {
		for _, w := range q.rollouts {
			for _, s := range w.dates() {
				out = append(out, s.from)
			}
		}
	}
	for _, e := range p.Exemptions() {
		out = append(out, e.Expires)
	}
	out = slices.DeleteFunc(out, func(t time.Time) bool { return !t.After(after) })
	slices.SortFunc(out, time.Time.Compare)
	return slices.CompactFunc(out, time.Time.Equal)
}
