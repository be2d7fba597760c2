package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/config"
	"gateway/policies"
)

// checked is what check found good.
type checked struct {
	Config    string             `json:"config"`
	Policy    string             `json:"policy"`
	Hash      string             `json:"hash"`
	Listeners []admin.Listener   `json:"listeners"`
	Warnings  []policies.Warning `json:"warnings,omitempty"`
	// Running says that a gateway runs on this state, so that ports and state were
	// not tried.
	Running bool `json:"running"`
}

func (c *cli) checkCommand() *cobra.Command {
	var mail string
	var flags domainFlags
	cmd := &cobra.Command{
		Use: "check", Short: "Say what 'run' would say, without running; with --mail what the DNS says of a mail domain",
		Long: `Read the configuration and the policy, open state, keys and certificates, and try
every address, as 'gateway run' would. While a gateway runs on the same state, only
the files are checked.

With --mail compare what the DNS says of a domain with what it should ('gateway mail
dns'), and evaluate its SPF record for the addresses that mail leaves from. The exit
status is 1 when something has to be done.`,
		Example: "  gateway --config /etc/gateway/gateway.hcl check\n  gateway check --mail example.com", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if mail == "" && (len(flags.addresses) > 0 || flags.resolver != "") {
				return usage("--address and --resolver are about --mail")
			}
			cfg, err := c.loadConfig()
			if err != nil {
				return err
			}
			if mail != "" {
				return c.checkMail(cmd.Context(), cfg, mail, &flags)
			}
			p, err := rules{cfg}.Load()
			if err != nil {
				return err
			}
			out := checked{Config: cfg.File, Policy: cfg.Policy, Hash: p.Hash()}
			if out.Warnings, err = c.warnings(cmd.Context(), cfg, p); err != nil {
				return err
			}
			for _, w := range cfg.Warnings(config.HostAddresses()) {
				out.Warnings = append(out.Warnings, policies.Warning(w))
			}
			if client, err := admin.Dial(cmd.Context(), socketPath(cfg)); err == nil {
				status, err := admin.Call[admin.Status](cmd.Context(), client, "node.status", admin.Nothing{})
				if err := errors.Join(err, client.Close()); err != nil {
					return err
				}
				out.Running, out.Listeners = true, status.Listeners
			} else {
				log := newLog(cfg.Log, c.stderr)
				n, err := openNode(cmd.Context(), cfg, log)
				if err != nil {
					return err
				}
				out.Listeners = n.Status().Listeners
				if err := n.close(); err != nil {
					return err
				}
			}
			return c.print(out, func(w io.Writer) { showChecked(w, out) })
		},
	}
	cmd.Flags().StringVar(&mail, "mail", "", "the `DOMAIN` whose mail records are to be checked, and nothing else")
	flags.add(cmd)
	return cmd
}

func showChecked(w io.Writer, out checked) {
	fmt.Fprintf(w, "configuration  %s is good\npolicy         %s is good\n", tilde(out.Config), tilde(out.Policy))
	for _, l := range out.Listeners {
		fmt.Fprintf(w, "listener       %-12s %-10s %s, tls %s\n", l.Name, l.Protocol, l.Address, l.TLS)
	}
	showWarnings(w, out.Warnings)
	if out.Running {
		fmt.Fprintln(w, "A gateway runs on this state now, so ports and state were not tried.")
	}
}
