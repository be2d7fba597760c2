package audit

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

// Filter says which events are wanted: those that match every field that is
// set. The zero value matches all.
type Filter struct {
	Event   string // session.EventLogin, ...
	Outcome string // session.OutcomeRefused, ...
	// Users matches any of these. A name that may not be one of an account is also
	// recorded as "unknown:" with a keyed hash: put both forms in.
	Users    []string
	Remote   netip.Prefix
	Protocol session.Protocol
	Channel  string    // plain, tls or ssh
	Since    time.Time // inclusive
	Until    time.Time // exclusive
	// Limit ends after so many events. Zero means no limit.
	Limit int
}

func eventKinds() []string {
	return []string{session.EventConnection, session.EventLogin, session.EventFile, session.EventMail,
		session.EventAdmin, session.EventPolicy, session.EventAudit}
}

func outcomes() []string {
	return []string{session.OutcomeSession, session.OutcomeNoLogin, session.OutcomeHandshakeFailed, session.OutcomeBanned,
		session.OutcomeGranted, session.OutcomeError, session.OutcomeRefused, session.OutcomeFailed, session.OutcomeBegun,
		session.OutcomeDone}
}

func protocols() []string {
	return []string{string(session.FTP), string(session.SFTP), string(session.Submission), string(session.Relay),
		string(session.Console), string(session.CLI)}
}

func channels() []string {
	return []string{session.Plain.String(), session.TLS.String(), session.SSH.String()}
}

// Validate reports everything that is wrong with the filter.
func (f Filter) Validate() error {
	var errs []error
	oneOf := func(what, value string, known []string) {
		if value != "" && !slices.Contains(known, value) {
			errs = append(errs, fmt.Errorf("%s %q: want one of %s", what, value, strings.Join(known, ", ")))
		}
	}
	oneOf("event", f.Event, eventKinds())
	oneOf("outcome", f.Outcome, outcomes())
	oneOf("protocol", string(f.Protocol), protocols())
	oneOf("channel", f.Channel, channels())
	if slices.Contains(f.Users, "") {
		errs = append(errs, errors.New("user: empty name"))
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		errs = append(errs, fmt.Errorf("since %s is not before until %s", f.Since.UTC().Format(time.RFC3339), f.Until.UTC().Format(time.RFC3339)))
	}
	if f.Limit < 0 {
		errs = append(errs, fmt.Errorf("limit %d: want 0 or more", f.Limit))
	}
	return errors.Join(errs...)
}

// ParseNetwork reads a network, or an address as the network of that address
// alone.
func ParseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("network %q: want an address such as 192.0.2.7 or a network such as 10.20.0.0/16", s)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("network %q: write IPv4 networks as 10.20.0.0/16", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// Match reports whether e is wanted. Limit is not looked at.
func (f Filter) Match(e session.Event) bool {
	switch {
	case f.Event != "" && e.Event != f.Event:
	case f.Outcome != "" && e.Outcome != f.Outcome:
	case f.Protocol != "" && e.Protocol != f.Protocol:
	case len(f.Users) > 0 && !slices.Contains(f.Users, e.User):
	case f.Remote.IsValid() && !f.Remote.Contains(e.Remote.Addr().Unmap().WithZone("")):
	case f.Channel != "" && (e.Channel == nil || e.Channel.Kind.String() != f.Channel):
	case !f.Since.IsZero() && e.Time.Before(f.Since):
	case !f.Until.IsZero() && !e.Time.Before(f.Until):
	default:
		return true
	}
	return false
}

// quick returns a test that passes every line that Match could want, and saves
// decoding most others. It relies on the one form in which lines are written.
func (f Filter) quick() func(line []byte) bool {
	var need [][]byte
	for key, value := range map[string]string{
		"event": f.Event, "outcome": f.Outcome, "protocol": string(f.Protocol), "kind": f.Channel,
	} {
		if value != "" {
			need = append(need, []byte(`"`+key+`":"`+value+`"`))
		}
	}
	return func(line []byte) bool {
		for _, n := range need {
			if !bytes.Contains(line, n) {
				return false
			}
		}
		return true
	}
}
