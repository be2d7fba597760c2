package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/audit"
	"gateway/config"
	"gateway/internal/sheet"
	"gateway/policies"
)

// reporting is what a report is made from.
type reporting struct {
	ctx          context.Context // ends with Ctrl-C
	cli          *cli
	cmd          *cobra.Command
	cfg          *config.Config
	since, until time.Time
	group        string // empty for everybody
}

// A made report is data, for JSON, and the same as a sheet for all other forms. Unread is
// how many lines of the record could not be read; failed is what the report found out
// that fails the command, once it is put out.
type made struct {
	data   any
	sheet  sheet.Sheet
	unread int
	failed error
}

// reportFlags say what a report is about, and in which form it is wanted.
type reportFlags struct {
	since, group, page string
	csv                bool
}

// add adds the flags of a report about accounts. since is what --since is by itself; empty
// is from the beginning on.
func (f *reportFlags) add(cmd *cobra.Command, since string) {
	f.addForms(cmd, since)
	cmd.Flags().StringVar(&f.group, "group", "", "accounts of this `GROUP` only")
}

// addForms adds the flags of a report about something else.
func (f *reportFlags) addForms(cmd *cobra.Command, since string) {
	sinceFlag(cmd, &f.since, since)
	flags := cmd.Flags()
	flags.BoolVar(&f.csv, "csv", false, "print comma-separated values")
	flags.StringVar(&f.page, "html", "", "write a page, to look at or to print, to this `FILE`")
}

// sinceFlag adds --since.
func sinceFlag(cmd *cobra.Command, since *string, value string) {
	cmd.Flags().StringVar(since, "since", value, "from this `TIME` on: 2026-11-23, 2026-11-23T07:14:02Z, or 90m, 2h, 30d ago")
}

// report makes a report and puts it out in the form that is wanted.
func (c *cli) report(cmd *cobra.Command, f reportFlags, make func(reporting) (made, error)) error {
	forms := 0
	for _, wanted := range []bool{f.csv, f.page != "", c.asJSON} {
		if wanted {
			forms++
		}
	}
	if forms > 1 {
		return usage("one of --json, --csv and --html")
	}
	r, stop, err := c.reporting(cmd, f.since)
	if err != nil {
		return err
	}
	defer stop()
	r.group = f.group
	m, err := make(r)
	if err != nil {
		return err
	}
	switch {
	case f.page != "":
		err = c.writePage(f.page, &m.sheet, r)
	case f.csv:
		err = m.sheet.WriteCSV(c.stdout)
	default:
		err = c.print(m.data, func(w io.Writer) { _ = m.sheet.WriteText(w) })
	}
	return errors.Join(err, m.failed, unreadable(m.unread))
}

// reporting begins what reads the record since a time. The caller calls stop in the end.
func (c *cli) reporting(cmd *cobra.Command, since string) (r reporting, stop func(), err error) {
	r = reporting{cli: c, cmd: cmd, until: time.Now().UTC()}
	if since != "" {
		if r.since, err = audit.ParseSince(since, r.until); err != nil {
			return r, nil, usage("%v", err)
		}
	}
	if err := (audit.Filter{Since: r.since, Until: r.until}).Validate(); err != nil {
		return r, nil, usage("%v", err)
	}
	if r.cfg, err = c.loadConfig(); err != nil {
		return r, nil, err
	}
	r.ctx, stop = untilInterrupted(cmd.Context())
	return r, stop, nil
}

// record opens the record; that it is read is recorded. What takes long says how far it is.
func (r reporting) record() (*audit.Reader, error) {
	reader, _, err := r.cli.reading(r.ctx, what(r.cmd), "")
	if err != nil {
		return nil, err
	}
	return reader.WithProgress(every(2*time.Second, func(n int64) { fmt.Fprintf(r.cmd.ErrOrStderr(), "%d lines of the record are read\n", n) })), nil
}

// policy reads the rules of the file, for a report that is about them.
func (r reporting) policy() (*policies.Policy, error) { return rules{r.cfg}.Load() }

// accounts lists those that the report is about: of the group, as it is now.
func (r reporting) accounts() ([]admin.User, error) {
	users, err := ask[[]admin.User](r.ctx, r.cli, "user.list", admin.Nothing{})
	if err != nil || r.group == "" {
		return users, err
	}
	users = slices.DeleteFunc(users, func(u admin.User) bool { return !slices.Contains(u.Groups, r.group) })
	if len(users) == 0 {
		err = fmt.Errorf("no account is in the group %q; see 'gateway group list'", r.group)
	}
	return users, err
}

// concerned tells whom the report is about: nil for everybody, names without an account
// included. Who is in the group now counts, and so does what they did before they were.
func (r reporting) concerned() (admin.Concerned, error) {
	if r.group == "" {
		return nil, nil
	}
	users, err := r.accounts()
	names := make(map[string]bool, len(users))
	for _, u := range users {
		names[u.Name] = true
	}
	return func(user string) bool { return names[user] }, err
}

// days are from when to when, for a page.
func (r reporting) days() string {
	from := "From the beginning"
	if !r.since.IsZero() {
		from = "From " + r.since.UTC().Format(minute)
	}
	return from + " to " + r.until.UTC().Format(minute) + " UTC"
}

// writePage makes the file, whole or not at all.
func (c *cli) writePage(name string, s *sheet.Sheet, r reporting) error {
	s.Title += ": " + r.cfg.Hostname
	if r.group != "" {
		s.Title += ", group " + r.group
	}
	if s.Time == "" {
		s.Time = r.days()
	}
	var page bytes.Buffer
	if err := s.WriteHTML(&page); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(name)); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	if err := replaceFile(name, page.Bytes()); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	_, err := fmt.Fprintf(c.stdout, "%s: %d lines\n", name, len(s.Rows))
	return err
}

// unreadable is the failure of what could not read some lines, nil for none.
func unreadable(lines int) error {
	if lines == 0 {
		return nil
	}
	return fmt.Errorf("%d lines of the record could not be read; see 'gateway audit verify'", lines)
}

// every lets f be called at most once in that time, and not before the first has passed.
func every(interval time.Duration, f func(int64)) func(int64) {
	last := time.Now()
	return func(n int64) {
		if now := time.Now(); now.Sub(last) >= interval {
			last = now
			f(n)
		}
	}
}

// stamp is a moment as a cell, which is empty for never.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(minute)
}
