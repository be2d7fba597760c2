package devices

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gateway/policies"
	"gateway/session"
)

// An Ending is something that ends on a day, with who is told before.
type Ending struct {
	Key     string // under which its reminders are remembered
	Rule    string
	Owner   string // a mail address
	Expires time.Time

	id      string // what its Message-IDs begin with
	subject string
	body    func(hostname, left string) string
}

// OfRules are the endings of devices and exempts, as policies.Policy.Endings lists them,
// whose time is nearly over.
func OfRules(list []policies.DeviceInfo) []Ending {
	var out []Ending
	for _, d := range list {
		if d.Stage != session.StageWarn {
			continue
		}
		e := Ending{Key: d.Name, Rule: d.Rule, Owner: d.Owner, Expires: d.Expires, id: "device-" + d.Name}
		e.subject, e.body = fmt.Sprintf("Device %s is let in until %s", d.Name, d.LastDay), func(hostname, left string) string { return deviceBody(d, hostname, left) }
		if d.Requirement != "" { // its names may be any text
			e.Key = "exempt " + strconv.Quote(d.Requirement) + " " + strconv.Quote(d.Name)
			e.id = "exempt-" + short(e.Key)
			e.subject, e.body = fmt.Sprintf("The exemption %s ends on %s", d.Name, d.LastDay), func(hostname, left string) string { return exemptBody(d, hostname, left) }
		}
		out = append(out, e)
	}
	return out
}

// short is a name for a text that may be long or have anything in it.
func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%x", sum[:8])
}

// A Login is an account whose logins in clear will be refused, over a protocol that cannot
// tell its client so.
type Login struct {
	User     string
	Owner    string // a mail address
	Rule     string // that will refuse it
	Protocol session.Protocol
	Network  string // that the last one came from
	Last     time.Time
	// Refused is from when on.
	Refused time.Time
	// Instead is what the client can do, in a sentence.
	Instead string
}

// OfLogin is the ending of logins in clear.
func OfLogin(l Login) Ending {
	key := "login " + l.User
	return Ending{
		Key: key, Rule: l.Rule, Owner: l.Owner, Expires: l.Refused, id: "login-" + short(key),
		subject: fmt.Sprintf("Logins of %s without encryption end on %s", l.User, l.Refused.UTC().Format(time.DateOnly)),
		body:    func(hostname, left string) string { return loginBody(l, hostname, left) },
	}
}

func deviceBody(d policies.DeviceInfo, hostname, left string) string {
	who := ""
	if d.User != "" {
		who = "\nIt logs in as:   " + d.User
	}
	return fmt.Sprintf(`You answer for the device %s, which sends mail through %s by way of an
exception. The exception ends on %s (UTC), %s from now. From then on
its mail is refused.

Where it is:     %s%s
What is waived:  %s
Why:             %s

What can be done:

- Update, set up or replace the device, so that it logs in over TLS 1.2 or later
  (ports 465 and 587). Then it needs no exception.
- If it no longer sends, have the exception removed.
- If it is still needed as it is, ask the administrator of the gateway for a later
  end, at most 180 days ahead.
`, d.Name, hostname, d.LastDay, left, strings.Join(d.From, ", "), who, strings.Join(d.Allow, ", "), d.Because)
}

func exemptBody(d policies.DeviceInfo, hostname, left string) string {
	whom := ""
	if d.User != "" {
		whom = "\nFor whom:        " + d.User
	}
	where := ""
	if len(d.From) > 0 {
		where = "\nFrom where:      " + strings.Join(d.From, ", ")
	}
	return fmt.Sprintf(`You answer for an exemption from a rule of %s: %s. It ends on %s
(UTC), %s from now. From then on the rule holds, and logins that do not keep
it are refused.

The rule:        %s%s%s
Why:             %s

What can be done:

- Change what logs in, so that it keeps the rule. Then it needs no exemption.
- If it no longer logs in, have the exemption removed.
- If it is still needed, ask the administrator of the gateway for a later end.
`, hostname, d.Name, d.LastDay, left, d.Requirement, whom, where, d.Because)
}

func loginBody(l Login, hostname, left string) string {
	return fmt.Sprintf(`The account %s logs in to %s without encryption, so that everybody
on the way can read its password. From %s (UTC) on, %s from now, such
logins are refused.

Last seen:       %s UTC, over %s
From where:      %s

What can be done: %s
`, l.User, hostname, l.Refused.UTC().Format(time.DateOnly), left, l.Last.UTC().Format("2006-01-02 15:04"), l.Protocol, l.Network, l.Instead)
}
