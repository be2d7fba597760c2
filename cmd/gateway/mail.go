package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/config"
	"gateway/smtp/dkim"
	"gateway/smtp/maildns"
)

func (c *cli) mailCommand() *cobra.Command {
	return group("mail", "Mail domains: DKIM keys, and what the DNS has to say", "  gateway mail dns example.com", c.mailDNSCommand(), c.mailKeyCommand())
}

// domainFlags say what is to be known of a domain besides its keys.
type domainFlags struct {
	addresses []string
	mx        []string
	reports   string
	resolver  string
}

func (f *domainFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.addresses, "address", nil, "an `IP` address from which mail leaves, if it is not one of the host name's (may be repeated)")
	cmd.Flags().StringVar(&f.resolver, "resolver", "", "the DNS server to ask, `IP[:PORT]` (default that of the system)")
}

// domain is what is known of a domain. The keys come from the gateway.
func (c *cli) domain(ctx context.Context, cfg *config.Config, name string, f *domainFlags) (maildns.Domain, error) {
	canonical, err := dkim.Canonical(name)
	if err != nil {
		return maildns.Domain{}, usage("%v", err)
	}
	d := maildns.Domain{Name: canonical, Hostname: cfg.Hostname, MX: f.mx, Reports: f.reports}
	for _, text := range f.addresses {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return d, usage("--address %q is not an IP address", text)
		}
		d.Addresses = append(d.Addresses, a)
	}
	if route, err := url.Parse(cfg.Mail.DefaultRoute.String()); err == nil && (route.Scheme == "smtp" || route.Scheme == "smtps") {
		d.SmartHost = route.Hostname()
	}
	d.Keys, err = ask[[]dkim.Key](ctx, c, "mail.key.list", admin.Domain{Domain: canonical})
	return d, err
}

// dns is the resolver that is asked.
func (f *domainFlags) dns() (maildns.Resolver, error) {
	if f.resolver == "" {
		return net.DefaultResolver, nil
	}
	server := f.resolver
	if a, err := netip.ParseAddr(server); err == nil {
		server = netip.AddrPortFrom(a, 53).String()
	}
	if _, err := netip.ParseAddrPort(server); err != nil {
		return nil, usage("--resolver %q is not IP or IP:PORT", f.resolver)
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}, nil
}

// dnsTimeout bounds all that one command asks the DNS.
const dnsTimeout = 30 * time.Second

// published is what dns prints.
type published struct {
	Domain  string           `json:"domain"`
	Records []maildns.Record `json:"records"`
	// Policy is to be published at PolicyURL, for MTA-STS. Both are empty if it is not
	// known who receives the domain's mail.
	Policy    string `json:"mta_sts_policy,omitempty"`
	PolicyURL string `json:"mta_sts_url,omitempty"`
}

func (c *cli) mailDNSCommand() *cobra.Command {
	var flags domainFlags
	cmd := &cobra.Command{
		Use: "dns DOMAIN", Short: "Print the DNS records of a mail domain, ready to paste",
		Long: `Print what the DNS should hold for a domain whose mail leaves through the gateway, as
lines of a zone file: DKIM, SPF and DMARC, and for the mail that the domain receives
MTA-STS, with its policy, and TLSRPT. The MX of the domain are looked up for the
policy, or given by --mx. What is there already: 'gateway check --mail DOMAIN'.`,
		Example: "  gateway mail dns example.com\n  gateway mail dns example.com --address 192.0.2.25 --reports dmarc@example.com",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			cfg, err := c.loadConfig()
			if err != nil {
				return err
			}
			resolver, err := flags.dns()
			if err != nil {
				return err
			}
			d, err := c.domain(cmd.Context(), cfg, args[0], &flags)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), dnsTimeout)
			defer cancel()
			var unknown error
			if len(d.MX) == 0 {
				d.MX, unknown = maildns.MX(ctx, resolver, d.Name)
			}
			out := published{Domain: d.Name, Records: d.Records(), Policy: d.Policy()}
			if out.Policy != "" {
				out.PolicyURL = d.PolicyURL()
			}
			return c.print(out, func(w io.Writer) { showPublished(w, d, out, unknown) })
		},
	}
	flags.add(cmd)
	cmd.Flags().StringSliceVar(&flags.mx, "mx", nil, "a `HOST` that receives the domain's mail, for MTA-STS (may be repeated; default the MX in the DNS)")
	cmd.Flags().StringVar(&flags.reports, "reports", "", "the `ADDRESS` for reports of DMARC and TLSRPT (default postmaster of the domain)")
	return cmd
}

// check refuses what would break a record.
func (f *domainFlags) check() error {
	if bad := strings.IndexFunc(f.reports, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`",;!\`, r) }); bad >= 0 || f.reports != "" && strings.Count(f.reports, "@") != 1 {
		return usage("--reports %q is not a mail address such as dmarc@example.com", f.reports)
	}
	for i, host := range f.mx {
		name, err := dkim.Canonical(strings.TrimPrefix(host, "*."))
		if err != nil {
			return usage("--mx: %v", err)
		}
		if strings.HasPrefix(host, "*.") {
			name = "*." + name
		}
		f.mx[i] = name
	}
	return nil
}

func showPublished(w io.Writer, d maildns.Domain, out published, unknown error) {
	if len(d.Keys) == 0 {
		fmt.Fprintf(w, "; No DKIM: mail of the domain is not signed. Make keys with 'gateway mail key add %s'.\n", d.Name)
	}
	for _, r := range out.Records {
		fmt.Fprintf(w, "; %s", r.Kind)
		if r.Note != "" {
			fmt.Fprintf(w, " (%s)", r.Note)
		}
		fmt.Fprintf(w, "\n%s\n", r.Zone())
	}
	switch {
	case out.Policy != "":
		fmt.Fprintf(w, "\n; The MTA-STS policy, at %s\n", out.PolicyURL)
		for line := range strings.Lines(out.Policy) {
			fmt.Fprintf(w, "; %s\n", strings.TrimRight(line, "\r\n"))
		}
	case unknown != nil:
		fmt.Fprintf(w, "\n; No MTA-STS: the MX of the domain could not be looked up (%v). Say them by --mx.\n", unknown)
	default:
		fmt.Fprintln(w, "\n; No MTA-STS: the domain has no MX. Say by --mx who receives its mail.")
	}
}

// mailFindings is what check --mail prints.
type mailFindings struct {
	Domain   string            `json:"domain"`
	Good     bool              `json:"good"`
	Findings []maildns.Finding `json:"findings"`
}

// errMailDNS is a domain whose records are not as they should be. What is wrong with
// them was printed.
var errMailDNS = errors.New("the DNS is not as it should be")

// checkMail compares the DNS with what should be in it.
func (c *cli) checkMail(ctx context.Context, cfg *config.Config, domain string, flags *domainFlags) error {
	resolver, err := flags.dns()
	if err != nil {
		return err
	}
	d, err := c.domain(ctx, cfg, domain, flags)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	d.MX, _ = maildns.MX(ctx, resolver, d.Name) // without them MTA-STS is only looked at
	out := mailFindings{Domain: d.Name, Good: true, Findings: maildns.Check(ctx, resolver, d)}
	wrong := 0
	for _, f := range out.Findings {
		if f.Wrong() {
			out.Good = false
			wrong++
		}
	}
	if err := c.print(out, func(w io.Writer) { showFindings(w, out) }); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%s: %w, in %d of %d points", d.Name, errMailDNS, wrong, len(out.Findings))
	}
	return nil
}

func showFindings(w io.Writer, out mailFindings) {
	for _, f := range out.Findings {
		status := string(f.Status)
		if f.Status == maildns.Missing && f.Optional {
			status = "not used"
		}
		fmt.Fprintf(w, "%-8s %-9s %s\n", f.Kind, status, f.Name)
		if f.Advice != "" {
			fmt.Fprintf(w, "         %s\n", visible(f.Advice))
		}
		if f.Status == maildns.OK {
			continue
		}
		if f.Value != "" {
			fmt.Fprintf(w, "         should be  %s\n", f.Value)
		}
		for _, found := range f.Found {
			fmt.Fprintf(w, "         is         %s\n", visible(found))
		}
	}
}
