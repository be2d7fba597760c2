package main

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/audit"
	"gateway/internal/sheet"
	"gateway/migration"
	"gateway/session"
)

func (c *cli) reportMigration() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use: "migration", Short: "Show where each account stands on its way off plaintext, and what to do next",
		Long: `Show where each account stands, who is furthest behind first.

  STATE      never seen, plain only, both, encrypted only, or key only: of its logins
  PLAIN, ENCRYPTED   logins granted
  LAST PLAIN, CLIENT, NETWORK   the last login in clear
  NOW        what the rules make of such a login now: allowed, warned, refused for now (in a
             brownout) or refused; and the exempt that lets it
  THEN       what they will make of it, and from when on, by the dates in them
  BROWNOUT   how often a brownout refused it, and how it came back since: encrypted, in clear,
             or not yet
  FLOOR      the highest level that the account reached on so many days that a ratchet holds
             it to that (3, if there is none)
  NEXT       what to do, in a sentence for the client that it has

--html writes a page with a plot of the logins of each day.`,
		Example: `  gateway report migration --group accounting
  gateway report migration --since 90d --html migration.html`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.report(cmd, f, migrationReport) },
	}
	f.add(cmd, "30d")
	return cmd
}

func migrationReport(r reporting) (made, error) {
	policy, err := r.policy()
	if err != nil {
		return made{}, err
	}
	users, err := r.accounts()
	if err != nil {
		return made{}, err
	}
	reader, err := r.record()
	if err != nil {
		return made{}, err
	}
	var accounts []migration.Account
	names := make(map[string]bool, len(users))
	for _, u := range users {
		accounts = append(accounts, migration.Account{Name: u.Name, Groups: u.Groups, Disabled: u.Disabled || u.Barred, Keys: len(u.Keys)})
		names[u.Name] = true
	}
	about := func(user string) bool { return r.group == "" || names[user] }
	unread, failed := 0, error(nil)
	events := reader.Query(r.ctx, audit.Filter{Event: session.EventLogin, Since: r.since, Until: r.until})
	report := migration.Stand(accounts, readable(events, about, &unread, &failed), policy, r.since, r.until)
	report.Unread = unread
	return made{data: report, sheet: migrationSheet(report), unread: unread}, failed
}

// readable are the events about some users that can be read.
func readable(events iter.Seq2[audit.Record, error], about func(user string) bool, unread *int, failed *error) iter.Seq[session.Event] {
	return func(yield func(session.Event) bool) {
		for rec, err := range events {
			switch {
			case errors.As(err, new(*audit.LineError)):
				*unread++
			case err != nil:
				*failed = err
				return
			case about(rec.Event.User) && !yield(rec.Event):
				return
			}
		}
	}
}

func migrationSheet(r migration.Report) sheet.Sheet {
	s := sheet.Sheet{
		Title: "Away from plaintext", None: "There are no accounts.",
		Columns: []sheet.Column{
			{Name: "User"}, {Name: "State", Kind: sheet.Word}, {Name: "Plain", Kind: sheet.Number}, {Name: "Encrypted", Kind: sheet.Number},
			{Name: "Last plain", Kind: sheet.Word}, {Name: "Client"}, {Name: "Network", Kind: sheet.Word}, {Name: "Now"}, {Name: "Then"}, {Name: "Brownout"}, {Name: "Floor"}, {Name: "Next"},
			{Name: "Groups", Wide: true}, {Name: "Protocol", Wide: true}, {Name: "Notice", Wide: true}, {Name: "Last seen", Kind: sheet.Word, Wide: true},
			{Name: "Key logins", Kind: sheet.Number, Wide: true},
		},
	}
	for _, state := range migration.States() {
		s.Figures = append(s.Figures, sheet.Figure{Name: string(state), Count: r.States[state]})
	}
	for _, d := range r.Days {
		s.Days = append(s.Days, sheet.Day(d))
	}
	for _, row := range r.Rows {
		now, then, user, paused := row.Stage, row.Then, row.User, ""
		if row.Paused > 0 {
			paused = fmt.Sprintf("%d, back: %s", row.Paused, row.Return)
		}
		if row.Blocker != "" {
			now += " by " + row.Blocker
		}
		if then != "" {
			then += " from " + row.ThenFrom.UTC().Format(time.DateOnly)
		}
		if row.Disabled {
			user += " (disabled)"
		}
		s.Rows = append(s.Rows, []string{
			user, string(row.State), fmt.Sprint(row.PlainLogins), fmt.Sprint(row.EncryptedLogins), stamp(row.LastPlain),
			row.Client, row.Network, now, then, paused, row.Floor, row.Next,
			strings.Join(row.Groups, " "), string(row.Protocol), row.Notice, stamp(row.LastSeen), fmt.Sprint(row.KeyLogins),
		})
	}
	if len(r.Rows) > 0 {
		s.Below = []string{fmt.Sprintf("%d accounts: %d plain only, %d both, %d encrypted only, %d key only, %d never seen since %s", len(r.Rows),
			r.States[migration.Plain], r.States[migration.Both], r.States[migration.Encrypted], r.States[migration.KeyOnly], r.States[migration.Unseen],
			r.Since.UTC().Format(minute))}
	}
	return s
}
