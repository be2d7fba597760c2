package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/internal/sheet"
)

func (c *cli) reportExemptions() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use: "exemptions", Short: "Show the exempts and devices of the rules, until when they hold, and which are needed",
		Long: `Show the exempts and devices of the policy file.

  STATE   used; unused: no login in that time needed it, so it may go; ending: needed, and
          over in 30 days; ended
  LOGINS  logins granted that would not be without it, by the rules of now; with --group,
          those of its accounts
  END     the last day on which it holds

The owner of one that ends is reminded by mail 30, 14 and 3 days before, if it is a mail
address.`,
		Example: `  gateway report exemptions
  gateway report exemptions --since 90d --json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.report(cmd, f, exemptionReport) },
	}
	f.add(cmd, "30d")
	return cmd
}

func exemptionReport(r reporting) (made, error) {
	policy, err := r.policy()
	if err != nil {
		return made{}, err
	}
	who, err := r.concerned()
	if err != nil {
		return made{}, err
	}
	reader, err := r.record()
	if err != nil {
		return made{}, err
	}
	report, err := admin.Exemptions(r.ctx, reader, policy, who, r.since, r.until)
	return made{data: report, sheet: exemptionSheet(report), unread: report.Unread}, err
}

func exemptionSheet(r admin.ExemptionReport) sheet.Sheet {
	s := sheet.Sheet{
		Title: "Exemptions", None: "The policy has no exempts and no devices.",
		Columns: []sheet.Column{
			{Name: "From"}, {Name: "Name"}, {Name: "State"}, {Name: "Logins", Kind: sheet.Number}, {Name: "Last seen", Kind: sheet.Word},
			{Name: "End", Kind: sheet.Word}, {Name: "Owner"}, {Name: "Scope"}, {Name: "Because"},
		},
	}
	for _, row := range r.Rows {
		from := "device"
		if row.Requirement != "" {
			from = row.Requirement
		}
		s.Rows = append(s.Rows, []string{from, row.Name, row.State, fmt.Sprint(row.Logins), stamp(row.LastSeen), row.LastDay, row.Owner, row.Scope, row.Because})
	}
	return s
}
