package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/auth"
	"gateway/internal/sheet"
)

func (c *cli) reportExposed() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use: "exposed", Short: "Show the passwords that crossed the network in clear",
		Long: `Show the passwords that crossed the network in clear, and that their accounts still have:
whoever listened knows them. A new password ends it (gateway user passwd), and so does a key
that the account is given. Passwords that were sent in clear although they were refused
are among them, once it was found out that they are right.

With --since those of which it is known that they did so since then.

  COUNT  how often
  KEYS   how many keys the account has, which do not cross the network`,
		Example: "  gateway report exposed\n  gateway report exposed --json",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.report(cmd, f, exposedReport) },
	}
	f.add(cmd, "")
	return cmd
}

func exposedReport(r reporting) (made, error) {
	who, err := r.concerned()
	if err != nil {
		return made{}, err
	}
	list, err := ask[[]auth.Exposure](r.ctx, r.cli, "exposed.list", admin.Nothing{})
	list = slices.DeleteFunc(list, func(e auth.Exposure) bool { return e.Last.Before(r.since) || who != nil && !who(e.User) })
	return made{data: list, sheet: exposedSheet(list)}, err
}

func exposedSheet(list []auth.Exposure) sheet.Sheet {
	s := sheet.Sheet{
		Title: "Exposed passwords", None: "No password that is in use is known to have crossed in clear.",
		Columns: []sheet.Column{
			{Name: "User"}, {Name: "First", Kind: sheet.Word}, {Name: "Last", Kind: sheet.Word}, {Name: "Count", Kind: sheet.Number}, {Name: "Last from"},
			{Name: "Keys", Kind: sheet.Number},
		},
	}
	for _, e := range list {
		s.Rows = append(s.Rows, []string{e.User, stamp(e.First), stamp(e.Last), fmt.Sprint(e.Count), e.From, fmt.Sprint(e.Keys)})
	}
	return s
}
