package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/auth"
)

func (c *cli) authCommand() *cobra.Command {
	return group("auth", "How accounts prove who they are", "  gateway auth test alice", c.authTest())
}

func (c *cli) authTest() *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{
		Use: "test NAME", Short: "Try a password of an account, and say who answers for it",
		Long: `Try a password of an account, and say who answers for it: the store, a source of
gateway.hcl for a name that the store does not have, or an old_server that is asked because
the account has no password here. Each source is shown in its order, with what it says.
Nothing is stored of it, and the rules have no part in it (gateway policy explain). That it
was tried is recorded.`,
		Example: "  gateway auth test alice\n  gateway auth test alice --password-stdin < password", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := c.password(fromStdin, "Password for "+args[0]+": ")
			if err != nil {
				return err
			}
			t, err := ask[auth.PasswordTest](cmd.Context(), c, "auth.test", admin.Passwd{Name: args[0], Password: password})
			if err != nil {
				return err
			}
			if err := c.print(t, func(w io.Writer) { showTest(w, t) }); err != nil {
				return err
			}
			if !t.Right || !t.Usable {
				return errors.New("this password lets nobody in")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from the first line of standard input")
	return cmd
}

func showTest(w io.Writer, t auth.PasswordTest) {
	answer := "wrong"
	if t.Right {
		answer = "right"
	}
	if t.By == "" {
		answer = "nobody answers"
	}
	fmt.Fprintf(w, "%s: %s: %s\n", t.User, answer, t.Why)
	if t.Exists && !t.Usable {
		fmt.Fprintln(w, "The account is disabled or has expired, or its source does not say now that it may be used.")
	}
	if len(t.Sources) == 0 {
		return
	}
	rows := [][]string{{"1", "store", "has no such account"}}
	if t.By == "store" || t.Exists && !slices.ContainsFunc(t.Sources, func(s auth.SourceTest) bool { return s.Name == t.By }) {
		rows[0][2] = "has the account"
	}
	for i, s := range t.Sources {
		rows = append(rows, []string{fmt.Sprint(i + 2), s.Name, s.Answer})
	}
	table(w, []string{"", "ASKED", "ANSWER"}, rows)
}
