package queue

import (
	"slices"
	"strings"
	"time"
)

// Filter chooses messages: those that everything holds for which is set. The zero
// Filter chooses all.
type Filter struct {
	// From and To are addresses, or with an @ before it a domain. To is that of any
	// recipient that waits; "<>" as From is the null reverse-path.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Domain is that of any recipient that waits.
	Domain string `json:"domain,omitempty"`
	User   string `json:"user,omitempty"`
	Route  string `json:"route,omitempty"` // of any recipient that waits
	Held   bool   `json:"held,omitempty"`
	// Before is that it was accepted earlier.
	Before time.Time `json:"before,omitzero"`
}

// IsZero reports whether f chooses all.
func (f Filter) IsZero() bool { return f == Filter{} }

func (f Filter) matches(q *Queue, m *message, i Item) bool {
	return (f.From == "" || matchesAddress(f.From, m.From)) && (f.User == "" || f.User == m.User) && (!f.Held || i.Held) &&
		(f.Before.IsZero() || i.Accepted.Before(f.Before)) &&
		f.matchesRecipient(q, m)
}

// matchesRecipient reports whether what is asked about recipients holds for one.
func (f Filter) matchesRecipient(q *Queue, m *message) bool {
	if f.To == "" && f.Domain == "" && f.Route == "" {
		return true
	}
	return slices.ContainsFunc(m.waiting(), func(n int) bool {
		address := m.envelope.To[n].Address
		return (f.To == "" || matchesAddress(f.To, address)) && (f.Domain == "" || strings.EqualFold(f.Domain, domainOf(address))) &&
			(f.Route == "" || f.Route == q.keyOf(m, n).route.String())
	})
}

// matchesAddress compares without regard to case: who looks for a message has not
// the spelling in mind.
func matchesAddress(want, address string) bool {
	if domain, only := strings.CutPrefix(want, "@"); only {
		return address != "" && strings.EqualFold(domain, domainOf(address))
	}
	if want == "<>" {
		return address == ""
	}
	return strings.EqualFold(want, address)
}
