package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"gateway/admin"
)

func (c *cli) exportCommand() *cobra.Command {
	return group("export", "Hand accounts to another gateway", "  gateway export users --hashes > users.json", c.exportUsers())
}

func (c *cli) exportUsers() *cobra.Command {
	var in admin.Export
	cmd := &cobra.Command{
		Use: "users", Short: "Print all accounts, for another gateway to import",
		Long: `Print all accounts as JSON: groups, folders, limits, keys, mail addresses. With --hashes
the hashes of their passwords too: whoever has those can guess at them, so keep the output
from others. Second factors and tokens stay here, and so do certificates of TLS clients.
That it was asked for is recorded.

  gateway import gateway users.json      on the other gateway`,
		Example: "  gateway export users > users.json\n  gateway export users --hashes > users.json", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			users, err := ask[[]admin.ExportedUser](cmd.Context(), c, "user.export", in)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(c.stdout)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			return enc.Encode(map[string]any{"gateway": 1, "users": users})
		},
	}
	cmd.Flags().BoolVar(&in.Hashes, "hashes", false, "with the hashes of their passwords")
	return cmd
}
