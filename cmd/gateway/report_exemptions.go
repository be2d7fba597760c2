package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/auth"
)

func (c *cli) reportExemptions() *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use: "exemptions", Short: "Show the exempts and devices of the rules, until when they hold, and which are needed",
		Long: `Show the exempts and devices of the policy file.

  STATE   used; unused: no login in that time needed it, so it may go; ending: needed, and
          over in 30 days; ended
  LOGINS  logins granted that would not be without it, by the rules of now
  END     the last day on which it holds

The owner of one that ends is reminded by mail 30, 14 and 3 days before, if it is a mail
address.`,
		Example: `  gateway report exemptions
  gateway report exemptions --since 90d --json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.overRecord(cmd, since, func(r reporting) (int, error) {
				policy, err := r.policy()
				if err != nil {
					return 0, err
				}
				report, err := admin.Exemptions(r.ctx, r.reader, policy, r.since, r.until)
				if err != nil {
					return 0, err
				}
				return report.Unread, c.print(report, func(w io.Writer) { showExemptions(w, report) })
			})
		},
	}
	sinceFlag(cmd, &since, "30d")
	return cmd
}

func showExemptions(w io.Writer, r admin.ExemptionReport) {
	if len(r.Rows) == 0 {
		fmt.Fprintln(w, "The policy has no exempts and no devices.")
		return
	}
	var rows [][]string
	for _, row := range r.Rows {
		from := "device"
		if row.Requirement != "" {
			from = row.Requirement
		}
		rows = append(rows, []string{from, row.Name, row.State, fmt.Sprint(row.Logins), seen(row.LastSeen), row.LastDay, row.Owner, row.Scope, row.Because})
	}
	table(w, []string{"FROM", "NAME", "STATE", "LOGINS", "LAST SEEN", "END", "OWNER", "SCOPE", "BECAUSE"}, rows)
}

// seen is a moment, or a dash for never.
func seen(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(minute)
}

func (c *cli) reportExposed() *cobra.Command {
	return &cobra.Command{
		Use: "exposed", Short: "Show the passwords that crossed the network in clear",
		Long: `Show the passwords that crossed the network in clear, and that their accounts still have:
whoever listened knows them. A new password ends it (gateway user passwd), and so does a key
that the account is given. Passwords that were sent in clear although they were refused
are among them, once it was found out that they are right.

  COUNT  how often
  KEYS   how many keys the account has, which do not cross the network`,
		Example: "  gateway report exposed\n  gateway report exposed --json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask[[]auth.Exposure](cmd.Context(), c, "exposed.list", admin.Nothing{})
			if err != nil {
				return err
			}
			return c.print(list, func(w io.Writer) { showExposed(w, list) })
		},
	}
}

func showExposed(w io.Writer, list []auth.Exposure) {
	if len(list) == 0 {
		fmt.Fprintln(w, "No password that is in use is known to have crossed in clear.")
		return
	}
	var rows [][]string
	for _, e := range list {
		rows = append(rows, []string{e.User, e.First.UTC().Format(minute), e.Last.UTC().Format(minute), fmt.Sprint(e.Count), e.From, fmt.Sprint(e.Keys)})
	}
	table(w, []string{"USER", "FIRST", "LAST", "COUNT", "LAST FROM", "KEYS"}, rows)
}
