package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/config"
	"gateway/internal/sheet"
	"gateway/policies"
)

// policyArchive is where every policy that was in force is kept.
func policyArchive(cfg *config.Config) policies.Archive {
	return policies.Archive{Dir: filepath.Join(cfg.State, "policies")}
}

func (c *cli) policyReplay() *cobra.Command {
	var f reportFlags
	var at string
	cmd := &cobra.Command{
		Use: "replay FILE", Short: "Say whom the rules in FILE would hit, by the logins of the record",
		Long: `Decide every recorded login again: first by the rules that were in force then, which must
come to what was recorded, else it says so; then by the rules in FILE. Listed is who would
fare otherwise: a line for each user, protocol, channel, kind of client and network (/24, of
IPv6 /48), the last seen first. The owner is the account's own mail address.

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
			return c.report(cmd, f, func(r reporting) (made, error) { return replayReport(r, args[0], q) })
		},
	}
	f.add(cmd, "90d")
	cmd.Flags().StringVar(&at, "at", "", "as if all of them happened at that `TIME`: 2027-07-01 or 2027-07-01T08:00:00Z (default: when they did)")
	return cmd
}

// replayReport decides the logins again by the rules in a file.
func replayReport(r reporting, file string, q admin.ReplayQuery) (made, error) {
	opts := rules{r.cfg}.options()
	policy, err := policies.Load(file, opts)
	if err != nil {
		return made{}, err
	}
	users, err := r.accounts()
	if err != nil {
		return made{}, err
	}
	owners := make(map[string]string)
	for _, u := range users {
		owners[u.Name] = ""
		if len(u.Addresses) > 0 {
			owners[u.Name] = u.Addresses[0]
		}
	}
	q.Owner = func(user string) string { return owners[user] }
	if r.group != "" {
		q.Concerned = func(user string) bool { _, listed := owners[user]; return listed }
	}
	reader, err := r.record()
	if err != nil {
		return made{}, err
	}
	archive := policyArchive(r.cfg)
	q.Since, q.Until = r.since, r.until
	q.InForce = func(hash string) (*policies.Policy, error) { return archive.Load(hash, opts) }
	out, err := admin.ReplayPolicy(r.ctx, reader, policy, q)
	if err != nil {
		return made{}, err
	}
	m := made{data: out, sheet: replaySheet(out), unread: out.Unread}
	if out.Differing > 0 {
		m.failed = fmt.Errorf("%d logins were not decided as recorded, such as seq %s: the record or the policy was changed, or the gateway decides otherwise now; see 'gateway audit verify'", out.Differing, joinNumbers(out.Examples))
	}
	return m, nil
}

func joinNumbers(numbers []int64) string {
	var words []string
	for _, n := range numbers {
		words = append(words, fmt.Sprint(n))
	}
	return strings.Join(words, ", ")
}

func replaySheet(r admin.Replay) sheet.Sheet {
	s := sheet.Sheet{
		Title: "Who would fare otherwise", None: "Nobody who logged in would fare otherwise.",
		Columns: []sheet.Column{
			{Name: "From"}, {Name: "To"}, {Name: "User"}, {Name: "Groups"}, {Name: "Client"}, {Name: "Protocol"}, {Name: "Channel"}, {Name: "Network", Kind: sheet.Word},
			{Name: "Logins", Kind: sheet.Number}, {Name: "Last seen", Kind: sheet.Word}, {Name: "Owner"}, {Name: "Rule"},
		},
	}
	for _, row := range r.Rows {
		s.Rows = append(s.Rows, []string{row.Before, row.After, row.User, strings.Join(row.Groups, ","), row.Client, string(row.Protocol), row.Channel,
			row.Network, fmt.Sprint(row.Logins), stamp(row.LastSeen), row.Owner, row.Rule})
	}
	if r.Beyond > 0 {
		s.Below = append(s.Below, fmt.Sprintf("%d further logins of others would fare otherwise too.", r.Beyond))
	}
	s.Below = append(s.Below, fmt.Sprintf("%d logins since %s were decided again by the rules that were in force: %s.", r.Logins, r.Since.UTC().Format(minute), agreement(r)))
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
			s.Below = append(s.Below, fmt.Sprintf("%d %s.", left.n, left.what))
		}
	}
	return s
}

func agreement(r admin.Replay) string {
	if r.Differing == 0 {
		return "all as recorded"
	}
	return fmt.Sprintf("%d not as recorded", r.Differing)
}
