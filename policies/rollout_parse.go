package policies

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	// maxRollouts is how many a require may have.
	maxRollouts = 32
	// maxSteps is how many dates a stage of a rollout may have, and how many brownouts
	// a rollout.
	maxSteps = 16
	// maxEvery is the longest time from one window of a brownout to the next.
	maxEvery = 7 * 24 * time.Hour
	// minWindow is the shortest window.
	minWindow = time.Minute
)

const attrEverybody = "everybody"

// rollout reads one rollout of a require. Its name is that of a group if it does not
// say otherwise whom it is for.
func (d *decoder) rollout(s *statement, b *hclsyntax.Block) {
	w := &rollout{line: b.TypeRange.Start.Line}
	if len(b.Labels) != 1 {
		d.fault(b.DefRange(), "Wrong number of names", "Write: rollout \"name\" { ... }, with the name of a group, or with from, group, user, listener or everybody inside.")
		return
	}
	w.name = b.Labels[0]
	if why := badText(w.name, maxValue); why != "" {
		d.fault(b.LabelRanges[0], "Bad name", "The name must be a text%s.", why)
	}
	if slices.ContainsFunc(s.rollouts, func(o *rollout) bool { return o.name == w.name }) {
		d.fault(b.DefRange(), "Name already used", "Require %q has a rollout %q already.", s.name, w.name)
	}
	if len(s.rollouts) == maxRollouts {
		d.fault(b.DefRange(), "Too many rollouts", "A require may have %d.", maxRollouts)
		return
	}
	whom := append(loginNames(), attrEverybody)
	everybody, before := false, len(d.diags)
	d.attributes("A rollout", b.Body, append(slices.Clone(whom), "observe", "warn", "enforce"), func(a *hclsyntax.Attribute) {
		switch a.Name {
		case "observe":
			w.observe = d.steps(a)
		case "warn":
			w.warn = d.steps(a)
		case "enforce":
			w.enforce = d.steps(a)
		case attrEverybody:
			everybody = d.flag(a)
		default:
			d.condition(&w.cond, a)
		}
	})
	for _, inner := range b.Body.Blocks {
		if inner.Type != "brownout" {
			d.fault(inner.TypeRange, "Unknown block", "A rollout has no block %q.%s", inner.Type, suggest(inner.Type, []string{"brownout"}))
			continue
		}
		d.brownout(w, inner)
	}
	switch {
	case everybody && !w.cond.empty():
		d.fault(b.DefRange(), "Everybody and somebody", "A rollout with everybody = true is for all; leave the rest out, or leave everybody out.")
	case !everybody && w.cond.empty():
		w.cond.group = []string{w.name}
	}
	if len(d.diags) == before {
		d.rolloutDates(w, b.DefRange())
	}
	s.rollouts = append(s.rollouts, w)
}

// flag reads true or false.
func (d *decoder) flag(a *hclsyntax.Attribute) bool {
	if v, ok := a.Expr.(*hclsyntax.LiteralValueExpr); ok && v.Val.Type().FriendlyName() == "bool" {
		return v.Val.True()
	}
	d.fault(a.Expr.Range(), "Wrong type", "%q takes true or false, without quotes.", a.Name)
	return false
}

// steps reads the dates of a stage: "2027-04-01", or "2027-04-01 25%" for a part of
// the accounts.
func (d *decoder) steps(a *hclsyntax.Attribute) []step {
	var out []step
	for _, t := range d.texts(a) {
		s, ok := d.step(t)
		if !ok {
			continue
		}
		if n := len(out); n > 0 && (!s.from.After(out[n-1].from) || s.percent <= out[n-1].percent) {
			d.fault(t.at, "Dates out of order", "Each further date of %q must be later and for more of the accounts than the one before.", a.Name)
		}
		out = append(out, s)
	}
	if len(out) > maxSteps {
		d.fault(a.Expr.Range(), "Too many dates", "A stage may have %d.", maxSteps)
	}
	return out
}

func (d *decoder) step(t text) (step, bool) {
	date, share, parts := strings.Cut(t.value, " ")
	s := step{written: t.value, percent: cohorts}
	var ok bool
	if s.from, ok = d.moment(text{date, t.at}); !ok {
		return s, false
	}
	if parts {
		if s.percent, ok = d.percent(text{share, t.at}); !ok {
			return s, false
		}
	}
	return s, true
}

// moment reads a day, which begins at its first moment in UTC, or a moment.
func (d *decoder) moment(t text) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, t.value); err == nil {
			return at.UTC(), true
		}
	}
	d.fault(t.at, "Not a date", "%q is neither a day, \"2027-04-01\", nor a moment, \"2027-04-01T08:00:00Z\"; "+
		"a part of the accounts may follow: \"2027-04-01 25%%\".", t.value)
	return time.Time{}, false
}

func (d *decoder) percent(t text) (uint8, bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(t.value, "%"), 10, 8)
	if err != nil || n == 0 || n > cohorts || !strings.HasSuffix(t.value, "%") {
		d.fault(t.at, "Not a part", "%q is not a part of the accounts such as \"25%%\", of 1%% to 100%%.", t.value)
		return 0, false
	}
	return uint8(n), true
}

// brownout reads the windows from one date on.
func (d *decoder) brownout(w *rollout, b *hclsyntax.Block) {
	d.noBlocks("A brownout", b.Body)
	if len(b.Labels) != 1 {
		d.fault(b.DefRange(), "Wrong number of names", "Write: brownout \"2027-03-01\" { every = \"1h\"  for = \"5m\" }")
		return
	}
	var out brownout
	ok := false
	out.step, ok = d.step(text{b.Labels[0], b.LabelRanges[0]})
	d.attributes("A brownout", b.Body, []string{"every", "for"}, func(a *hclsyntax.Attribute) {
		t, given := d.one(a)
		if !given {
			ok = false
			return
		}
		v, err := time.ParseDuration(t.value)
		if err != nil || v < minWindow || v > maxEvery || v%time.Second != 0 {
			d.fault(t.at, "Not a duration", "%q is not a duration such as \"5m\" or \"1h\", from 1m to 168h.", t.value)
			ok = false
		}
		if a.Name == "every" {
			out.every = v
		} else {
			out.length = v
		}
	})
	d.required(b, "A brownout", map[string]string{"every": "how often it is refused, \"1h\"", "for": "how long each time, \"5m\""})
	switch last := len(w.brownouts) - 1; {
	case !ok || out.every == 0 || out.length == 0:
		return
	case out.length >= out.every:
		d.fault(b.DefRange(), "Brownout without an end", "It is refused for %s every %s, which is always. That is what enforce is for.", brief(out.length), brief(out.every))
	case last >= 0 && !out.from.After(w.brownouts[last].from):
		d.fault(b.DefRange(), "Dates out of order", "Each further brownout must begin later than the one before.")
	case last >= 0 && (out.share() < w.brownouts[last].share() || out.percent < w.brownouts[last].percent):
		d.fault(b.DefRange(), "Brownout that shrinks", "The windows of each further brownout must be as large a part of the time, and of the accounts, as those before, or larger.")
	case last+1 == maxSteps:
		d.fault(b.DefRange(), "Too many brownouts", "A rollout may have %d.", maxSteps)
	}
	w.brownouts = append(w.brownouts, out)
}

// brief writes a duration without what is zero at its end.
func brief(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}

// share is the part of the time that is refused.
func (b brownout) share() float64 { return float64(b.length) / float64(b.every) }

// rolloutDates refuses stages that do not follow each other.
func (d *decoder) rolloutDates(w *rollout, at hcl.Range) {
	var windows []step
	for _, b := range w.brownouts {
		windows = append(windows, b.step)
	}
	var before step
	var of string
	for _, stage := range []struct {
		name  string
		steps []step
	}{{"observe", w.observe}, {"warn", w.warn}, {"brownout", windows}, {"enforce", w.enforce}} {
		if len(stage.steps) == 0 {
			continue
		}
		if first := stage.steps[0]; of != "" && !first.from.After(before.from) {
			d.fault(at, "Dates out of order", "In rollout %q, %s begins with %s and %s before it with %s: each stage must begin later than the one before.",
				w.name, stage.name, first.written, of, before.written)
		}
		before, of = stage.steps[0], stage.name
	}
	if of == "" {
		d.fault(at, "Rollout without a date", "Say when it is observed, warned of and enforced: observe = \"2027-01-11\", and so on.")
	}
}

// resolveRollouts checks what a rollout may be about.
func (d *decoder) resolveRollouts() {
	for _, q := range d.requires {
		if len(q.rollouts) == 0 {
			continue
		}
		if q.settles() {
			d.fault(q.at, "Known too late", "Require %q demands something of connections, of which it cannot be said beforehand whom it would hit. "+
				"Leave the rollout out, and widen its when step by step.", q.name)
		}
		for _, w := range q.rollouts {
			if longest := w.setTexts(q.noticeText(), d.opts.Hostname); longest > maxReply {
				d.fault(q.at, "Bad notice", "With its variables filled in, the notice of require %q has up to %d bytes; a client can be told %d.", q.name, longest, maxReply)
			}
			if w.cond.phase() == session.PhaseVerified {
				d.fault(q.at, "Known too late", "Rollout %q of require %q looks at what is known after the proof only.", w.name, q.name)
			}
			if w.cond.user != nil && !w.cond.aboutPlace() {
				d.fault(q.at, "Rollout that tells names apart",
					"Rollout %q of require %q is for some users by name and everywhere: whoever asks for %q anywhere is answered otherwise than for a name that does not exist. "+
						"Add from or listener, or make it for a group.", w.name, q.name, w.cond.user[0])
			}
		}
	}
}

// lintRollouts warns of rollouts that are over, or never will be.
func (p *Policy) lintRollouts(now time.Time, warn func(line int, format string, args ...any)) {
	for _, q := range p.requires {
		if q.part > 0 {
			continue
		}
		for _, w := range q.rollouts {
			switch stage, _ := w.stage(now, cohorts-1); {
			case stage == session.StageEnforce:
				warn(w.line, "rollout %q of require %q is over, and the requirement in force for all whom it is for; it can be removed", w.name, q.name)
			case len(w.enforce) == 0:
				warn(w.line, "rollout %q of require %q is never enforced: it has no date for that", w.name, q.name)
			case w.enforce[len(w.enforce)-1].percent < cohorts:
				warn(w.line, "rollout %q of require %q is never enforced for everybody: its last date is for %d%%", w.name, q.name, w.enforce[len(w.enforce)-1].percent)
			}
			if q.aboutChannel() && w.aboutUser() && !w.cond.aboutPlace() {
				warn(w.line, "rollout %q of require %q is for some accounts and everywhere: whether a password is asked for in clear depends on who is named, "+
					"on all networks; names that do not exist are answered as some account would be; add from or listener to narrow it", w.name, q.name)
			}
		}
	}
}

// text says the rollout's stage at a time, for explanations.
func (w *rollout) text(stage session.Stage, until time.Time, cohort uint8) string {
	out := fmt.Sprintf("rollout %q: ", w.name)
	switch stage {
	case stageOff:
		out += "not begun"
	case session.StageBrownout:
		out += "brownout until " + until.UTC().Format("15:04 UTC")
	default:
		out += string(stage)
	}
	if end := w.ends(cohort); end != "" && stage != session.StageEnforce {
		out += ", enforced from " + end
	}
	return out
}
