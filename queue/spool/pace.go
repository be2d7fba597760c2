package spool

import "time"

const (
	// maxGap is how long a write waits for a change that is expected.
	maxGap = 700 * time.Microsecond
	// paceFrom is how many must have come together before any is waited for: with
	// fewer, waiting costs them more than the sync that it saves.
	paceFrom = 4
	// maxTarget bounds how many are waited for.
	maxTarget = 128
)

// pace learns how many changes come together, so that many clients share a sync and
// a single one never waits. On a quick disk a sync is over before the next change
// arrives; without a pace each would get a sync of its own.
type pace struct {
	target int // how many are waited for; less than paceFrom is none
}

// learn takes the size of a group. One that reached the target raises it by one, and one
// that did not lowers it by one: clients that open a connection for each message come in
// waves, and the lull between two must not make the next begin anew. A single client that
// is left over pays for that with as many short waits as there were others.
func (p *pace) learn(got int) {
	switch {
	case got < p.target:
		p.target--
	case got >= paceFrom:
		p.target = min(got+1, maxTarget)
	}
	if p.target < paceFrom {
		p.target = 0
	}
}
