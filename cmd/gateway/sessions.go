package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/session"
)

func (c *cli) sessionsCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List who is logged in", Example: "  gateway sessions list --json", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			sessions, err := ask[[]session.Info](cmd.Context(), c, "sessions.list", admin.Nothing{})
			if err != nil {
				return err
			}
			return c.print(sessions, func(w io.Writer) {
				if len(sessions) == 0 {
					fmt.Fprintln(w, "Nobody is logged in.")
					return
				}
				var rows [][]string
				for _, s := range sessions {
					rows = append(rows, []string{s.ID, s.User, string(s.Protocol), s.Channel, s.Remote, time.Since(s.Since).Round(time.Second).String(),
						bytesText(s.BytesIn), bytesText(s.BytesOut), s.Client})
				}
				table(w, []string{"ID", "USER", "PROTOCOL", "CHANNEL", "REMOTE", "FOR", "IN", "OUT", "CLIENT"}, rows)
			})
		},
	}
	kill := &cobra.Command{
		Use: "kill ID", Short: "End a session", Example: "  gateway sessions kill 5f2c9a01d3b4e7f8", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := ask[admin.Nothing](cmd.Context(), c, "sessions.kill", admin.ID{ID: args[0]}); err != nil {
				return err
			}
			return c.print(admin.ID{ID: args[0]}, func(w io.Writer) { fmt.Fprintf(w, "ended %s\n", args[0]) })
		},
	}
	return group("sessions", "Who is logged in", "  gateway sessions list", list, kill)
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n)/unit, "KMGTPE"
	for value >= unit && len(suffix) > 1 {
		value, suffix = value/unit, suffix[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, suffix[0])
}
