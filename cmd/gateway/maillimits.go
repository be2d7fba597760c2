package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gateway/auth"
	"gateway/config"
	"gateway/session"
)

// mailFlags are the flags that say how much mail an account may send, and to whom.
type mailFlags struct {
	numbers map[string]*string // by the flag's name
	domains []string
}

// mailFlagHelp is what each number limits.
func mailFlagHelp() [][2]string {
	return [][2]string{
		{"mail-messages-per-hour", "messages that it may send in an hour"},
		{"mail-messages-per-day", "messages that it may send in a day"},
		{"mail-recipients-per-hour", "recipients of its messages in an hour"},
		{"mail-recipients-per-day", "recipients of its messages in a day"},
		{"mail-new-recipients-per-day", "recipients in a day to whom it has never written"},
		{"mail-recipients", "recipients of one message"},
	}
}

func (f *mailFlags) add(cmd *cobra.Command) {
	f.numbers = make(map[string]*string)
	for _, n := range mailFlagHelp() {
		f.numbers[n[0]] = cmd.Flags().String(n[0], "", "the most "+n[1]+", a `NUMBER`; 0 or none for no limit")
	}
	f.numbers["mail-bytes"] = cmd.Flags().String("mail-bytes", "", "the largest message, a `SIZE` such as 10MiB; 0 or none for no limit")
	cmd.Flags().StringArrayVar(&f.domains, "mail-domain", nil, "the only `DOMAIN` to which mail may go, .DOMAIN for those below (may be repeated; takes the place of all that there were; \"\" for anywhere)")
}

// read returns what the flags that were given change.
func (f *mailFlags) read(cmd *cobra.Command) (u auth.MailUpdate, err error) {
	for name, to := range map[string]**int64{
		"mail-messages-per-hour": &u.MessagesPerHour, "mail-messages-per-day": &u.MessagesPerDay,
		"mail-recipients-per-hour": &u.RecipientsPerHour, "mail-recipients-per-day": &u.RecipientsPerDay,
		"mail-new-recipients-per-day": &u.NewRecipientsPerDay, "mail-recipients": &u.Recipients, "mail-bytes": &u.Bytes,
	} {
		if !cmd.Flags().Changed(name) {
			continue
		}
		var value int64
		switch text := *f.numbers[name]; {
		case text == "0", text == "none":
		case name == "mail-bytes":
			value, err = config.ParseSize(text)
		default:
			value, err = parseCount(text)
		}
		if err != nil {
			return u, usage("--%s: %v; \"none\" for no limit", name, err)
		}
		*to = &value
	}
	if cmd.Flags().Changed("mail-domain") {
		domains := []string{}
		for _, d := range f.domains {
			if d != "" {
				domains = append(domains, d)
			}
		}
		u.Domains = &domains
	}
	return u, nil
}

// mailText writes limits of mail, the same words for an account and for a group;
// nothing where there are none.
func mailText(l session.MailLimits) string {
	var parts []string
	for _, n := range []struct {
		limit int64
		what  string
	}{
		{l.MessagesPerHour, "messages an hour"}, {l.MessagesPerDay, "messages a day"},
		{l.RecipientsPerHour, "recipients an hour"}, {l.RecipientsPerDay, "recipients a day"},
		{l.NewRecipientsPerDay, "new recipients a day"}, {l.Recipients, "recipients a message"},
	} {
		if n.limit != 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.limit, n.what))
		}
	}
	if l.Bytes != 0 {
		parts = append(parts, sizeText(l.Bytes)+" a message")
	}
	if len(l.Domains) > 0 {
		parts = append(parts, "to "+strings.Join(l.Domains, " "))
	}
	return strings.Join(parts, ", ")
}
