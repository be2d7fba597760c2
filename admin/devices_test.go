package admin

import (
	"testing"
	"time"

	"gateway/policies"
	"gateway/session"
)

func TestDeviceReport(t *testing.T) {
	t.Parallel()
	s := &story{first: 100}
	login := func(rule, outcome string) {
		s.add(session.Event{Event: session.EventLogin, Rule: rule, Outcome: outcome})
	}
	login(`device "mfp" (policy.hcl:3)`, session.OutcomeGranted)
	login(`device "mfp" (old.hcl:9)`, session.OutcomeGranted)
	login(`device "late" (policy.hcl:9)`, session.OutcomeGranted)
	login(`device "gone" (policy.hcl:30)`, session.OutcomeRefused)
	login(`device "removed" (policy.hcl:30)`, session.OutcomeGranted)
	login(`allow "mfp" (policy.hcl:3)`, session.OutcomeGranted)
	var list []policies.DeviceInfo
	for _, d := range []struct {
		name  string
		stage session.Stage
	}{
		{"gone", session.StageEnforce}, {"late", session.StageWarn}, {"mfp", session.StageObserve}, {"off", session.StageEnforce}, {"spare", session.StageWarn},
	} {
		list = append(list, policies.DeviceInfo{Name: d.name, Stage: d.stage})
	}
	r, err := deviceReport(s.read(), list)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		logins, refused int64
		seen            time.Time
		state           string
	}{
		{0, 1, s.events[3].Time, "refused"}, {1, 0, s.events[2].Time, "ending"}, {2, 0, s.events[1].Time, "used"},
		{0, 0, time.Time{}, "ended"}, {0, 0, time.Time{}, "unused"},
	} {
		if row := r.Rows[i]; row.Logins != want.logins || row.Refused != want.refused || !row.LastSeen.Equal(want.seen) || row.State() != want.state {
			t.Errorf("%s: got %+v %s, want %+v", row.Name, row, row.State(), want)
		}
	}
}
