package main

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/auth"
	"gateway/session"
)

func (c *cli) tokenCommand() *cobra.Command {
	remove := &cobra.Command{
		Use: "remove NAME ID", Short: "Remove a token, and end the account's sessions",
		Example: "  gateway token remove alice 3f9a01bc", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := ask[admin.User](cmd.Context(), c, "token.remove", admin.NameValue{Name: args[0], Value: args[1]})
			if err != nil {
				return err
			}
			return c.print(user, func(w io.Writer) { fmt.Fprintf(w, "removed token %s of %s\n", args[1], args[0]) })
		},
	}
	return group("token", "App tokens: one for each program or device, in the place of a password",
		"  gateway token add alice --protocol submission --sender alice@example.com --label laptop", c.tokenAdd(), c.tokenList(), remove)
}

func (c *cli) tokenAdd() *cobra.Command {
	var in admin.NewToken
	var protocols, networks []string
	var expires string
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Make a token for an account, and show it this once",
		Long: `Make a token for one program or device of an account, and show it this once. It is
typed where a password is asked for, with the name of the account, and is good for
the protocols, senders and networks that it was made for. It cannot change the
account, outlives its password, and can be removed alone. In the rules of the
policy its method is "token".`,
		Example: `  gateway token add alice --protocol submission --sender alice@example.com --label laptop
  gateway token add scanner --protocol ftp --from 10.20.3.17 --expires 365d`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			in.Name = args[0]
			if len(protocols) == 0 {
				return usage("say what it is good for: --protocol ftp, sftp, submission or relay")
			}
			for _, p := range protocols {
				if err := oneOf("protocol", p, "ftp", "sftp", "submission", "relay"); err != nil {
					return err
				}
				in.Token.Protocols = append(in.Token.Protocols, session.Protocol(p))
			}
			for _, text := range networks {
				n, err := parseFrom(text)
				if err != nil {
					return usage("--from: %v", err)
				}
				in.Token.Networks = append(in.Token.Networks, n)
			}
			if expires != "" {
				if in.Token.Expires, err = parseExpires(expires, time.Now()); err != nil {
					return err
				}
			}
			made, err := ask[admin.MadeToken](cmd.Context(), c, "token.add", in)
			if err != nil {
				return err
			}
			return c.print(made, func(w io.Writer) {
				fmt.Fprintf(w, "token      %s\nid         %s\ngood for   %s\n", made.Text, made.ID, tokenScope(made.Token))
				fmt.Fprintf(w, "It is not shown again: log in as %s with it as the password.\n", args[0])
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&protocols, "protocol", nil, "what it is good for: ftp, sftp, submission or relay (may be repeated)")
	f.StringArrayVar(&in.Token.Senders, "sender", nil, "the only `ADDRESS` that mail may be sent as with it (may be repeated; default: all of the account's)")
	f.StringArrayVar(&networks, "from", nil, "the only `NETWORK` or address that it may be used from (may be repeated; default: anywhere)")
	f.StringVar(&expires, "expires", "", "when it ends: `TIME` as 2027-07-01, 2027-07-01T08:00:00Z, or 90d, 12h from now (default: never)")
	f.StringVar(&in.Token.Label, "label", "", "what it is for, as a `TEXT` for people")
	_ = cmd.RegisterFlagCompletionFunc("protocol", cobra.FixedCompletions([]string{"ftp", "sftp", "submission", "relay"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *cli) tokenList() *cobra.Command {
	return &cobra.Command{
		Use: "list NAME", Short: "List an account's tokens, and when they were used", Example: "  gateway token list alice", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := ask[admin.User](cmd.Context(), c, "user.show", admin.Name{Name: args[0]})
			if err != nil {
				return err
			}
			return c.print(orEmpty(user.Tokens), func(w io.Writer) {
				if len(user.Tokens) == 0 {
					fmt.Fprintf(w, "%[1]s has no tokens: gateway token add %[1]s --protocol submission\n", user.Name)
					return
				}
				var rows [][]string
				for _, t := range user.Tokens {
					rows = append(rows, []string{t.ID, visible(t.Label), tokenScope(t), t.Added.Format("2006-01-02"), tokenUse(t)})
				}
				table(w, []string{"ID", "LABEL", "GOOD FOR", "ADDED", "USED"}, rows)
			})
		},
	}
}

// tokenScope says what a token is good for.
func tokenScope(t auth.Token) string {
	words := make([]string, 0, len(t.Protocols))
	for _, p := range t.Protocols {
		words = append(words, string(p))
	}
	text := strings.Join(words, ",")
	if len(t.Senders) > 0 {
		text += " as " + strings.Join(t.Senders, ",")
	}
	for i, n := range t.Networks {
		text += map[bool]string{true: " from ", false: ","}[i == 0] + n.String()
	}
	if !t.Expires.IsZero() {
		text += " until " + t.Expires.Format("2006-01-02 15:04")
	}
	return text
}

func tokenUse(t auth.Token) string {
	if t.Used.IsZero() {
		return "never"
	}
	return t.Used.Format("2006-01-02 15:04") + " from " + t.UsedFrom
}

// parseFrom takes a network, or one address.
func parseFrom(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	n, err := netip.ParsePrefix(text)
	if err != nil || n != n.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q is not a network such as 10.20.0.0/16, or an address", text)
	}
	return n, nil
}

// parseExpires takes a time, or how long from now, in days too.
func parseExpires(text string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return now.AddDate(0, 0, int(n)), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("--expires %q: want 2027-07-01, 2027-07-01T08:00:00Z, or a time from now such as 90d or 12h", text)
}
