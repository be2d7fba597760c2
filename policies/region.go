package policies

import (
	"time"

	"gateway/policies/box"
	"gateway/session"
)

// A ruling is what a policy decides in a space, as regions of it.
type ruling struct {
	*space
	policy *Policy
	phase  session.Phase
	// without leaves the exempts out: what would be decided if there were none.
	without bool
	// only is the points that matter; nil is all. What is said of others may be anything.
	only box.Region
}

// mattering is what of a region matters.
func (r *ruling) mattering(of box.Region) (box.Region, error) {
	if r.only == nil {
		return of, nil
	}
	return r.Intersect(of, r.only)
}

// notMet is the points at which a requirement applies, does not hold and is not exempted.
func (r *ruling) notMet(q *statement) (box.Region, error) {
	if q.late && r.phase == session.PhaseNamed {
		return nil, nil
	}
	out, err := r.matching(q.when, true, r.phase)
	if err == nil {
		out, err = r.mattering(out)
	}
	if err != nil {
		return nil, err
	}
	met, err := r.matching(&q.cond, false, r.phase)
	if err != nil {
		return nil, err
	}
	if out, err = r.Subtract(out, met); err != nil || r.without {
		return out, err
	}
	for _, e := range q.exempts {
		waived, err := r.matching(&e.cond, false, r.phase)
		if err != nil {
			return nil, err
		}
		if waived, err = r.Intersect(waived, r.before(e.until)); err != nil {
			return nil, err
		}
		if out, err = r.Subtract(out, waived); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// reaching is the points of notMet at which the requirement has come as far as a stage for
// every rollout that matches. In the epoch of a brownout the stage is that, windows or not.
func (r *ruling) reaching(q *statement, stage session.Stage) (box.Region, error) {
	out, err := r.notMet(q)
	if err != nil {
		return nil, err
	}
	for _, w := range q.rollouts {
		whom, err := r.matching(&w.cond, false, r.phase)
		if err != nil {
			return nil, err
		}
		if whom, err = r.Intersect(whom, r.below(w, stage)); err != nil {
			return nil, err
		}
		if out, err = r.Subtract(out, whom); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// below is the times and cohorts at which a rollout has not come as far as a stage.
func (r *ruling) below(w *rollout, stage session.Stage) box.Region {
	var out box.Region
	for i, begin := range r.epochs {
		var those []int
		for c, percent := range r.percents {
			if rank(w.reachedStage(begin, percent)) < rank(stage) {
				those = append(those, c)
			}
		}
		out = append(out, r.must(r.Where(r.epoch, i), r.Where(r.cohort, those...))...)
	}
	return r.Merge(out)
}

// reachedStage is how far the rollout has come, whether it is in a window of a brownout or
// between two.
func (w *rollout) reachedStage(now time.Time, cohort uint8) session.Stage {
	stage, _ := w.stage(now, cohort)
	if stage != session.StageWarn {
		return stage
	}
	for _, b := range w.brownouts {
		if b.reached(now, cohort) {
			return session.StageBrownout
		}
	}
	return stage
}

// insecure is the points at which a requirement that does not hold fails by the channel.
func (r *ruling) insecure(q *statement) box.Region {
	out := r.through(func(d door) bool { return !q.cond.sets[dimChannel].admits(int(d.channel)) })
	for d := dimChannel + 1; d <= dimGroup; d++ {
		if d.aboutChannel() && q.cond.sets[d] != 0 {
			out = append(out, r.WhereNot(r.dims[d], q.cond.sets[d].members(d)...)...)
		}
	}
	return out
}

// silenced is the points at which the channel is refused by a requirement: before the
// credential, whoever it is.
func (r *ruling) silenced(q *statement, stage session.Stage) (box.Region, error) {
	about := r.insecure(q)
	if len(about) == 0 {
		return nil, nil
	}
	out, err := r.reaching(q, stage)
	if err != nil {
		return nil, err
	}
	return r.Intersect(out, about)
}

// unopened is the points at which a clear channel is refused because no allow lets anybody
// in over it, but some would over TLS (Policy.clear).
func (r *ruling) unopened() (box.Region, error) {
	over := func(kind session.ChannelKind) (box.Region, error) {
		var out box.Region
		for _, a := range r.policy.allows {
			if !a.cond.sets[dimChannel].admits(int(kind)) {
				continue
			}
			anyChannel := a.cond
			anyChannel.sets[dimChannel] = 0
			some, err := r.matching(&anyChannel, false, session.PhaseConnect)
			if err != nil {
				return nil, err
			}
			out = append(out, r.Project(some, r.beyondPeer()...)...)
		}
		return out, nil
	}
	closed, err := over(session.TLS)
	if err != nil {
		return nil, err
	}
	open, err := over(session.Plain)
	if err != nil {
		return nil, err
	}
	if closed, err = r.Subtract(closed, open); err != nil {
		return nil, err
	}
	return r.Intersect(closed, r.overPlain())
}

// asked is the points of a region at which the peer is asked for its credential, for at
// the phase "named" the channel is not refused for good.
func (r *ruling) asked(of box.Region) (box.Region, error) {
	none, err := r.unopened()
	if err != nil {
		return nil, err
	}
	if of, err = r.Subtract(of, none); err != nil {
		return nil, err
	}
	for _, q := range r.policy.requires {
		refused, err := r.silenced(q, session.StageEnforce)
		if err != nil {
			return nil, err
		}
		if of, err = r.Subtract(of, refused); err != nil {
			return nil, err
		}
	}
	return of, nil
}

// allowed is the points that some allow matches.
func (r *ruling) allowed() (box.Region, error) {
	var out box.Region
	for _, a := range r.policy.allows {
		some, err := r.matching(&a.cond, false, r.phase)
		if err == nil {
			some, err = r.mattering(some)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return r.Merge(out), nil
}

// refusedFrom is the points that some requirement refuses, or would if it had not only
// come as far as a stage.
func (r *ruling) refusedFrom(stage session.Stage) (box.Region, error) {
	var out box.Region
	for _, q := range r.policy.requires {
		some, err := r.reaching(q, stage)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
		if len(out) > maxProofBoxes {
			return nil, box.ErrBudget
		}
	}
	return out, nil
}
