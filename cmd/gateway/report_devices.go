package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/audit"
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
			now := time.Now().UTC()
			from, err := audit.ParseSince(since, now)
			if err != nil {
				return usage("%v", err)
			}
			if err := (audit.Filter{Since: from, Until: now}).Validate(); err != nil {
				return usage("%v", err)
			}
			cfg, err := c.loadConfig()
			if err != nil {
				return err
			}
			policy, err := rules{cfg}.Load()
			if err != nil {
				return err
			}
			reader, _, err := c.reading(cmd.Context(), what(cmd), "")
			if err != nil {
				return err
			}
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			report, err := admin.Devices(ctx, reader, policy.Devices(now), from, now)
			if err != nil {
				return err
			}
			err = c.print(report, func(w io.Writer) { showDevices(w, report) })
			if err == nil && report.Unread > 0 {
				return fmt.Errorf("%d lines of the record could not be read; see 'gateway audit verify'", report.Unread)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&since, "since", "30d", "from this `TIME` on: 2026-11-23, 2026-11-23T07:14:02Z, or 90m, 2h, 30d ago")
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
