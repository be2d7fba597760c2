package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/internal/sheet"
)

func (c *cli) reportCommand() *cobra.Command {
	return group("report", "What the record says about how the gateway is used", "  gateway report plaintext --since 30d\n  gateway report migration --html migration.html\n  gateway report exemptions",
		c.reportPlaintext(), c.reportMigration(), c.reportExposed(), c.reportExemptions(), c.reportDevices(), c.reportHashes())
}

func (c *cli) reportPlaintext() *cobra.Command {
	var f reportFlags
	var all bool
	cmd := &cobra.Command{
		Use: "plaintext", Short: "Show who still uses plaintext, and whose data connections are not bound",
		Long: `Show who still uses plaintext, and whose data connections are not bound to their
session: a line for each user, protocol, client software and source address (of IPv6
its /64), the last seen first.

  PLAIN    logins granted over a clear channel
  ENDING   logins granted, over any channel, that the rules let pass for a while only: those
           of devices, also without a login (user "device:NAME") or over TLS before 1.2
  REFUSED  attempts over a clear channel refused before the credential was sent
  EXPOSED  credentials sent in clear and not granted
  DATA     data connections over TLS of FTP sessions that logged in over TLS: how many
           resumed the TLS session of their control connection, of how many
  CLEAR    data connections in clear of FTP sessions that logged in over TLS

LAST SEEN is the last time of any of these but a bound data connection. A user
"unknown:..." is a name that no account has, which --group leaves out. Who protects
everything is not listed, save with --all.`,
		Example: `  gateway report plaintext
  gateway report plaintext --since 2026-11-01 --json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.report(cmd, f, func(r reporting) (made, error) { return plaintextReport(r, all) })
		},
	}
	f.add(cmd, "30d")
	cmd.Flags().BoolVar(&all, "all", false, "also list who protects everything")
	return cmd
}

func plaintextReport(r reporting, all bool) (made, error) {
	who, err := r.concerned()
	if err != nil {
		return made{}, err
	}
	reader, err := r.record()
	if err != nil {
		return made{}, err
	}
	report, err := admin.Plaintext(r.ctx, reader, admin.PlaintextQuery{Since: r.since, Until: r.until, All: all, Concerned: who})
	return made{data: report, sheet: plaintextSheet(report), unread: report.Unread}, err
}

const minute = "2006-01-02 15:04"

func plaintextSheet(r admin.PlaintextReport) sheet.Sheet {
	s := sheet.Sheet{
		Title: "Who uses plaintext",
		Columns: []sheet.Column{
			{Name: "User"}, {Name: "Protocol"}, {Name: "Client"}, {Name: "From"}, {Name: "Plain", Kind: sheet.Number}, {Name: "Ending", Kind: sheet.Number},
			{Name: "Refused", Kind: sheet.Number}, {Name: "Exposed", Kind: sheet.Number}, {Name: "Data", Kind: sheet.Number}, {Name: "Clear", Kind: sheet.Number},
			{Name: "Last seen", Kind: sheet.Word},
		},
	}
	since := r.Since.UTC().Format(minute) + " UTC"
	if r.Accounts+r.Unknown == 0 {
		s.Above = []string{fmt.Sprintf("Nobody used plaintext since %s, and all data connections over TLS were bound.", since)}
	} else {
		s.Above = []string{fmt.Sprintf("Since %s: %s", since, strings.Join(nonEmpty(
			count(r.Accounts, "account", "accounts"), count(r.Unknown, "name without an account", "names without an account")), " and "))}
	}
	for _, row := range r.Rows {
		s.Rows = append(s.Rows, []string{
			row.User, string(row.Protocol), shortened(row.Client), row.Remote,
			fmt.Sprint(row.PlainLogins), fmt.Sprint(row.Ending), fmt.Sprint(row.Refused), fmt.Sprint(row.Exposed),
			ratio(row.DataBound, row.DataBound+row.DataUnbound), fmt.Sprint(row.DataClear), stamp(row.LastSeen),
		})
	}
	for _, n := range r.Notes {
		s.Below = append(s.Below, "note: "+n)
	}
	return s
}

// count is a number with its noun, or nothing for none.
func count(n int, one, many string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 " + one
	default:
		return fmt.Sprintf("%d %s", n, many)
	}
}

func nonEmpty(list ...string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// ratio is a part of a whole, or nothing for none of none.
func ratio(part, whole int64) string {
	if whole == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", part, whole)
}

// maxClient is how many characters of a client's name a table shows.
const maxClient = 32

func shortened(s string) string {
	if utf8.RuneCountInString(s) <= maxClient {
		return s
	}
	return string([]rune(s)[:maxClient-1]) + "…"
}
