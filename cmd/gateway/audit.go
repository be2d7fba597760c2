package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/audit"
	"gateway/config"
	"gateway/session"
)

func (c *cli) auditCommand() *cobra.Command {
	return group("audit", "The record of connections, logins, files and mail",
		"  gateway audit tail -f\n  gateway audit query --event login --outcome refused --since 24h",
		c.auditQuery(), c.auditTail(), c.auditVerify())
}

// filterFlags are the flags of query and tail.
type filterFlags struct {
	event, outcome, user, remote, protocol, channel, since, until string
	limit                                                         int
}

func (f *filterFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.event, "event", "", "only events of this `KIND`: connection, login, file, mail, admin, policy, audit")
	flags.StringVar(&f.outcome, "outcome", "", "only this `OUTCOME`: granted, refused, failed, ...")
	flags.StringVar(&f.user, "user", "", "only this `NAME`; also finds a name that does not exist, which is recorded as a hash")
	flags.StringVar(&f.remote, "remote", "", "only peers in this `NETWORK`, such as 192.0.2.0/24")
	flags.StringVar(&f.protocol, "protocol", "", "only ftp, sftp, submission, relay or cli")
	flags.StringVar(&f.channel, "channel", "", "only plain, tls or ssh")
	flags.StringVar(&f.since, "since", "", "only from this `TIME` on: 2026-11-23, 2026-11-23T07:14:02Z, or 90m, 2h, 30d ago")
	flags.StringVar(&f.until, "until", "", "only before this `TIME`")
	for flag, values := range map[string][]string{
		"event":    {"connection", "login", "file", "mail", "admin", "policy", "audit"},
		"outcome":  {"granted", "refused", "failed", "error", "session", "no-login", "handshake-failed", "banned", "begun", "done"},
		"protocol": {"ftp", "sftp", "submission", "relay", "cli"}, "channel": {"plain", "tls", "ssh"},
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

// filter reads the flags; users are the forms in which the user may be recorded.
func (f *filterFlags) filter(users []string) (audit.Filter, error) {
	filter := audit.Filter{Event: f.event, Outcome: f.outcome, Users: users, Protocol: session.Protocol(f.protocol), Channel: f.channel, Limit: f.limit}
	now := time.Now()
	var errs []error
	if f.remote != "" {
		network, err := audit.ParseNetwork(f.remote)
		filter.Remote, errs = network, append(errs, err)
	}
	if f.since != "" {
		since, err := audit.ParseSince(f.since, now)
		filter.Since, errs = since, append(errs, err)
	}
	if f.until != "" {
		until, err := audit.ParseUntil(f.until, now)
		filter.Until, errs = until, append(errs, err)
	}
	if err := errors.Join(append(errs, filter.Validate())...); err != nil {
		return audit.Filter{}, usage("%v", err)
	}
	return filter, nil
}

// reading opens the record for reading, and records that.
func (c *cli) reading(ctx context.Context, what, user string) (*audit.Reader, []string, error) {
	cfg, err := c.loadConfig()
	if err != nil {
		return nil, nil, err
	}
	client, err := c.clientOf(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	names, err := admin.Call[admin.ReadingNames](ctx, client, "audit.read", admin.Reading{What: what, User: user})
	if err := errors.Join(err, client.Close()); err != nil {
		return nil, nil, err
	}
	return audit.NewReader(recordDir(cfg)), names.Users, nil
}

// what is the command as it is recorded: its name and the flags that were set.
func what(cmd *cobra.Command) string {
	words := []string{cmd.CommandPath()}
	for _, name := range []string{"event", "outcome", "remote", "protocol", "channel", "since", "until"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			words = append(words, "--"+name, f.Value.String())
		}
	}
	if f := cmd.Flags().Lookup("user"); f != nil && f.Changed {
		words = append(words, "--user ...") // it may be a mistyped password
	}
	return strings.Join(words, " ")
}

func (c *cli) auditQuery() *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Use: "query", Short: "Show the events that match, the oldest first",
		Long: `Show the events that match all filters given, the oldest first: one readable line
each, or with --json the records themselves, one object a line.`,
		Example: `  gateway audit query --event login --outcome refused --since 24h
  gateway audit query --user alice --channel plain --json
  gateway audit query --remote 192.0.2.0/24 --protocol ftp`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := f.filter(nil); err != nil {
				return err // before anything is opened
			}
			reader, users, err := c.reading(cmd.Context(), what(cmd), f.user)
			if err != nil {
				return err
			}
			filter, err := f.filter(users)
			if err != nil {
				return err
			}
			return c.events(reader.Query(cmd.Context(), filter))
		},
	}
	f.register(cmd)
	cmd.Flags().IntVar(&f.limit, "limit", 0, "stop after `N` events")
	return cmd
}

func (c *cli) auditTail() *cobra.Command {
	var f filterFlags
	var n int
	var follow bool
	cmd := &cobra.Command{
		Use: "tail", Short: "Show the last events, and with -f those that come",
		Example: "  gateway audit tail -f\n  gateway audit tail -n 50 --event login", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := f.filter(nil); err != nil {
				return err
			}
			if n < 0 || n > audit.MaxTail {
				return usage("-n is %d; want 0 to %d", n, audit.MaxTail)
			}
			reader, users, err := c.reading(cmd.Context(), what(cmd), f.user)
			if err != nil {
				return err
			}
			filter, err := f.filter(users)
			if err != nil {
				return err
			}
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			return c.events(reader.Tail(ctx, n, follow, filter))
		},
	}
	f.register(cmd)
	cmd.Flags().IntVarP(&n, "lines", "n", 10, "how many past events to begin with")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens, until Ctrl-C")
	return cmd
}

// events prints events as they come.
func (c *cli) events(list iter.Seq2[audit.Record, error]) error {
	var failed error
	for r, err := range list {
		switch {
		case err != nil:
			failed = err // a line that cannot be read; the others are shown
			fmt.Fprintf(c.stderr, "gateway: %v\n", err)
			continue
		case c.asJSON:
			_, err = c.stdout.Write(append(r.Raw, '\n'))
		default:
			_, err = fmt.Fprintln(c.stdout, audit.Line(r.Event))
		}
		if err != nil {
			return err // nobody reads any more
		}
	}
	if failed != nil {
		return errSilent
	}
	return nil
}

func (c *cli) auditVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Prove that the record is complete and unchanged",
		Long: `Read the whole record and prove it: every line is whole and as it was written,
sequence numbers have no gap, and every checkpoint matches the lines before it.
It can run while the gateway does.`,
		Example: "  gateway audit verify", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.loadConfig()
			if err != nil {
				return err
			}
			return c.verify(cmd.Context(), cfg)
		},
	}
}

func (c *cli) verify(ctx context.Context, cfg *config.Config) error {
	report, err := audit.Verify(ctx, recordDir(cfg))
	if err != nil {
		return err
	}
	err = c.print(report, func(w io.Writer) {
		if report.OK() {
			fmt.Fprintf(w, "ok: %d records in %d segments, seq %d to %d, %d checkpoints, %d gaps\nroot %s\n",
				report.Records, report.Segments, report.First, report.Last, report.Checkpoints, report.Gaps, report.Root)
		} else {
			fmt.Fprintf(w, "NOT COMPLETE: %d faults in %d records\n", report.FaultCount, report.Records)
		}
		for _, f := range report.Faults {
			fmt.Fprintf(w, "fault: %s\n", f)
		}
		for _, n := range report.Notes {
			fmt.Fprintf(w, "note: %s\n", n)
		}
	})
	if err == nil && !report.OK() {
		return errors.New("the record is not complete")
	}
	return err
}
