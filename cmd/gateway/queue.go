package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/queue"
	"gateway/queue/spool"
)

func (c *cli) queueCommand() *cobra.Command {
	show := &cobra.Command{
		Use: "show ID", Short: "Show a message, its recipients and its header", Example: "  gateway queue show 01kax4v7m0e8s2dq", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := ask[queue.Detail](cmd.Context(), c, "queue.show", admin.ID{ID: args[0]})
			if err != nil {
				return err
			}
			return c.print(d, func(w io.Writer) { showMessage(w, d) })
		},
	}
	return group("queue", "Mail that was accepted and not yet handed on", "  gateway queue list", c.queueListCommand(), show,
		c.queueChangeCommand("hold", "hold", "Keep messages from being delivered", "held"),
		c.queueChangeCommand("release", "release", "Let held messages go", "released"),
		c.queueChangeCommand("retry", "retry", "Try messages now", "will be tried now"),
		c.queueChangeCommand("remove", "remove", "Forget messages; nobody is told", "removed"),
		c.queueFlushCommand())
}

// queueFilter is what the flags say.
type queueFilter struct {
	queue.Filter
	olderThan time.Duration
}

// flags adds the flags that choose messages.
func (f *queueFilter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.From, "from", "", "from this `ADDRESS`, from anybody at @DOMAIN, or <> for notifications")
	flags.StringVar(&f.To, "to", "", "that wait for this recipient `ADDRESS`, or for anybody at @DOMAIN")
	flags.StringVar(&f.Domain, "domain", "", "that wait for a recipient in this `DOMAIN`")
	flags.StringVar(&f.User, "user", "", "sent by this `ACCOUNT`")
	flags.StringVar(&f.Route, "route", "", "that wait for this `ROUTE`, as the list shows it")
	flags.BoolVar(&f.Held, "held", false, "that are held")
	flags.DurationVar(&f.olderThan, "older-than", 0, "accepted longer ago than this `DURATION`, such as 4h")
}

func (f *queueFilter) read() queue.Filter {
	filter := f.Filter
	if f.olderThan != 0 {
		filter.Before = time.Now().Add(-f.olderThan)
	}
	return filter
}

func (c *cli) queueListCommand() *cobra.Command {
	var filter queueFilter
	cmd := &cobra.Command{
		Use: "list", Short: "List the mail that waits, the oldest first", Example: "  gateway queue list --domain example.com --older-than 4h", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := filter.read()
			out := c.queueTable()
			if c.asJSON {
				out = c.queueJSON()
			}
			if err := c.eachPage(cmd.Context(), f, func(_ *admin.Client, items []queue.Item) error { return out.page(items) }); err != nil {
				return err
			}
			return out.end(f)
		},
	}
	filter.flags(cmd)
	return cmd
}

// eachPage asks for the queue page by page: it may be long, and it changes meanwhile.
func (c *cli) eachPage(ctx context.Context, f queue.Filter, do func(*admin.Client, []queue.Item) error) (err error) {
	client, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	query := admin.QueueQuery{Filter: f}
	for {
		page, err := admin.Call[queue.Page](ctx, client, "queue.list", query)
		if err == nil && len(page.Items) > 0 {
			err = do(client, page.Items)
		}
		if err != nil || page.Next == "" {
			return err
		}
		query.After = page.Next
	}
}

// queueOutput prints a list as it comes.
type queueOutput struct {
	page func([]queue.Item) error
	end  func(queue.Filter) error
}

// queueTable is for people.
func (c *cli) queueTable() queueOutput {
	header := []string{"ID", "ACCEPTED", "SIZE", "FROM", "TO", "TRIES", "NEXT", "LAST REPLY"}
	count := 0
	return queueOutput{
		page: func(items []queue.Item) error {
			var rows [][]string
			for _, i := range items {
				rows = append(rows, queueRow(i))
			}
			if count == 0 {
				table(c.stdout, header, rows)
			} else {
				table(c.stdout, rows[0], rows[1:])
			}
			count += len(items)
			return nil
		},
		end: func(f queue.Filter) error {
			switch {
			case count == 0 && f.IsZero():
				fmt.Fprintln(c.stdout, "The queue is empty.")
			case count == 0:
				fmt.Fprintln(c.stdout, "No message in the queue is of that kind.")
			}
			return nil
		},
	}
}

func queueRow(i queue.Item) []string {
	next := time.Until(i.NextAttempt).Round(time.Second).String()
	switch {
	case i.Damaged:
		next = "damaged"
	case i.Held:
		next = "held"
	case time.Until(i.NextAttempt) <= 0:
		next = "now"
	}
	to := strings.Join(i.To, ",")
	if more := i.Waiting - len(i.To); more > 0 {
		to += fmt.Sprintf(" and %d more", more)
	}
	return []string{i.ID, i.Accepted.Local().Format("01-02 15:04"), bytesText(i.Size), "<" + i.From + ">", to, fmt.Sprint(i.Attempts), next, i.Reply}
}

// queueJSON is one array, however long it is.
func (c *cli) queueJSON() queueOutput {
	before := "["
	return queueOutput{
		page: func(items []queue.Item) error {
			var page bytes.Buffer
			enc := json.NewEncoder(&page)
			enc.SetEscapeHTML(false)
			for _, i := range items {
				page.WriteString(before)
				if err := enc.Encode(i); err != nil {
					return err
				}
				before = ","
			}
			_, err := page.WriteTo(c.stdout)
			return err
		},
		end: func(queue.Filter) error {
			end := "]\n"
			if before == "[" {
				end = "[]\n"
			}
			_, err := io.WriteString(c.stdout, end)
			return err
		},
	}
}

func showMessage(w io.Writer, d queue.Detail) {
	fmt.Fprintf(w, "id        %s\nfrom      <%s>\nuser      %s\nsize      %s\naccepted  %s\nattempts  %d, next %s\nexpires   %s\n",
		d.ID, d.From, d.User, bytesText(d.Size), d.Accepted.Local().Format(time.DateTime), d.Attempts,
		d.NextAttempt.Local().Format(time.DateTime), d.Expires.Local().Format(time.DateTime))
	if d.Held {
		fmt.Fprintln(w, "held      until it is released")
	}
	if d.Warned {
		fmt.Fprintln(w, "warned    the sender was told that it is delayed")
	}
	if d.RequireTLS {
		fmt.Fprintln(w, "requires  verified TLS")
	}
	for _, r := range d.Recipients {
		fmt.Fprintf(w, "to        <%s> by %s: %s after %d attempts %s\n", r.Address, r.Route, r.State, r.Attempts, r.Reply)
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

// queueChangeCommand does something to messages that are named, or that a filter
// chooses.
func (c *cli) queueChangeCommand(name, method, short, done string) *cobra.Command {
	var filter queueFilter
	var all bool
	cmd := &cobra.Command{
		Use: name + " [ID]...", Short: short,
		Example: fmt.Sprintf("  gateway queue %s 01kax4v7m0e8s2dq\n  gateway queue %[1]s --domain example.com", name),
		Args:    messageIDs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			f := filter.read()
			switch {
			case len(ids) > 0 && (all || !f.IsZero()):
				return usage("name messages, or say which kind: not both")
			case all && !f.IsZero():
				return usage("--all leaves nothing for a filter to choose: take one of them")
			case len(ids) > 0:
				return c.changeNamed(cmd.Context(), method, done, ids)
			case !all && f.IsZero():
				return usage("%s needs the ID of a message, a filter such as --domain, or --all", cmd.CommandPath())
			}
			return c.changeChosen(cmd.Context(), method, done, f)
		},
	}
	filter.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all messages in the queue")
	return cmd
}

func (c *cli) queueFlushCommand() *cobra.Command {
	return &cobra.Command{
		Use: "flush", Short: "Try all mail that waits now, as retry --all", Example: "  gateway queue flush", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.changeChosen(cmd.Context(), "retry", "will be tried now", queue.Filter{})
		},
	}
}

// changeNamed changes some messages; one that does not exist is an error.
func (c *cli) changeNamed(ctx context.Context, method, done string, ids []string) error {
	if len(ids) > admin.MaxQueueChange {
		return usage("name at most %d messages, or choose by a filter", admin.MaxQueueChange)
	}
	changed, err := ask[admin.QueueChanged](ctx, c, "queue."+method, admin.QueueChange{IDs: ids})
	if err != nil {
		return err
	}
	return c.print(changed, func(w io.Writer) {
		for _, id := range ids {
			fmt.Fprintf(w, "%s %s\n", id, done)
		}
	})
}

// changeChosen changes what a filter chooses. What leaves the queue meanwhile is
// passed over.
func (c *cli) changeChosen(ctx context.Context, method, done string, f queue.Filter) error {
	var total admin.QueueChanged
	err := c.eachPage(ctx, f, func(client *admin.Client, items []queue.Item) error {
		for len(items) > 0 {
			in := admin.QueueChange{Gone: true}
			for _, i := range items[:min(len(items), admin.MaxQueueChange)] {
				in.IDs = append(in.IDs, i.ID)
			}
			items = items[len(in.IDs):]
			changed, err := admin.Call[admin.QueueChanged](ctx, client, "queue."+method, in)
			if err != nil {
				return err
			}
			total.Changed += changed.Changed
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.print(total, func(w io.Writer) {
		switch total.Changed {
		case 0:
			fmt.Fprintln(w, "No message in the queue is of that kind.")
		case 1:
			fmt.Fprintln(w, "1 message "+done)
		default:
			fmt.Fprintf(w, "%d messages %s\n", total.Changed, done)
		}
	})
}

// messageIDs takes any number of what looks like the ID of a message.
func messageIDs(cmd *cobra.Command, ids []string) error {
	for _, id := range ids {
		if _, ok := spool.ParseID(id); !ok {
			return usage("%s: %q is no ID of a message; 'gateway queue list' shows them", cmd.CommandPath(), id)
		}
	}
	return nil
}
