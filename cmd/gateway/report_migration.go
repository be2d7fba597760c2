package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/audit"
	"gateway/migration"
	"gateway/session"
)

func (c *cli) reportMigration() *cobra.Command {
	var since, group, page string
	var asCSV bool
	cmd := &cobra.Command{
		Use: "migration", Short: "Show where each account stands on its way off plaintext, and what to do next",
		Long: `Show where each account stands, who is furthest behind first.

  STATE      never seen, plain only, both, encrypted only, or key only: of its logins
  PLAIN, ENCRYPTED   logins granted
  LAST PLAIN, CLIENT, NETWORK   the last login in clear
  NOW        what the rules make of such a login now: allowed, warned, refused for now (in a
             brownout) or refused; and the exempt that lets it
  FLOOR      the highest level that the account reached on three days
  NEXT       what to do, in a sentence for the client that it has

--html writes a page with a plot of the logins of each day, to look at or to print.`,
		Example: `  gateway report migration --group accounting
  gateway report migration --since 90d --html migration.html`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asCSV && (page != "" || c.asJSON) || page != "" && c.asJSON {
				return usage("one of --json, --csv and --html")
			}
			return c.overRecord(cmd, since, func(r reporting) (int, error) {
				report, err := c.standing(r, group)
				if err != nil {
					return 0, err
				}
				switch {
				case page != "":
					if err = writePage(page, report, r.cfg.Hostname); err == nil {
						fmt.Fprintf(c.stdout, "%s: %d accounts\n", page, len(report.Rows))
					}
				case asCSV:
					header, rows := standingRows(report, false)
					err = csv.NewWriter(c.stdout).WriteAll(append([][]string{header}, rows...))
				default:
					err = c.print(report, func(w io.Writer) { showStanding(w, report) })
				}
				return report.Unread, err
			})
		},
	}
	sinceFlag(cmd, &since, "30d")
	f := cmd.Flags()
	f.StringVar(&group, "group", "", "accounts of this `GROUP` only")
	f.BoolVar(&asCSV, "csv", false, "print comma-separated values")
	f.StringVar(&page, "html", "", "write a page to this `FILE`")
	return cmd
}

// standing finds out where the accounts of a group stand, all for "".
func (c *cli) standing(r reporting, group string) (migration.Report, error) {
	policy, err := r.policy()
	if err != nil {
		return migration.Report{}, err
	}
	users, err := ask[[]admin.User](r.ctx, c, "user.list", admin.Nothing{})
	if err != nil {
		return migration.Report{}, err
	}
	var accounts []migration.Account
	for _, u := range users {
		if group == "" || slices.Contains(u.Groups, group) {
			accounts = append(accounts, migration.Account{Name: u.Name, Groups: u.Groups, Disabled: u.Disabled, Keys: len(u.Keys)})
		}
	}
	unread, failed := 0, error(nil)
	events := r.reader.Query(r.ctx, audit.Filter{Event: session.EventLogin, Outcome: session.OutcomeGranted, Since: r.since, Until: r.until})
	report := migration.Stand(accounts, readable(events, group, &unread, &failed), policy, r.since, r.until)
	report.Unread = unread
	return report, failed
}

// readable are the events of who is in the group, any for "", that can be read.
func readable(events iter.Seq2[audit.Record, error], group string, unread *int, failed *error) iter.Seq[session.Event] {
	return func(yield func(session.Event) bool) {
		for rec, err := range events {
			switch {
			case errors.As(err, new(*audit.LineError)):
				*unread++
			case err != nil:
				*failed = err
				return
			case group != "" && !slices.Contains(rec.Event.Groups, group):
			case !yield(rec.Event):
				return
			}
		}
	}
}

// writePage makes the file, whole or not at all.
func writePage(name string, r migration.Report, hostname string) error {
	var page strings.Builder
	if err := r.WriteHTML(&page, hostname); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(page.String()), 0o600)
}

// standingRows are the columns of the report; brief leaves out what a terminal has no
// room for.
func standingRows(r migration.Report, brief bool) (header []string, rows [][]string) {
	header = []string{"USER", "STATE", "PLAIN", "ENCRYPTED", "LAST PLAIN", "CLIENT", "NETWORK", "NOW", "FLOOR", "NEXT"}
	if !brief {
		header = append(header, "GROUPS", "PROTOCOL", "BLOCKER", "NOTICE", "LAST SEEN", "KEY LOGINS")
	}
	for _, s := range r.Rows {
		now := s.Stage
		if brief && s.Blocker != "" {
			now += " by " + s.Blocker
		}
		row := []string{visible(s.User), string(s.State), fmt.Sprint(s.PlainLogins), fmt.Sprint(s.EncryptedLogins), seen(s.LastPlain),
			orDash(s.Client), orDash(s.Network), orDash(now), orDash(s.Floor), s.Next}
		if !brief {
			row = append(row, strings.Join(s.Groups, " "), string(s.Protocol), s.Blocker, s.Notice, seen(s.LastSeen), fmt.Sprint(s.KeyLogins))
		}
		rows = append(rows, row)
	}
	return header, rows
}

func showStanding(w io.Writer, r migration.Report) {
	if len(r.Rows) == 0 {
		fmt.Fprintln(w, "There are no accounts.")
		return
	}
	header, rows := standingRows(r, true)
	table(w, header, rows)
	fmt.Fprintf(w, "\n%d accounts: %d plain only, %d both, %d encrypted only, %d key only, %d never seen since %s\n", len(r.Rows),
		r.States[migration.Plain], r.States[migration.Both], r.States[migration.Encrypted], r.States[migration.KeyOnly], r.States[migration.Unseen],
		r.Since.UTC().Format(minute))
}
