package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gateway/config"
)

func (c *cli) configCommand() *cobra.Command {
	reference := &cobra.Command{
		Use: "reference", Short: "Print every setting of gateway.hcl with its default", Example: "  gateway config reference > docs/config.md", Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return c.print(map[string]string{"markdown": config.Reference()}, func(w io.Writer) { fmt.Fprint(w, config.Reference()) })
		},
	}
	return group("config", "The configuration file", "  gateway config reference", reference)
}
