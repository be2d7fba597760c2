package policies

import (
	"fmt"
	"slices"
)

// UnknownGroups warns of groups that conditions name and that are none of those that there are:
// mostly a name is misspelt, and the statement is for nobody. Groups are those of the accounts, so
// that a policy alone cannot tell.
func (p *Policy) UnknownGroups(known []string) []Warning {
	var out []Warning
	at := func(line int, what string, c *condition) {
		for _, g := range c.group {
			if !slices.Contains(known, g) {
				out = append(out, Warning{p.filename, line, fmt.Sprintf("%s is about the group %q, in which nobody is.%s", what, g, suggest(g, known))})
			}
		}
	}
	for _, s := range slices.Concat(p.allows, p.everyRequire(), p.exempts) {
		if s.part > 0 {
			continue // said of the first
		}
		what := fmt.Sprintf("%s %q", s.kind, s.name)
		if s.own != "" {
			what += fmt.Sprintf(" %q", s.own)
		}
		at(s.line, what, &s.cond)
		if s.when != nil {
			at(s.line, what, s.when)
		}
		for _, w := range s.rollouts {
			at(w.line, fmt.Sprintf("rollout %q of %s", w.name, what), &w.cond)
		}
	}
	for _, g := range p.admins {
		if !slices.Contains(known, g) {
			out = append(out, Warning{p.filename, 1, fmt.Sprintf("settings name the group %q as %s, in which nobody is.%s", g, attrAdministrators, suggest(g, known))})
		}
	}
	slices.SortStableFunc(out, func(a, b Warning) int { return a.Line - b.Line })
	return out
}
