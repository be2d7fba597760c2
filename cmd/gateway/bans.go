package main

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/audit"
	"gateway/limits"
)

func (c *cli) bansCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the banned sources, and why each is", Example: "  gateway bans list", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			bans, err := ask[[]limits.Ban](cmd.Context(), c, "bans.list", admin.Nothing{})
			if err != nil {
				return err
			}
			return c.print(bans, func(w io.Writer) {
				if len(bans) == 0 {
					fmt.Fprintln(w, "Nobody is banned.")
				}
				for _, b := range bans {
					fmt.Fprintln(w, banText(b))
				}
			})
		},
	}
	var length time.Duration
	var reason string
	add := &cobra.Command{
		Use: "add NETWORK", Short: "Ban a network", Example: "  gateway bans add 198.51.100.0/24 --for 24h --reason 'scans'", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			network, err := parseBan(args[0])
			if err != nil {
				return err
			}
			if length < 0 {
				return usage("--for is %v; want more than nothing, or leave it out to ban until it is removed", length)
			}
			ban := admin.Ban{Network: network, For: length, Reason: reason}
			if _, err := ask[admin.Nothing](cmd.Context(), c, "bans.add", ban); err != nil {
				return err
			}
			out := banned{Network: network, For: "until it is removed", Reason: reason}
			if length > 0 {
				out.For = length.String()
			}
			return c.print(out, func(w io.Writer) { fmt.Fprintf(w, "banned %s, %s\n", network, forText(length)) })
		},
	}
	add.Flags().DurationVar(&length, "for", 0, "how long, such as 12h (default: until it is removed)")
	add.Flags().StringVar(&reason, "reason", "", "why, for 'bans list' and the record")
	remove := &cobra.Command{
		Use: "remove NETWORK", Short: "Lift a ban", Example: "  gateway bans remove 198.51.100.0/24", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			network, err := parseBan(args[0])
			if err != nil {
				return err
			}
			if _, err := ask[admin.Nothing](cmd.Context(), c, "bans.remove", admin.Ban{Network: network}); err != nil {
				return err
			}
			return c.print(unbanned{Network: network}, func(w io.Writer) { fmt.Fprintf(w, "lifted the ban of %s\n", network) })
		},
	}
	return group("bans", "Sources that are not let in for a while", "  gateway bans list", list, add, remove)
}

// banned and unbanned are what add and remove did.
type banned struct {
	Network netip.Prefix `json:"network"`
	For     string       `json:"for"`
	Reason  string       `json:"reason"`
}

type unbanned struct {
	Network netip.Prefix `json:"network"`
}

func forText(d time.Duration) string {
	if d == 0 {
		return "until it is removed"
	}
	return "for " + d.String()
}

// banText explains a ban in one line: what, until when, by whom and why.
func banText(b limits.Ban) string {
	until := "until it is removed"
	if !b.Until.IsZero() {
		until = "until " + b.Until.Local().Format(time.DateTime)
	}
	by := "earned"
	if b.Manual {
		by = "by hand"
	}
	text := fmt.Sprintf("%s  since %s, %s, %s", b.Source, b.Since.Local().Format(time.DateTime), until, by)
	if b.Reason != "" {
		text += ": " + visible(b.Reason)
	}
	return text
}

func parseBan(s string) (netip.Prefix, error) {
	network, err := audit.ParseNetwork(s)
	if err != nil {
		return netip.Prefix{}, usage("%v", err)
	}
	return network, nil
}
