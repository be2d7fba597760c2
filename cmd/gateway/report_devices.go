package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gateway/admin"
)

func (c *cli) reportDevices() *cobra.Command {
	var since string
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
			return c.overRecord(cmd, since, func(r reporting) (int, error) {
				policy, err := r.policy()
				if err != nil {
					return 0, err
				}
				report, err := admin.Devices(r.ctx, r.reader, policy.Devices(r.until), r.since, r.until)
				if err != nil {
					return 0, err
				}
				return report.Unread, c.print(report, func(w io.Writer) { showDevices(w, report) })
			})
		},
	}
	sinceFlag(cmd, &since, "30d")
	return cmd
}

func showDevices(w io.Writer, r admin.DeviceReport) {
	if len(r.Rows) == 0 {
		fmt.Fprintln(w, "The policy has no devices.")
		return
	}
	var rows [][]string
	for _, row := range r.Rows {
		seen := "-"
		if !row.LastSeen.IsZero() {
			seen = row.LastSeen.UTC().Format(minute)
		}
		rows = append(rows, []string{row.Name, row.State(), strings.Join(row.Allow, ","), strings.Join(row.From, ","),
			fmt.Sprint(row.Logins), fmt.Sprint(row.Refused), seen, row.LastDay, row.Owner})
	}
	table(w, []string{"DEVICE", "STATE", "WAIVED", "FROM", "LOGINS", "REFUSED", "LAST SEEN", "END", "OWNER"}, rows)
}
