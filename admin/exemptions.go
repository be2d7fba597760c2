package admin

import (
	"context"
	"errors"
	"iter"
	"time"

	"gateway/audit"
	"gateway/auth"
	"gateway/policies"
	"gateway/session"
)

// endsSoon is how long before its end an exemption counts as ending.
const endsSoon = 30 * 24 * time.Hour

// ExemptionReport says which exempts and devices the rules have, and which were needed
// in a time.
type ExemptionReport struct {
	Since time.Time      `json:"since"`
	Until time.Time      `json:"until"`
	Rows  []ExemptionRow `json:"rows"`
	// Unread is how many lines of the record could not be read. The report lacks them.
	Unread int `json:"unread,omitempty"`
}

// ExemptionRow is one exempt or device.
type ExemptionRow struct {
	policies.Exemption
	State    string    `json:"state"` // used, unused, ending or ended
	Logins   int64     `json:"logins"`
	LastSeen time.Time `json:"last_seen,omitzero"`
}

// Exemptions reads the record for an ExemptionReport. A login counts for every
// exemption of p that it would need now; only those of who is concerned do.
func Exemptions(ctx context.Context, r *audit.Reader, p *policies.Policy, who Concerned, since, until time.Time) (ExemptionReport, error) {
	filter := audit.Filter{Event: session.EventLogin, Outcome: session.OutcomeGranted, Since: since, Until: until}
	out, err := exemptionReport(r.Query(ctx, filter), p, who, until)
	out.Since, out.Until = since, until
	return out, err
}

func exemptionReport(events iter.Seq2[audit.Record, error], p *policies.Policy, who Concerned, now time.Time) (ExemptionReport, error) {
	var out ExemptionReport
	byRule := make(map[string]int)
	for i, e := range p.Exemptions() {
		out.Rows = append(out.Rows, ExemptionRow{Exemption: e})
		byRule[e.Rule] = i
	}
	for rec, err := range events {
		if err != nil {
			if !errors.As(err, new(*audit.LineError)) {
				return ExemptionReport{}, err
			}
			out.Unread++
			continue
		}
		if rec.Event.Facts == nil || rec.Event.Outcome != session.OutcomeGranted || !who.about(rec.Event.User) {
			continue
		}
		for _, rule := range p.Waived(*rec.Event.Facts) {
			row := &out.Rows[byRule[rule]]
			row.Logins++
			row.LastSeen = later(row.LastSeen, rec.Event.Time)
		}
	}
	for i := range out.Rows {
		out.Rows[i].State = out.Rows[i].state(now)
	}
	return out, nil
}

func (r ExemptionRow) state(now time.Time) string {
	switch {
	case !now.Before(r.Expires):
		return "ended"
	case r.Logins == 0:
		return "unused"
	case !now.Add(endsSoon).Before(r.Expires):
		return "ending"
	default:
		return "used"
	}
}

// exposedList lists the passwords that crossed in clear.
func (s *Service) exposedList(ctx context.Context, _ Nothing) ([]auth.Exposure, error) {
	return s.Accounts.Exposures(ctx)
}
