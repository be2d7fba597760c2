package policies

import (
	"gateway/session"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// attrJournal names the folder for copies of mail that a require asks for.
const attrJournal = "journal"

// journal reads it. Each require that has one gets a place of its own, so that
// deciding needs no memory.
func (d *decoder) journal(s *statement, a *hclsyntax.Attribute) {
	t, ok := d.one(a)
	if !ok {
		return
	}
	if _, err := session.ParseJournalRule(t.value); err != nil {
		d.fault(t.at, "Bad journal", "%q cannot be a journal: %v. Write a folder such as \"/mail/{date}\", or \"archive:/mail/{date}\" for that of another account.", t.value, err)
		return
	}
	if d.journals == session.MaxJournals {
		d.fault(t.at, "Too many journals", "%d requires of a policy may have a journal.", session.MaxJournals)
		return
	}
	s.data.Journal[d.journals] = t.value
	d.journals++
}

// withJournals is d with the journals that o asks for as well.
func withJournals(d, o session.DataRules) session.DataRules {
	for i, rule := range o.Journal {
		if rule != "" {
			d.Journal[i] = rule
		}
	}
	return d
}

// takesMail reports whether the condition can match a session that sends mail.
func (c *condition) takesMail() bool {
	if c == nil {
		return true
	}
	for _, p := range []session.Protocol{session.Submission, session.Relay} {
		for _, channel := range []session.ChannelKind{session.Plain, session.TLS} {
			if c.admits(way{protocolNumber(p), int(channel), methodNumber(session.MethodPassword)}) {
				return true
			}
		}
	}
	return false
}
