package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/config"
	"gateway/policies"
	"gateway/session"
)

func (c *cli) policyCommand() *cobra.Command {
	return group("policy", "The rules", "  gateway policy check\n  gateway policy explain --user alice --protocol ftp --channel plain --from 192.0.2.7",
		c.policyCheck(), c.policyExplain(), c.policyDiff(), c.policyReplay(), c.policyApply(), c.policyConfirm(), c.policyShadow(), c.policyFmt())
}

func (c *cli) policyCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Check the rules in FILE, or those of the configuration",
		Example: "  gateway policy check\n  gateway policy check new-policy.hcl", Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.loadConfig()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				cfg.Policy = args[0]
			}
			p, err := rules{cfg}.Load()
			if err != nil {
				return err
			}
			out := admin.Applied{Hash: p.Hash()}
			if out.Warnings, err = c.warnings(cmd.Context(), cfg, p); err != nil {
				return err
			}
			return c.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "%s is good (%s)\n", tilde(cfg.Policy), p.Hash())
				showWarnings(w, out.Warnings)
			})
		},
	}
}

// warnings are those of a policy, with the groups that nobody is in, if there is a store yet to
// say so.
func (c *cli) warnings(ctx context.Context, cfg *config.Config, p *policies.Policy) ([]policies.Warning, error) {
	if _, err := os.Stat(filepath.Join(cfg.State, "gateway.db")); err != nil {
		return p.Warnings(), nil
	}
	out, err := ask[admin.Applied](ctx, c, "policy.check", admin.Policy{Name: filepath.Base(cfg.Policy), Source: string(p.Source())})
	return out.Warnings, err
}

func showWarnings(w io.Writer, warnings []policies.Warning) {
	for _, warning := range warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
}

func (c *cli) policyExplain() *cobra.Command {
	var user, protocol, channel, listener, from, method, proven, client, at string
	var groups []string
	var act actFlags
	var seq int64
	cmd := &cobra.Command{
		Use: "explain", Short: "Say what the rules decide, by which statement, and what would be allowed",
		Example: `  gateway policy explain --user alice --protocol ftp --channel plain --from 192.0.2.7
  gateway policy explain --user scanner --protocol ftp --channel plain --from 10.20.0.9 --at 2027-07-01
  gateway policy explain --protocol relay --channel plain --from 10.20.3.17
  gateway policy explain --user alice --protocol sftp --from 192.0.2.7 --operation read --path /hr/pay.csv
  gateway policy explain --seq 4711`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("seq") {
				for _, flag := range append([]string{"user", "group", "protocol", "channel", "listener", "from", "method", "proven", "client", "at"}, actFlagNames()...) {
					if cmd.Flags().Changed(flag) {
						return usage("--seq is a login of the record, of which all is known: leave out --%s", flag)
					}
				}
				return c.explainRecorded(cmd, seq)
			}
			q := admin.Question{User: user, Protocol: session.Protocol(protocol), Listener: listener, Method: session.Method(method)}
			if user == "" && protocol == string(session.Relay) && (method == "" || method == string(session.MethodDevice)) {
				q.Method = session.MethodDevice // nobody logs in there but devices
			} else if user == "" || protocol == "" || from == "" {
				return usage("say who comes how and from where: --user, --protocol and --from are needed; without --user only for --protocol relay")
			}
			var err error
			if q.From, err = netip.ParseAddr(from); err != nil {
				return usage("--from %q is not an IP address", from)
			}
			if channel == "" {
				channel = map[string]string{"sftp": "ssh"}[protocol]
			}
			if err := q.Channel.UnmarshalText([]byte(channel)); err != nil {
				return usage("--channel: %v", err)
			}
			if err := oneOf("protocol", protocol, "ftp", "sftp", "submission", "relay"); err != nil {
				return err
			}
			if err := oneOf("method", method, "", "password", "publickey", "keyboard-interactive", "scram", "token", "device"); err != nil {
				return err
			}
			if err := q.Proven.UnmarshalText([]byte(proven)); err != nil {
				return usage("--proven: %v", err)
			}
			if err := q.Client.UnmarshalText([]byte(client)); err != nil {
				return usage("--client %q is not one of %s", client, strings.Join(session.ClientWords(), ", "))
			}
			if q.At, err = parseAt(at); err != nil {
				return err
			}
			if cmd.Flags().Changed("group") {
				q.Groups = &groups
			}
			if q.Act, err = act.read(cmd, q.Channel); err != nil {
				return err
			}
			e, err := ask[policies.Explanation](cmd.Context(), c, "policy.explain", q)
			if err != nil {
				return err
			}
			return c.print(e, func(w io.Writer) { _ = e.WriteText(w) })
		},
	}
	f := cmd.Flags()
	f.Int64Var(&seq, "seq", 0, "the login with that `NUMBER` in the record, by the rules that were in force then")
	f.StringVar(&user, "user", "", "who logs in; leave it out for a device that does not (relay)")
	f.StringArrayVar(&groups, "group", nil, "as if the user were in this `GROUP` (may be repeated); default: the account's own")
	f.StringVar(&protocol, "protocol", "", "ftp, sftp, submission or relay")
	f.StringVar(&channel, "channel", "", "plain, tls or ssh")
	f.StringVar(&listener, "listener", "", "name of the listener")
	f.StringVar(&from, "from", "", "where from, an IP `ADDRESS`")
	f.StringVar(&method, "method", "", "password, publickey, keyboard-interactive, scram or token")
	f.StringVar(&proven, "proven", "", "all that was `PROVEN`, such as publickey+password or password+code (default: what the method proves)")
	f.StringVar(&client, "client", session.ClientUnknown.String(), "with what `SOFTWARE`: winscp, curl, openssh and so on")
	f.StringVar(&at, "at", "", "when: `TIME` as 2027-07-01 or 2027-07-01T08:00:00Z (default: now)")
	act.add(cmd)
	for flag, values := range map[string][]string{
		"protocol": {"ftp", "sftp", "submission", "relay"}, "channel": {"plain", "tls", "ssh"},
		"method": {"password", "publickey", "keyboard-interactive", "scram", "token"}, "client": session.ClientWords(),
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

// oneOf refuses a flag's value that is not among words.
func oneOf(flag, value string, words ...string) error {
	for _, w := range words {
		if value == w {
			return nil
		}
	}
	return usage("--%s is %q; want one of %s", flag, value, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ", "))
}

// parseAt reads a time, or a date as its first moment, in UTC.
func parseAt(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, usage("--at %q is not a time such as 2027-07-01 or 2027-07-01T08:00:00Z", s)
}

func (c *cli) policyApply() *cobra.Command {
	var confirm time.Duration
	var force bool
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Check the rules in FILE, make them the policy, and put them in force",
		Long: `Check the rules in FILE, make them the policy, and put them in force. Sessions that they
would not let in end. What is not right leaves the rules of before in force, and so do, without
--force, rules that let in nobody, or nobody of a group that settings { administrators } names.

With --confirm they go back by themselves after that time, also over a restart, unless
'gateway policy confirm' comes before: for rules that may turn out to be wrong while
nobody looks. Changing the policy otherwise meanwhile confirms nothing and takes nothing back.`,
		Example: "  gateway policy apply new-policy.hcl\n  gateway policy apply new-policy.hcl --confirm 10m", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("confirm") && confirm <= 0 {
				return usage("--confirm %v is no time to wait, such as 10m", confirm)
			}
			source, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read the new policy: %w", err)
			}
			applied, err := ask[admin.Applied](cmd.Context(), c, "policy.apply", admin.Policy{Name: filepath.Base(args[0]), Source: string(source), Confirm: confirm, Force: force})
			if err != nil {
				return err
			}
			return c.print(applied, func(w io.Writer) {
				when := "in force for every connection from now on"
				if !applied.Running {
					when = "in force at the next start: the gateway is not running"
				}
				fmt.Fprintf(w, "%s, %s\n", applied.Hash, when)
				if !applied.Until.IsZero() {
					fmt.Fprintf(w, "At %s those of before come back, unless you say: gateway policy confirm\n", applied.Until.Format("2006-01-02 15:04:05 MST"))
				}
				showWarnings(w, applied.Warnings)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also rules that lock out everybody, or the administrators")
	cmd.Flags().DurationVar(&confirm, "confirm", 0, "go back after that time, such as 10m, unless it is confirmed")
	return cmd
}

func (c *cli) policyConfirm() *cobra.Command {
	return &cobra.Command{
		Use: "confirm", Short: "Keep the rules that are in force on trial, by 'apply --confirm'",
		Example: "  gateway policy confirm", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			applied, err := ask[admin.Applied](cmd.Context(), c, "policy.confirm", admin.Nothing{})
			if err != nil {
				return err
			}
			return c.print(applied, func(w io.Writer) { fmt.Fprintf(w, "%s stays in force\n", applied.Hash) })
		},
	}
}

func (c *cli) policyFmt() *cobra.Command {
	return &cobra.Command{
		Use: "fmt [FILE]", Short: "Write FILE, or the policy of the configuration, in the usual layout",
		Example: "  gateway policy fmt policy.hcl", Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := c.loadConfig()
			if len(args) == 0 && err != nil {
				return err
			}
			path := ""
			if len(args) == 1 {
				path = args[0]
			} else {
				path = cfg.Policy
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			formatted, err := policies.Format(source, path)
			if err != nil {
				return err
			}
			changed := string(formatted) != string(source)
			if changed {
				if err := os.WriteFile(path, formatted, 0o600); err != nil {
					return err
				}
			}
			return c.print(map[string]any{"file": path, "changed": changed}, func(w io.Writer) {
				if changed {
					fmt.Fprintf(w, "formatted %s\n", tilde(path))
				}
			})
		},
	}
}
