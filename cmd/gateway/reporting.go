package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gateway/audit"
	"gateway/config"
	"gateway/policies"
)

// reporting is what a report is made from.
type reporting struct {
	ctx          context.Context // ends with Ctrl-C
	cfg          *config.Config
	reader       *audit.Reader // of the record; that it is read is recorded
	since, until time.Time
}

// policy reads the rules of the file, for a report that is about them.
func (r reporting) policy() (*policies.Policy, error) { return rules{r.cfg}.Load() }

// overRecord makes and prints a report about the logins since a time. It is one that
// fails in the end if lines of the record could not be read.
func (c *cli) overRecord(cmd *cobra.Command, since string, report func(reporting) (unread int, err error)) error {
	r := reporting{until: time.Now().UTC()}
	var err error
	if r.since, err = audit.ParseSince(since, r.until); err != nil {
		return usage("%v", err)
	}
	if err := (audit.Filter{Since: r.since, Until: r.until}).Validate(); err != nil {
		return usage("%v", err)
	}
	if r.cfg, err = c.loadConfig(); err != nil {
		return err
	}
	if r.reader, _, err = c.reading(cmd.Context(), what(cmd), ""); err != nil {
		return err
	}
	var stop context.CancelFunc
	r.ctx, stop = untilInterrupted(cmd.Context())
	defer stop()
	unread, err := report(r)
	if err == nil && unread > 0 {
		return fmt.Errorf("%d lines of the record could not be read; see 'gateway audit verify'", unread)
	}
	return err
}

// sinceFlag adds --since.
func sinceFlag(cmd *cobra.Command, since *string, value string) {
	cmd.Flags().StringVar(since, "since", value, "from this `TIME` on: 2026-11-23, 2026-11-23T07:14:02Z, or 90m, 2h, 30d ago")
}
