package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/queue"
)

func (c *cli) queueCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the mail that waits", Example: "  gateway queue list", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			items, err := ask[[]queue.Item](cmd.Context(), c, "queue.list", admin.Nothing{})
			if err != nil {
				return err
			}
			return c.print(items, func(w io.Writer) {
				if len(items) == 0 {
					fmt.Fprintln(w, "The queue is empty.")
					return
				}
				var rows [][]string
				for _, i := range items {
					next := time.Until(i.NextAttempt).Round(time.Second).String()
					if i.Held {
						next = "held"
					}
					rows = append(rows, []string{i.ID, i.Accepted.Local().Format("01-02 15:04"), bytesText(i.Size), "<" + i.From + ">",
						strings.Join(i.To, ","), fmt.Sprint(i.Attempts), next, i.Reply})
				}
				table(w, []string{"ID", "ACCEPTED", "SIZE", "FROM", "TO", "TRIES", "NEXT", "LAST REPLY"}, rows)
			})
		},
	}
	show := &cobra.Command{
		Use: "show ID", Short: "Show a message, its recipients and its header", Example: "  gateway queue show 01J9Z0", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := ask[queue.Detail](cmd.Context(), c, "queue.show", admin.ID{ID: args[0]})
			if err != nil {
				return err
			}
			return c.print(d, func(w io.Writer) { showMessage(w, d) })
		},
	}
	return group("queue", "Mail that was accepted and not yet handed on", "  gateway queue list", list, show,
		c.queueAct("hold", "Keep a message from being delivered", "held"),
		c.queueAct("release", "Let a held message go", "released"),
		c.queueAct("retry", "Try a message now", "will be tried now"),
		c.queueAct("remove", "Forget a message; nobody is told", "removed"))
}

func showMessage(w io.Writer, d queue.Detail) {
	fmt.Fprintf(w, "id        %s\nfrom      <%s>\nuser      %s\nroute     %s\nsize      %s\naccepted  %s\nattempts  %d, next %s\nexpires   %s\n",
		d.ID, d.From, d.User, d.Route, bytesText(d.Size), d.Accepted.Local().Format(time.DateTime), d.Attempts,
		d.NextAttempt.Local().Format(time.DateTime), d.Expires.Local().Format(time.DateTime))
	for _, r := range d.Recipients {
		fmt.Fprintf(w, "to        <%s> %s after %d attempts %s\n", r.Address, r.State, r.Attempts, r.Reply)
	}
	fmt.Fprintln(w)
	for line := range strings.Lines(d.Header) {
		fmt.Fprintln(w, "  "+visible(strings.TrimRight(line, "\r\n")))
	}
}

// visible keeps control characters of strangers away from the terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func (c *cli) queueAct(verb, short, done string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " ID", Short: short, Example: "  gateway queue " + verb + " 01J9Z0", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := ask[admin.Nothing](cmd.Context(), c, "queue."+verb, admin.ID{ID: args[0]}); err != nil {
				return err
			}
			return c.print(admin.ID{ID: args[0]}, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", args[0], done) })
		},
	}
}
