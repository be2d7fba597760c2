package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gateway/policies"
)

func (c *cli) policyDiff() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "diff OLD NEW", Short: "Say which logins two policy files decide otherwise, of all that there can be",
		Long: `Say which logins two policy files decide otherwise: not how their texts differ, but what
that means, for all logins that there can be from now on. Each line describes some of them
by what they have in common; what it does not say makes no difference.

  allowed           let in
  warned            let in, and told that it will not be for long
  refused at times  in the windows of a brownout
  refused

Whom of those who really log in it hits is said by: gateway policy replay NEW`,
		Example: "  gateway policy diff policy.hcl new-policy.hcl\n  gateway policy diff policy.hcl new-policy.hcl --at 2027-07-01 --json",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := parseAt(at)
			if err != nil {
				return err
			}
			if from.IsZero() {
				from = time.Now().UTC()
			}
			cfg, err := c.loadConfig()
			if err != nil {
				return err
			}
			var both [2]*policies.Policy
			for i, file := range args {
				if both[i], err = policies.Load(file, rules{cfg}.options()); err != nil {
					return err
				}
			}
			slow := time.AfterFunc(2*time.Second, func() {
				fmt.Fprintln(cmd.ErrOrStderr(), "comparing; with hundreds of statements that are about groups it takes some 20 s")
			})
			out, err := both[0].Compare(both[1], from)
			slow.Stop()
			if err != nil {
				return err
			}
			return c.print(out, func(w io.Writer) { showComparison(w, out) })
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "logins from that `TIME` on: 2027-07-01 or 2027-07-01T08:00:00Z (default: now)")
	return cmd
}

func showComparison(w io.Writer, r policies.Comparison) {
	if len(r.Logins) == 0 {
		fmt.Fprintln(w, "No login is decided otherwise.")
	}
	heading := ""
	for _, d := range r.Logins {
		if h := d.Before + " -> " + d.After; h != heading {
			heading = h
			fmt.Fprintf(w, "%s:\n", heading)
		}
		fmt.Fprintf(w, "  %s\n      by %s\n", d.Logins, d.Rule)
	}
	if len(r.Others) > 0 {
		fmt.Fprintln(w, "\nWhat holds for sessions and devices may differ too:")
		for _, o := range r.Others {
			fmt.Fprintf(w, "  %s\n", o)
		}
	}
}
