package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gateway/auth"
	"gateway/config"
	"gateway/session"
)

// allowanceFlags are the flags that say what an account or a group may do with
// files, how much of them it may keep, and how fast it may move them; and how much
// mail it may send.
type allowanceFlags struct {
	quotaBytes, quotaFiles, bandwidth string
	permit                            []string
	mail                              mailFlags
}

// allowanceNames are the flags, for messages.
const allowanceNames = "--permit, --quota-bytes, --quota-files, --bandwidth or --mail-..."

func (f *allowanceFlags) add(cmd *cobra.Command, quota, bandwidth string) {
	cmd.Flags().StringVar(&f.quotaBytes, "quota-bytes", "", "how much "+quota+" may keep, a `SIZE` such as 10GiB; 0 or none for no limit")
	cmd.Flags().StringVar(&f.quotaFiles, "quota-files", "", "how many files and folders "+quota+" may keep, a `NUMBER`; 0 or none for no limit")
	cmd.Flags().StringVar(&f.bandwidth, "bandwidth", "", "how much may move a second in each direction, a `SIZE` such as 5MiB, "+bandwidth+"; 0 or none for no limit")
	cmd.Flags().StringArrayVar(&f.permit, "permit", nil, "what may be done in a folder and below, `PATH=WORDS` such as /in=drop (may be repeated; takes the place of all that there were; \"\" for none)")
	f.mail.add(cmd)
}

// read returns what the flags that were given change.
func (f *allowanceFlags) read(cmd *cobra.Command) (u auth.AllowanceUpdate, err error) {
	for _, n := range []struct {
		name, text string
		to         **int64
		parse      func(string) (int64, error)
	}{
		{"quota-bytes", f.quotaBytes, &u.QuotaBytes, config.ParseSize},
		{"quota-files", f.quotaFiles, &u.QuotaFiles, parseCount},
		{"bandwidth", f.bandwidth, &u.Bandwidth, config.ParseSize},
	} {
		if !cmd.Flags().Changed(n.name) {
			continue
		}
		var value int64
		if n.text != "0" && n.text != "none" {
			if value, err = n.parse(n.text); err != nil {
				return u, usage("--%s: %v; \"none\" for no limit", n.name, err)
			}
		}
		*n.to = &value
	}
	if u.MailUpdate, err = f.mail.read(cmd); err != nil {
		return u, err
	}
	if !cmd.Flags().Changed("permit") {
		return u, nil
	}
	rules := []session.PathRule{}
	for _, text := range f.permit {
		if text == "" {
			continue
		}
		r, err := auth.ParseRule(text)
		if err != nil {
			return u, usage("--permit: %v", err)
		}
		rules = append(rules, r)
	}
	u.Permissions = &rules
	return u, nil
}

func parseCount(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a number such as 5000", s)
	}
	return n, nil
}

// showAllowance writes what was said of an account or a group; other says what
// holds where there are no permissions.
func showAllowance(w io.Writer, a auth.Allowance, other string) {
	for _, r := range a.Permissions {
		fmt.Fprintf(w, "permit     %s\n", ruleText(r))
	}
	if len(a.Permissions) == 0 {
		fmt.Fprintf(w, "permit     none; %s\n", other)
	}
	fmt.Fprintf(w, "quota      %s\nbandwidth  %s\n", quotaText(a.Quota, "none"), bandwidthText(a.Bandwidth, "none"))
	if text := mailText(a.Mail); text != "" {
		fmt.Fprintf(w, "mail       %s\n", text)
	}
}

func ruleText(r session.PathRule) string { return visible(r.Path) + "=" + r.May.String() }

// quotaText and bandwidthText write a limit; none is what they say of no limit.
func quotaText(q session.Quota, none string) string {
	var parts []string
	if q.Bytes != 0 {
		parts = append(parts, sizeText(q.Bytes))
	}
	if q.Files != 0 {
		parts = append(parts, fmt.Sprintf("%d files", q.Files))
	}
	if parts == nil {
		return none
	}
	return strings.Join(parts, ", ")
}

func bandwidthText(n int64, none string) string {
	if n == 0 {
		return none
	}
	return sizeText(n) + " a second"
}

// sizeText writes what config.ParseSize reads, exactly.
func sizeText(n int64) string {
	units := []string{"TiB", "GiB", "MiB", "KiB"}
	for i, unit := range units {
		if one := int64(1) << (10 * (len(units) - i)); n >= one && n%one == 0 {
			return fmt.Sprintf("%d%s", n/one, unit)
		}
	}
	return fmt.Sprintf("%dB", n)
}
