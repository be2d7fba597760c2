package policies

import (
	"slices"
	"strings"
	"time"

	"gateway/session"
)

const kindRollout = "rollout"

// stageOff is that of a rollout that has not begun: the requirement is not yet
// there.
const stageOff session.Stage = ""

// A rollout puts a requirement in force in steps, for those whom it matches. Of
// several that match, the one that has come least far counts; for whom none
// matches, the requirement is in force.
type rollout struct {
	name string
	line int
	cond condition

	observe, warn, enforce []step
	brownouts              []brownout

	notices [][]string // by step of enforce, and one more; by session.Client
}

// A step is when a part of the accounts reaches a stage: those whose cohort is
// below percent.
type step struct {
	from    time.Time
	written string
	percent uint8
}

// A brownout refuses for a while, again and again: for the time length, every so
// often, from a moment on.
type brownout struct {
	step
	every, length time.Duration
}

// cohorts is how many there are: session.Request.Cohort is below.
const cohorts = session.Cohorts

func (s step) reached(now time.Time, cohort uint8) bool {
	return cohort < s.percent && !now.Before(s.from)
}

func reached(steps []step, now time.Time, cohort uint8) bool {
	for _, s := range steps {
		if s.reached(now, cohort) {
			return true
		}
	}
	return false
}

// stage is how far the rollout has come for a cohort. until is when the window of a
// brownout ends; between windows the stage is StageWarn. Of a time that is not known,
// nothing is let pass.
func (w *rollout) stage(now time.Time, cohort uint8) (stage session.Stage, until time.Time) {
	if now.IsZero() || reached(w.enforce, now, cohort) {
		return session.StageEnforce, time.Time{}
	}
	for i := len(w.brownouts) - 1; i >= 0; i-- {
		b := &w.brownouts[i]
		if !b.reached(now, cohort) {
			continue
		}
		if into := now.Sub(b.from) % b.every; into < b.length {
			return session.StageBrownout, now.Add(b.length - into)
		}
		return session.StageWarn, time.Time{}
	}
	switch {
	case reached(w.warn, now, cohort):
		return session.StageWarn, time.Time{}
	case reached(w.observe, now, cohort):
		return session.StageObserve, time.Time{}
	default:
		return stageOff, time.Time{}
	}
}

// notice is what a client is told in StageWarn.
func (w *rollout) notice(r *session.Request) string {
	cohort := cohortOf(r)
	for i, s := range w.enforce {
		if cohort < s.percent {
			return w.notices[i][r.Client]
		}
	}
	return w.notices[len(w.enforce)][r.Client]
}

// cohortOf is that of the name; of a question about anybody, the one that is
// reached last.
func cohortOf(r *session.Request) uint8 {
	if r.User == "" {
		return cohorts - 1
	}
	return r.Cohort
}

// ranks orders the stages, the laxest first.
func rank(s session.Stage) int {
	return slices.Index([]session.Stage{stageOff, session.StageObserve, session.StageWarn, session.StageBrownout, session.StageEnforce}, s)
}

// A standing is how far a requirement is in force for a request, and by which
// rollout it is not more so.
type standing struct {
	stage session.Stage
	until time.Time
	by    *rollout
}

// refuses reports whether a requirement that stands so is in force at this moment.
func (s standing) refuses() bool {
	return s.stage == session.StageEnforce || s.stage == session.StageBrownout
}

// standing finds how far the requirement is in force for r.
func (s *statement) standing(matched *bits, r *session.Request) standing {
	out := standing{stage: session.StageEnforce}
	for _, w := range s.rollouts {
		if !matched.has(w.cond.id) {
			continue
		}
		if stage, until := w.stage(r.Time, cohortOf(r)); out.by == nil || rank(stage) < rank(out.stage) {
			out = standing{stage, until, w}
		}
	}
	return out
}

// note adds to a verdict that the requirement would have refused, where it is let
// pass.
func (s standing) note(v *session.Verdict, q *statement, r *session.Request) {
	switch {
	case s.stage == stageOff:
		return
	case v.WouldRefuse == nil:
		v.WouldRefuse = q.observed
	case !slices.Contains(v.WouldRefuse, q.rule):
		v.WouldRefuse = append(slices.Clip(v.WouldRefuse), q.rule)
	}
	if s.stage == session.StageWarn && v.Notice == "" {
		v.Notice = s.by.notice(r)
	}
}

// dates lists every moment at which the rollout changes, windows apart.
func (w *rollout) dates() []step {
	out := slices.Concat(w.observe, w.warn, w.enforce)
	for _, b := range w.brownouts {
		out = append(out, b.step)
	}
	return out
}

// ends is when the rollout has come to its end for a cohort, as it is written; empty
// if never.
func (w *rollout) ends(cohort uint8) string {
	for _, s := range w.enforce {
		if cohort < s.percent {
			return s.written
		}
	}
	return ""
}

// setTexts fills in what the clients are told, so that deciding needs to build no
// text. text is the notice of the requirement. It returns the length of the longest.
func (w *rollout) setTexts(text, hostname string) (longest int) {
	for i := range len(w.enforce) + 1 {
		date := "a day to come"
		if i < len(w.enforce) {
			date = w.enforce[i].from.Format(time.DateOnly)
		}
		var line []string
		for c := range session.Clients {
			filled := strings.NewReplacer("{hostname}", hostname, "{date}", date, "{instead}", instead(c, hostname)).Replace(text)
			line, longest = append(line, filled), max(longest, len(filled))
		}
		w.notices = append(w.notices, line)
	}
	return longest
}

// peerOnly reports whether all that the rollout looks at is known of the peer alone.
func (w *rollout) peerOnly() bool {
	return w.cond.peerOnly() && !slices.ContainsFunc(w.dates(), func(s step) bool { return s.percent < cohorts })
}

// aboutUser reports whether the rollout tells users apart.
func (w *rollout) aboutUser() bool {
	return w.cond.aboutUser() || slices.ContainsFunc(w.dates(), func(s step) bool { return s.percent < cohorts })
}
