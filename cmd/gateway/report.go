package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"gateway/admin"
)

func (c *cli) reportCommand() *cobra.Command {
	return group("report", "What the record says about how the gateway is used", "  gateway report plaintext --since 30d\n  gateway report migration --html migration.html\n  gateway report exemptions",
		c.reportPlaintext(), c.reportMigration(), c.reportExposed(), c.reportExemptions(), c.reportDevices())
}

func (c *cli) reportPlaintext() *cobra.Command {
	var since string
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
"unknown:..." is a name that no account has. Who protects everything is not listed,
save with --all.`,
		Example: `  gateway report plaintext
  gateway report plaintext --since 2026-11-01 --json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.overRecord(cmd, since, func(r reporting) (int, error) {
				report, err := admin.Plaintext(r.ctx, r.reader, admin.PlaintextQuery{Since: r.since, Until: r.until, All: all})
				if err != nil {
					return 0, err
				}
				return report.Unread, c.print(report, func(w io.Writer) { showPlaintext(w, report) })
			})
		},
	}
	sinceFlag(cmd, &since, "30d")
	cmd.Flags().BoolVar(&all, "all", false, "also list who protects everything")
	return cmd
}

const minute = "2006-01-02 15:04"

func showPlaintext(w io.Writer, r admin.PlaintextReport) {
	since := r.Since.UTC().Format(minute) + " UTC"
	if r.Accounts+r.Unknown == 0 {
		fmt.Fprintf(w, "Nobody used plaintext since %s, and all data connections over TLS were bound.\n", since)
	} else {
		fmt.Fprintf(w, "Since %s: %s\n", since, strings.Join(nonEmpty(
			count(r.Accounts, "account", "accounts"), count(r.Unknown, "name without an account", "names without an account")), " and "))
	}
	if len(r.Rows) > 0 {
		fmt.Fprintln(w)
		var rows [][]string
		for _, row := range r.Rows {
			rows = append(rows, []string{
				orDash(row.User), string(row.Protocol), orDash(shortened(row.Client)), orDash(row.Remote),
				fmt.Sprint(row.PlainLogins), fmt.Sprint(row.Ending), fmt.Sprint(row.Refused), fmt.Sprint(row.Exposed),
				ratio(row.DataBound, row.DataBound+row.DataUnbound), fmt.Sprint(row.DataClear), row.LastSeen.UTC().Format(minute),
			})
		}
		table(w, []string{"USER", "PROTOCOL", "CLIENT", "FROM", "PLAIN", "ENDING", "REFUSED", "EXPOSED", "DATA", "CLEAR", "LAST SEEN"}, rows)
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
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

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// ratio is a part of a whole, or a dash for none of none.
func ratio(part, whole int64) string {
	if whole == 0 {
		return "-"
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
