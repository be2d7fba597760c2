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
				for _, k := range keys.NextHostKeys {
					fmt.Fprintf(w, "SSH host key  %s, from %s\n", k, keys.Takeover.Local().Format(time.DateTime))
				}
			})
		},
	}
	var authority, hostKeys bool
	show := &cobra.Command{
		Use: "show", Short: "Show the certificate in PEM; with --ca that of the internal authority, with --ssh the host keys",
		Long: `Show the certificate that clients are shown, in PEM; with --ca that of the internal
authority. With --ssh show the SSH host keys: their fingerprints, their SSHFP records
for DNS, and their lines for a known_hosts file.`,
		Example: `  gateway cert show --ca > gateway-ca.pem && curl --cacert gateway-ca.pem --ssl-reqd ftp://files.example.com/
  gateway cert show --ssh`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hostKeys && authority {
				return usage("say --ca or --ssh")
			}
			if hostKeys {
				return c.showHostKeys(cmd, "hostkey.list", admin.Nothing{})
			}
			shown, err := ask[admin.PEM](cmd.Context(), c, "cert.show", admin.CertQuery{Authority: authority})
			if err != nil {
				return err
			}
			return c.print(shown, func(w io.Writer) { fmt.Fprint(w, shown.PEM) })
		},
	}
	show.Flags().BoolVar(&authority, "ca", false, "the certificate of the internal authority, for clients to trust")
	show.Flags().BoolVar(&hostKeys, "ssh", false, "the SSH host keys: fingerprints, SSHFP records, known_hosts")
	var newHostKeys, now bool
	renew := &cobra.Command{
		Use: "renew", Short: "Take the certificate anew: read its files again, or renew it; with --host-keys make new SSH host keys",
		Long: `Take the certificate anew: read its files again, or renew it.

With --host-keys make new SSH host keys. The old ones serve on for sftp host_key_overlap
(30 days), in which clients that can (OpenSSH with UpdateHostKeys) learn the new ones;
then those take over. With --now they take over at once: for when an old one is known
to others. Clients that did not learn them then warn of a changed host key.`,
		Example: "  gateway cert renew\n  gateway cert renew --host-keys", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if newHostKeys {
				return c.showHostKeys(cmd, "hostkey.renew", admin.HostKeyRenewal{Now: now})
			}
			if now {
				return usage("--now is about --host-keys")
			}
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
	renew.Flags().BoolVar(&newHostKeys, "host-keys", false, "make new SSH host keys, which take over later")
	renew.Flags().BoolVar(&now, "now", false, "with --host-keys: they, or those made before, take over at once")
	return group("cert", "TLS certificates and SSH host keys", "  gateway cert show --ca", list, show, renew)
}

// showHostKeys asks for the host keys, or for new ones, and shows them.
func (c *cli) showHostKeys(cmd *cobra.Command, method string, in any) error {
	list, err := ask[[]certs.HostKeyInfo](cmd.Context(), c, method, in)
	if err != nil {
		return err
	}
	cfg, err := c.loadConfig()
	if err != nil {
		return err
	}
	return c.print(list, func(w io.Writer) {
		for _, k := range list {
			from := ""
			if k.From != nil {
				from = ", from " + k.From.Local().Format(time.DateTime)
			}
			fmt.Fprintf(w, "%s %s%s\n", k.Type, k.Fingerprint, from)
		}
		fmt.Fprintln(w, "\n; DNS, in a zone that is signed")
		for _, k := range list {
			fmt.Fprintf(w, "%s. IN SSHFP %s\n", cfg.Hostname, k.SSHFP)
		}
		fmt.Fprintln(w, "\n# known_hosts; [NAME]:PORT for a port other than 22")
		for _, k := range list {
			fmt.Fprintf(w, "%s %s\n", cfg.Hostname, k.PublicKey)
		}
	})
}
