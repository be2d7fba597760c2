package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/smtp/dkim"
	"gateway/smtp/maildns"
)

func (c *cli) mailKeyCommand() *cobra.Command {
	return group("key", "DKIM keys: a domain that has them gets its mail signed", "  gateway mail key add example.com",
		c.mailKeyAdd(), c.mailKeyList(), c.mailKeyRotate(), c.mailKeyRemove())
}

func (c *cli) mailKeyAdd() *cobra.Command {
	var selector, algorithm string
	cmd := &cobra.Command{
		Use: "add DOMAIN", Short: "Make DKIM keys for a domain, and sign its mail from now on",
		Long: `Make DKIM keys for a domain, one of RSA and one of Ed25519, and sign by them all mail
whose From is in the domain, or in one below it that has no keys of its own. Until the
printed records are published, receivers take the mail for unsigned.`,
		Example: "  gateway mail key add example.com\n  gateway mail key add example.com --algorithm rsa --selector 2026a",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := admin.NewDomainKeys{Domain: args[0], Selector: selector, Algorithms: dkim.Algorithms()}
			switch algorithm {
			case "both":
			case string(dkim.RSA), string(dkim.Ed25519):
				in.Algorithms = []dkim.Algorithm{dkim.Algorithm(algorithm)}
			default:
				return usage("--algorithm is %q; want rsa, ed25519 or both", algorithm)
			}
			keys, err := ask[[]dkim.Key](cmd.Context(), c, "mail.key.add", in)
			if err != nil {
				return err
			}
			return c.print(keys, func(w io.Writer) {
				fmt.Fprintln(w, "; Mail of the domain is signed from now on. Publish these records:")
				showKeyRecords(w, keys)
			})
		},
	}
	cmd.Flags().StringVar(&selector, "selector", "", "the `NAME` of the key in the DNS; of several, how their names begin (default the day)")
	cmd.Flags().StringVar(&algorithm, "algorithm", "both", "rsa, ed25519 or both")
	return cmd
}

func showKeyRecords(w io.Writer, keys []dkim.Key) {
	for _, k := range keys {
		fmt.Fprintln(w, maildns.Record{Name: k.Name, Value: k.Record}.Zone())
	}
}

func (c *cli) mailKeyList() *cobra.Command {
	return &cobra.Command{
		Use: "list [DOMAIN]", Short: "List the DKIM keys", Example: "  gateway mail key list", Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := ask[[]dkim.Key](cmd.Context(), c, "mail.key.list", admin.Domain{Domain: strings.Join(args, "")})
			if err != nil {
				return err
			}
			return c.print(keys, func(w io.Writer) {
				if len(keys) == 0 {
					fmt.Fprintln(w, "There are no DKIM keys: no mail is signed.")
					return
				}
				var rows [][]string
				for _, k := range keys {
					rows = append(rows, []string{k.Domain, k.Selector, string(k.Algorithm), string(k.State), k.Since.Local().Format(time.DateOnly)})
				}
				table(w, []string{"DOMAIN", "SELECTOR", "ALGORITHM", "STATE", "SINCE"}, rows)
			})
		},
	}
}

func (c *cli) mailKeyRotate() *cobra.Command {
	var now bool
	var selector string
	var flags domainFlags
	cmd := &cobra.Command{
		Use: "rotate DOMAIN", Short: "Replace the DKIM keys of a domain, in two steps",
		Long: `Replace the DKIM keys of a domain. The first call makes the next keys and prints their
records. Once these are published, the second call looks for them in the DNS, and lets
the next keys take over; those before are retired: their private parts are destroyed,
and their records have to stay until the mail that they signed has arrived.

With --now the next keys take over without a look at the DNS, made if need be: for when
a key is known to others.`,
		Example: "  gateway mail key rotate example.com", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			resolver, err := flags.dns()
			if err != nil {
				return err
			}
			keys, err := ask[[]dkim.Key](cmd.Context(), c, "mail.key.list", admin.Domain{Domain: args[0]})
			if err != nil {
				return err
			}
			next := inState(keys, dkim.Next)
			if len(next) == 0 {
				next, err = ask[[]dkim.Key](cmd.Context(), c, "mail.key.prepare", admin.NewDomainKeys{Domain: args[0], Selector: selector})
				if err != nil || !now {
					return c.showPrepared(args[0], next, err)
				}
			} else if selector != "" {
				return usage("--selector is for the first step, and the next keys of %s were made already: %s", args[0], selectors(next))
			}
			if !now {
				if err := allPublished(cmd.Context(), resolver, next); err != nil {
					return err
				}
			}
			signing, err := ask[[]dkim.Key](cmd.Context(), c, "mail.key.rotate", admin.Domain{Domain: args[0]})
			if err != nil {
				return err
			}
			return c.print(signing, func(w io.Writer) {
				fmt.Fprintf(w, "Mail of %s is signed by %s from now on.\n", signing[0].Domain, selectors(signing))
				fmt.Fprintf(w, "Leave the records of the retired keys in the DNS until %s.\n", time.Now().Add(dkim.Lifetime).Format(time.DateOnly))
			})
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "let the next keys take over without a look at the DNS")
	cmd.Flags().StringVar(&selector, "selector", "", "in the first step: the `NAME` of the next key; of several, how their names begin (default the day)")
	cmd.Flags().StringVar(&flags.resolver, "resolver", "", "the DNS server to ask, `IP[:PORT]` (default that of the system)")
	return cmd
}

func (c *cli) showPrepared(domain string, next []dkim.Key, err error) error {
	if err != nil {
		return err
	}
	return c.print(next, func(w io.Writer) {
		fmt.Fprintf(w, "; Publish these records, and then 'gateway mail key rotate %s' again:\n", domain)
		showKeyRecords(w, next)
	})
}

func inState(keys []dkim.Key, s dkim.State) []dkim.Key {
	var list []dkim.Key
	for _, k := range keys {
		if k.State == s {
			list = append(list, k)
		}
	}
	return list
}

func selectors(keys []dkim.Key) string {
	var list []string
	for _, k := range keys {
		list = append(list, k.Selector)
	}
	return strings.Join(list, ", ")
}

// allPublished is nil if the DNS has the record of each key.
func allPublished(ctx context.Context, resolver maildns.Resolver, keys []dkim.Key) error {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	var errs []error
	for _, k := range keys {
		errs = append(errs, maildns.Published(ctx, resolver, k))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the next keys do not take over yet (--now lets them):\n%w", err)
	}
	return nil
}

func (c *cli) mailKeyRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove DOMAIN SELECTOR", Short: "Remove a DKIM key", Example: "  gateway mail key remove example.com 20261130-rsa",
		Long: `Remove a DKIM key. Of an active one this ends its signatures at once; a domain without
an active key has its mail go out unsigned. Take its record out of the DNS only when no
mail that it signed is under way.`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			removed, err := ask[[]dkim.Key](cmd.Context(), c, "mail.key.remove", admin.DomainKey{Domain: args[0], Selector: args[1]})
			if err != nil {
				return err
			}
			return c.print(removed, func(w io.Writer) {
				for _, k := range removed {
					fmt.Fprintf(w, "The %s key %s of %s (%s) is gone.\n", k.Algorithm, k.Selector, k.Domain, k.State)
				}
			})
		},
	}
}
