package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/internal/sheet"
)

func (c *cli) reportDevices() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use: "devices", Short: "Show the devices of the rules, until when they are let in, and whether they still come",
		Long: `Show the devices of the policy file, by name.

  STATE    used; unused: not seen in that time, so it may go; ending: its owner is told;
           ended; refused: it ended, and still comes
  LOGINS   logins granted that needed what is waived
  REFUSED  refused, since it ended
  END      the last day on which it is let in`,
		Example: `  gateway report devices
  gateway report devices --since 90d --json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.report(cmd, f, deviceReport)
		},
	}
	f.addForms(cmd, "30d")
	return cmd
}

func deviceReport(r reporting) (made, error) {
	policy, err := r.policy()
	if err != nil {
		return made{}, err
	}
	reader, err := r.record()
	if err != nil {
		return made{}, err
	}
	report, err := admin.Devices(r.ctx, reader, policy.Devices(r.until), r.since, r.until)
	return made{data: report, sheet: deviceSheet(report), unread: report.Unread}, err
}

func deviceSheet(r admin.DeviceReport) sheet.Sheet {
	s := sheet.Sheet{
		Title: "Devices", None: "The policy has no devices.",
		Columns: []sheet.Column{
			{Name: "Device"}, {Name: "State"}, {Name: "Waived"}, {Name: "From"}, {Name: "Logins", Kind: sheet.Number}, {Name: "Refused", Kind: sheet.Number},
			{Name: "Last seen", Kind: sheet.Word}, {Name: "End", Kind: sheet.Word}, {Name: "Owner"},
		},
	}
	for _, row := range r.Rows {
		s.Rows = append(s.Rows, []string{row.Name, row.State(), strings.Join(row.Allow, ","), strings.Join(row.From, ","),
			fmt.Sprint(row.Logins), fmt.Sprint(row.Refused), stamp(row.LastSeen), row.LastDay, row.Owner})
	}
	return s
}
