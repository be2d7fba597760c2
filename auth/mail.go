package auth

import (
	"encoding/json"
	"slices"
	"strings"

	"gateway/session"
)

const maxMailDomains = 64 // to which an account may send

// MailUpdate changes session.MailLimits; nil leaves as it is, zero is no limit.
type MailUpdate struct {
	MessagesPerHour     *int64 `json:"mail_messages_per_hour,omitempty"`
	MessagesPerDay      *int64 `json:"mail_messages_per_day,omitempty"`
	RecipientsPerHour   *int64 `json:"mail_recipients_per_hour,omitempty"`
	RecipientsPerDay    *int64 `json:"mail_recipients_per_day,omitempty"`
	NewRecipientsPerDay *int64 `json:"mail_new_recipients_per_day,omitempty"`
	Recipients          *int64 `json:"mail_recipients,omitempty"`
	Bytes               *int64 `json:"mail_bytes,omitempty"`
	// Domains take the place of all that there were; none means that mail may go
	// anywhere.
	Domains *[]string `json:"mail_domains,omitempty"`
}

// of returns what l becomes by u.
func (u MailUpdate) of(l session.MailLimits) session.MailLimits {
	for _, n := range []struct{ to, from *int64 }{
		{&l.MessagesPerHour, u.MessagesPerHour}, {&l.MessagesPerDay, u.MessagesPerDay},
		{&l.RecipientsPerHour, u.RecipientsPerHour}, {&l.RecipientsPerDay, u.RecipientsPerDay},
		{&l.NewRecipientsPerDay, u.NewRecipientsPerDay}, {&l.Recipients, u.Recipients}, {&l.Bytes, u.Bytes},
	} {
		if n.from != nil {
			*n.to = *n.from
		}
	}
	if u.Domains != nil {
		l.Domains = *u.Domains
	}
	return l
}

// noMail reports whether nothing was said of mail.
func noMail(l session.MailLimits) bool {
	return !l.Counted() && l.Recipients == 0 && l.Bytes == 0 && len(l.Domains) == 0
}

// checkedMail returns l as it is kept, or why it cannot be had.
func checkedMail(l session.MailLimits) (session.MailLimits, error) {
	for _, n := range mailNumbers(&l) {
		if *n < 0 {
			return l, invalid("limit of mail", "%d is less than nothing; 0 means no limit", *n)
		}
	}
	if len(l.Domains) > maxMailDomains {
		return l, invalid("mail domains", "%d are more than %d; .example.com stands for every domain below", len(l.Domains), maxMailDomains)
	}
	var domains []string
	for _, text := range l.Domains {
		d := strings.ToLower(text)
		if reason := badDomain(strings.TrimPrefix(d, ".")); reason != "" {
			return l, invalid("mail domain", "%q: %s", clip(text), reason)
		}
		domains = append(domains, d)
	}
	l.Domains = slices.Compact(slices.Sorted(slices.Values(domains)))
	return l, nil
}

func mailNumbers(l *session.MailLimits) []*int64 {
	return []*int64{
		&l.MessagesPerHour, &l.MessagesPerDay, &l.RecipientsPerHour, &l.RecipientsPerDay, &l.NewRecipientsPerDay,
		&l.Recipients, &l.Bytes,
	}
}

// mergeMail returns what holds where a and b were said of two groups: the lower of
// two limits, and the domains of both.
func mergeMail(a, b session.MailLimits) session.MailLimits {
	both := session.MailLimits{Domains: slices.Compact(slices.Sorted(slices.Values(slices.Concat(a.Domains, b.Domains))))}
	from := mailNumbers(&b)
	into := mailNumbers(&both)
	for i, n := range mailNumbers(&a) {
		switch m := from[i]; {
		case *n == 0, *m != 0 && *m < *n:
			*into[i] = *m
		default:
			*into[i] = *n
		}
	}
	return both
}

// overrideMail returns what holds for an account of which own was said, in groups
// that have the limits of groups.
func overrideMail(own, groups session.MailLimits) session.MailLimits {
	into := mailNumbers(&groups)
	for i, n := range mailNumbers(&own) {
		if *n != 0 {
			*into[i] = *n
		}
	}
	if len(own.Domains) > 0 {
		groups.Domains = own.Domains
	}
	return groups
}

// writeMail and readMail are how limits are stored.
func writeMail(l session.MailLimits) string {
	if noMail(l) {
		return ""
	}
	text, _ := json.Marshal(l) // numbers and words
	return string(text)
}

func readMail(text string) (l session.MailLimits, err error) {
	if text == "" {
		return l, nil
	}
	return l, json.Unmarshal([]byte(text), &l)
}
