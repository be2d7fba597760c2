package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gateway/admin"
)

func (c *cli) policyShadow() *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use: "shadow [FILE]", Short: "Have the rules in FILE decide beside those in force, for the record only",
		Long: `Have the rules in FILE decide beside those in force. They are never applied. A login that is
let in and that they would refuse has their statement in would_refuse of its record, named
after the file shadow.hcl. It survives a restart. Without FILE it says whether there are any.`,
		Example: "  gateway policy shadow new-policy.hcl\n  gateway audit query --event login --json | grep shadow.hcl\n  gateway policy shadow --off",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if off && len(args) > 0 {
				return usage("either FILE or --off")
			}
			var out admin.Shadow
			var err error
			switch {
			case off:
				out, err = ask[admin.Shadow](cmd.Context(), c, "policy.shadow.set", admin.Policy{})
			case len(args) == 1:
				var source []byte
				if source, err = os.ReadFile(args[0]); err != nil {
					return fmt.Errorf("read the rules: %w", err)
				}
				if len(source) == 0 {
					return usage("%s is empty; to end it: gateway policy shadow --off", args[0])
				}
				out, err = ask[admin.Shadow](cmd.Context(), c, "policy.shadow.set", admin.Policy{Name: filepath.Base(args[0]), Source: string(source)})
			default:
				out, err = ask[admin.Shadow](cmd.Context(), c, "policy.shadow", admin.Nothing{})
			}
			if err != nil {
				return err
			}
			return c.print(out, func(w io.Writer) { showShadow(w, out) })
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, "end it")
	return cmd
}

func showShadow(w io.Writer, s admin.Shadow) {
	switch {
	case s.Hash == "":
		fmt.Fprintln(w, "No rules are asked beside those in force.")
	case s.Running:
		fmt.Fprintf(w, "%s is asked for every login, and only recorded\n", s.Hash)
	default:
		fmt.Fprintf(w, "%s is asked, and only recorded, from the next start on: the gateway is not running\n", s.Hash)
	}
	showWarnings(w, s.Warnings)
}
