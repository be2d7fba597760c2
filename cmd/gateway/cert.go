package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/certs"
)

func (c *cli) certCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the TLS certificates and SSH host keys", Example: "  gateway cert list", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := ask[admin.Keys](cmd.Context(), c, "cert.list", admin.Nothing{})
			if err != nil {
				return err
			}
			return c.print(keys, func(w io.Writer) {
				var rows [][]string
				for _, k := range keys.Certificates {
					rows = append(rows, []string{strings.Join(k.Names, ","), k.Source, k.NotAfter.Local().Format(time.DateOnly), k.Issuer})
				}
				table(w, []string{"NAMES", "FROM", "UNTIL", "ISSUER"}, rows)
				for _, k := range keys.HostKeys {
					fmt.Fprintf(w, "SSH host key  %s\n", k)
				}
			})
		},
	}
	var authority bool
	show := &cobra.Command{
		Use: "show", Short: "Show the certificate in PEM; with --ca that of the internal authority",
		Example: "  gateway cert show --ca > gateway-ca.pem && curl --cacert gateway-ca.pem --ssl-reqd ftp://files.example.com/", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			shown, err := ask[admin.PEM](cmd.Context(), c, "cert.show", admin.CertQuery{Authority: authority})
			if err != nil {
				return err
			}
			return c.print(shown, func(w io.Writer) { fmt.Fprint(w, shown.PEM) })
		},
	}
	show.Flags().BoolVar(&authority, "ca", false, "the certificate of the internal authority, for clients to trust")
	renew := &cobra.Command{
		Use: "renew", Short: "Take the certificate anew: read its files again, or renew it", Example: "  gateway cert renew", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask[[]certs.Info](cmd.Context(), c, "cert.renew", admin.Nothing{})
			if err != nil {
				return err
			}
			return c.print(list, func(w io.Writer) {
				for _, k := range list {
					fmt.Fprintf(w, "%s valid until %s\n", strings.Join(k.Names, ","), k.NotAfter.Local().Format(time.DateTime))
				}
			})
		},
	}
	return group("cert", "TLS certificates and SSH host keys", "  gateway cert show --ca", list, show, renew)
}
