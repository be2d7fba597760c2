// Package mtasts finds and keeps the policies of SMTP MTA Strict Transport
// Security (RFC 8461): which hosts take mail for a domain, and whether they have
// to prove it by TLS.
//
// A policy that was once seen holds until its end, whether or not it can be
// fetched again: that is all the protection there is against somebody who hides
// it. So it is kept on disk.
package mtasts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	version = "STSv1"
	// maxPolicyBytes bounds a policy; RFC 8461, section 3.3, suggests 64 KB.
	maxPolicyBytes = 64 << 10
	// maxHosts bounds the mx lines of a policy.
	maxHosts = 1000
	// maxAge is the longest life of a policy: a year (RFC 8461, section 3.2).
	maxAge = 31557600 * time.Second
)

// Mode is what a policy wants of senders.
type Mode string

// The modes of RFC 8461, section 3.2. The zero Mode is that of a domain without
// a policy, and means the same as None.
const (
	None    Mode = "none"
	Testing Mode = "testing"
	Enforce Mode = "enforce"
)

// Policy of a domain.
type Policy struct {
	ID     string // of the TXT record it was fetched for
	Mode   Mode
	MX     []string // patterns, in lower case
	MaxAge time.Duration
}

// Applies reports whether hosts have to match the policy, or would have to.
func (p Policy) Applies() bool { return p.Mode == Testing || p.Mode == Enforce }

// Match reports whether host may take the domain's mail (RFC 8461, section 4.1).
// A leading "*." stands for exactly one label.
func (p Policy) Match(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, pattern := range p.MX {
		if pattern == host {
			return true
		}
		if parent, wild := strings.CutPrefix(pattern, "*."); wild {
			if _, rest, _ := strings.Cut(host, "."); rest == parent {
				return true
			}
		}
	}
	return false
}

// ErrPolicy is a record or a policy that does not follow the RFC.
var ErrPolicy = errors.New("MTA-STS policy not usable")

// ParseRecord finds the id in the TXT records of _mta-sts.DOMAIN. found is false
// if there is no such record, or more than one, which counts as none (RFC 8461,
// section 3.1).
func ParseRecord(texts []string) (id string, found bool) {
	for _, text := range texts {
		first, rest, _ := strings.Cut(text, ";")
		if strings.TrimRight(first, " \t") != "v="+version {
			continue
		}
		if found {
			return "", false
		}
		found = true
		for field := range strings.SplitSeq(rest, ";") {
			key, value, _ := strings.Cut(strings.Trim(field, " \t"), "=")
			if key == "id" && id == "" {
				id = value
			}
		}
	}
	return id, found && validID(id)
}

func validID(id string) bool {
	for i := range len(id) {
		if c := id[i] | 0x20; (c < 'a' || c > 'z') && (id[i] < '0' || id[i] > '9') {
			return false
		}
	}
	return id != "" && len(id) <= 32
}

// ParsePolicy reads the document of RFC 8461, section 3.2. The result has no ID.
func ParsePolicy(text string) (Policy, error) {
	if len(text) > maxPolicyBytes {
		return Policy{}, fmt.Errorf("%w: larger than %d bytes", ErrPolicy, maxPolicyBytes)
	}
	var p Policy
	seen := make(map[string]string)
	for line := range strings.Lines(text) {
		line = strings.Trim(line, " \t\r\n")
		if line == "" {
			continue
		}
		key, value, found := strings.Cut(line, ":")
		if !found {
			return Policy{}, fmt.Errorf("%w: a line is no key and value", ErrPolicy)
		}
		value = strings.TrimLeft(value, " \t")
		if key != "mx" {
			if _, again := seen[key]; !again { // of several the first counts
				seen[key] = value
			}
			continue
		}
		if !validPattern(value) || len(p.MX) == maxHosts {
			return Policy{}, fmt.Errorf("%w: an mx is no host name, or there are more than %d", ErrPolicy, maxHosts)
		}
		p.MX = append(p.MX, strings.ToLower(value))
	}
	age, err := strconv.ParseUint(seen["max_age"], 10, 32)
	p.Mode = Mode(seen["mode"])
	switch {
	case seen["version"] != version:
		return Policy{}, fmt.Errorf("%w: its version is not %s", ErrPolicy, version)
	case err != nil:
		return Policy{}, fmt.Errorf("%w: no max_age that is a number", ErrPolicy)
	case p.Mode != None && !p.Applies():
		return Policy{}, fmt.Errorf("%w: unknown mode", ErrPolicy)
	case p.Applies() && len(p.MX) == 0:
		return Policy{}, fmt.Errorf("%w: no mx", ErrPolicy)
	}
	p.MaxAge = min(time.Duration(age)*time.Second, maxAge)
	return p, nil
}

func validPattern(s string) bool {
	s = strings.TrimPrefix(s, "*.")
	return validDomain(strings.ToLower(s))
}

// validDomain holds for names that may become part of a URL and of a file name.
func validDomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
