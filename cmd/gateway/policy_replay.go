package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/config"
	"gateway/policies"
)

// policyArchive is where every policy that was in force is kept.
func policyArchive(cfg *config.Config) policies.Archive {
	return policies.Archive{Dir: filepath.Join(cfg.State, "policies")}
}

func (c *cli) policyReplay() *cobra.Command {
	var since, at string
	cmd := &cobra.Command{
		Use: "replay FILE", Short: "Say whom the rules in FILE would hit, by the logins of the record",
		Long: `Decide every recorded login again: first by the rules that were in force then, which must
come to what was recorded, else it says so; then by the rules in FILE. Listed is who would
fare otherwise: a line for each user, protocol, channel, kind of client and network (/24, of
IPv6 /48), the last seen first.

  FROM TO  allowed; warned: allowed, and told that it ends; refused-for-now: in a brownout;
           refused

Logins count as of when they were, or, with --at, as if all of them happened then: so what
a date in the rules will do is seen before it comes. Of other facts, such as floors and
exposed passwords, those of the record hold. Nothing is changed.`,
		Example: `  gateway policy replay new-policy.hcl
  gateway policy replay policy.hcl --since 90d --at 2027-07-01
  gateway policy replay new-policy.hcl --json`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := admin.ReplayQuery{}
			var err error
			if q.At, err = parseAt(at); err != nil {
				return err
			}
			return c.overRecord(cmd, since, func(r reporting) (int, error) { return c.replay(cmd, r, args[0], q) })
		},
	}
	sinceFlag(cmd, &since, "90d")
	cmd.Flags().StringVar(&at, "at", "", "as if all of them happened at that `TIME`: 2027-07-01 or 2027-07-01T08:00:00Z (default: when they did)")
	return cmd
}

// replay decides the logins again by the rules in a file.
func (c *cli) replay(cmd *cobra.Command, r reporting, file string, q admin.ReplayQuery) (unread int, err error) {
	opts := rules{r.cfg}.options()
	policy, err := policies.Load(file, opts)
	if err != nil {
		return 0, err
	}
	archive := policyArchive(r.cfg)
	q.Since, q.Until = r.since, r.until
	q.InForce = func(hash string) (*policies.Policy, error) { return archive.Load(hash, opts) }
	q.Progress = every(2*time.Second, func(n int64) { fmt.Fprintf(cmd.ErrOrStderr(), "%d logins are decided again\n", n) })
	out, err := admin.ReplayPolicy(r.ctx, r.reader, policy, q)
	if err == nil {
		err = c.print(out, func(w io.Writer) { showReplay(w, out) })
	}
	if err == nil && out.Differing > 0 {
		err = fmt.Errorf("%d logins were not decided as recorded, such as seq %s: the record or the policy was changed, or the gateway decides otherwise now; see 'gateway audit verify'", out.Differing, joinNumbers(out.Examples))
	}
	return out.Unread, err
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

func joinNumbers(numbers []int64) string {
	var words []string
	for _, n := range numbers {
		words = append(words, fmt.Sprint(n))
	}
	return strings.Join(words, ", ")
}

func showReplay(w io.Writer, r admin.Replay) {
	if len(r.Rows) == 0 {
		fmt.Fprintln(w, "Nobody who logged in would fare otherwise.")
	} else {
		var rows [][]string
		for _, row := range r.Rows {
			rows = append(rows, []string{row.Before, row.After, visible(row.User), visible(strings.Join(row.Groups, ",")), row.Client, string(row.Protocol), row.Channel,
				row.Network, fmt.Sprint(row.Logins), seen(row.LastSeen), row.Rule})
		}
		table(w, []string{"FROM", "TO", "USER", "GROUPS", "CLIENT", "PROTOCOL", "CHANNEL", "NETWORK", "LOGINS", "LAST SEEN", "RULE"}, rows)
	}
	fmt.Fprintln(w)
	if r.Beyond > 0 {
		fmt.Fprintf(w, "%d further logins of others would fare otherwise too.\n", r.Beyond)
	}
	fmt.Fprintf(w, "%d logins since %s were decided again by the rules that were in force: %s.\n", r.Logins, r.Since.UTC().Format(minute), agreement(r))
	for _, left := range []struct {
		n    int64
		what string
	}{
		{r.Apart, "failed by something else than the rules, such as a wrong password"},
		{r.NoFacts, "hold no facts, being of an older gateway"},
		{r.NoRules, "are left out, for the rules of then are not kept"},
		{int64(r.Gaps), "gaps are in the record: what happened then is not known"},
	} {
		if left.n > 0 {
			fmt.Fprintf(w, "%d %s.\n", left.n, left.what)
		}
	}
}

func agreement(r admin.Replay) string {
	if r.Differing == 0 {
		return "all as recorded"
	}
	return fmt.Sprintf("%d not as recorded", r.Differing)
}
