package admin

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"gateway/audit"
	"gateway/policies"
	"gateway/session"
)

// DeviceReport says which devices the rules have, and what they did in a time.
type DeviceReport struct {
	Since time.Time   `json:"since"`
	Until time.Time   `json:"until"`
	Rows  []DeviceRow `json:"rows"` // by name
	// Unread is how many lines of the record could not be read. The report lacks them.
	Unread int `json:"unread,omitempty"`
}

// DeviceRow is one device.
type DeviceRow struct {
	policies.DeviceInfo
	Logins   int64     `json:"logins"`  // granted, that needed what is waived
	Refused  int64     `json:"refused"` // after its end, or in the stage enforce
	LastSeen time.Time `json:"last_seen,omitzero"`
}

// State is the one thing to know of a device.
func (r DeviceRow) State() string {
	switch {
	case r.Stage == session.StageEnforce && r.Refused > 0:
		return "refused"
	case r.Stage == session.StageEnforce:
		return "ended"
	case r.Logins == 0:
		return "unused"
	case r.Stage == session.StageWarn:
		return "ending"
	default:
		return "used"
	}
}

// Devices reads the record for a DeviceReport about the devices in list.
func Devices(ctx context.Context, r *audit.Reader, list []policies.DeviceInfo, since, until time.Time) (DeviceReport, error) {
	out, err := deviceReport(r.Query(ctx, audit.Filter{Event: session.EventLogin, Since: since, Until: until}), list)
	out.Since, out.Until = since, until
	return out, err
}

func deviceReport(events iter.Seq2[audit.Record, error], list []policies.DeviceInfo) (DeviceReport, error) {
	out := DeviceReport{Rows: make([]DeviceRow, len(list))}
	byName := make(map[string]*DeviceRow)
	for i, d := range list {
		out.Rows[i].DeviceInfo = d
		byName[d.Name] = &out.Rows[i]
	}
	for rec, err := range events {
		if err != nil {
			if !errors.As(err, new(*audit.LineError)) {
				return DeviceReport{}, err
			}
			out.Unread++
			continue
		}
		row := byName[deviceOf(rec.Event.Rule)]
		if row == nil {
			continue
		}
		switch rec.Event.Outcome {
		case session.OutcomeGranted:
			row.Logins++
		case session.OutcomeRefused:
			row.Refused++
		}
		row.LastSeen = later(row.LastSeen, rec.Event.Time)
	}
	return out, nil
}

// deviceOf is the name of the device that a rule of the record names, wherever its
// statement stood then.
func deviceOf(rule string) string {
	rest, ok := strings.CutPrefix(rule, `device "`)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, `"`)
	return name
}
