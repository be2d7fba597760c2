package auth

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

const (
	maxFrom       = 64 // patterns of one key
	maxPrincipals = 64 // of one key
)

// The options of a key in authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT)
// that mean something here.
const (
	optAuthority  = "cert-authority"
	optExpiry     = "expiry-time"
	optFrom       = "from"
	optNoTouch    = "no-touch-required"
	optPrincipals = "principals"
)

// options are what limits a key. The zero value limits nothing.
type options struct {
	from       []fromPattern
	expires    time.Time // zero is never
	noTouch    bool      // of a security key: it need not be touched
	authority  bool      // the key itself opens nothing, only certificates signed with it
	principals []string  // of an authority: whom its certificates must name, instead of the account
}

// parseOptions reads the options of a key of that kind. Each is honoured, or is
// refused by its name: to ignore one that limits the key would widen what it may
// do. The second result is the form in which they are kept, one a line.
func parseOptions(list []string, algorithm string) (options, []string, error) {
	var o options
	var kept []string
	seen := make(map[string]bool)
	for _, text := range list {
		name, value, valued, err := cutOption(text)
		if err != nil {
			return options{}, nil, err
		}
		if seen[name] {
			return options{}, nil, invalid("key", "option %q is given twice", name)
		}
		seen[name] = true
		keep := name
		switch name {
		case "restrict", "no-pty", "no-port-forwarding", "no-agent-forwarding", "no-x11-forwarding", "no-user-rc":
			keep = "" // holds by itself: the gateway gives nothing of it to anybody
		case optNoTouch:
			if o.noTouch = strings.HasPrefix(algorithm, "sk-"); !o.noTouch {
				keep = ""
			}
		case optAuthority:
			o.authority = true
		case optFrom:
			o.from, err = parseFrom(value)
			keep = fmt.Sprintf("%s=%q", name, value)
		case optExpiry:
			o.expires, err = parseExpiry(value)
			keep = fmt.Sprintf("%s=%q", name, o.expires.UTC().Format("20060102150405Z"))
		case optPrincipals:
			o.principals, err = parsePrincipals(value)
			keep = fmt.Sprintf("%s=%q", name, strings.Join(o.principals, ","))
		default:
			err = unsupportedOption(name)
		}
		if err != nil {
			return options{}, nil, err
		}
		if wants := name == optFrom || name == optExpiry || name == optPrincipals; wants != valued {
			return options{}, nil, invalid("key", "option %q: want %s", name, map[bool]string{true: `a value in quotes`, false: "no value"}[wants])
		}
		if keep != "" {
			kept = append(kept, keep)
		}
	}
	if o.principals != nil && !o.authority {
		return options{}, nil, invalid("key", "option %q means something only beside %q", optPrincipals, optAuthority)
	}
	slices.Sort(kept)
	return o, kept, nil
}

// cutOption takes an option apart. Names are in lower case; a value stands in
// quotes, in which only a quote is escaped.
func cutOption(text string) (name, value string, valued bool, err error) {
	name, value, valued = strings.Cut(text, "=")
	name = strings.ToLower(name)
	if !valued {
		return name, "", false, nil
	}
	inner, opened := strings.CutPrefix(value, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	if !opened || !closed {
		return "", "", false, invalid("key", "option %q: its value must stand in quotes", clip(name))
	}
	inner = strings.ReplaceAll(inner, `\"`, `"`)
	for _, c := range []byte(inner) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return "", "", false, invalid("key", "option %q: its value has a character that is not allowed here", clip(name))
		}
	}
	return name, inner, true, nil
}

func unsupportedOption(name string) error {
	switch name {
	case "verify-required":
		return invalid("key", "option %q cannot be checked here, so the key would be good without it; remove it if touching the key is enough, and ask for a second factor by a rule of the policy", name)
	case "command", "environment", "permitopen", "permitlisten", "tunnel":
		return invalid("key", "option %q would be ignored: the gateway runs no commands and forwards nothing; remove it, and limit the account by its permissions or a rule of the policy", name)
	default:
		return invalid("key", "option %q is not supported and would be ignored; remove it, and limit the account by a rule of the policy instead", clip(name))
	}
}

// parseExpiry reads YYYYMMDD or YYYYMMDDHHMM[SS], followed by Z for UTC; without
// it the time is that of the gateway's zone, as sshd has it. A day that is given
// without a time is its beginning.
func parseExpiry(value string) (time.Time, error) {
	zone := time.Local
	digits, utc := strings.CutSuffix(value, "Z")
	if utc {
		zone = time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(layout) != len(digits) {
			continue
		}
		if t, err := time.ParseInLocation(layout, digits, zone); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, invalid("key", "option %q: %q is no time; want YYYYMMDD or YYYYMMDDHHMMSS, with Z at the end for UTC", optExpiry, clip(value))
}

func parsePrincipals(value string) ([]string, error) {
	list := strings.Split(value, ",")
	if len(list) > maxPrincipals {
		return nil, invalid("key", "option %q: more than %d", optPrincipals, maxPrincipals)
	}
	for _, p := range list {
		if p == "" || strings.TrimSpace(p) != p {
			return nil, invalid("key", "option %q: want names separated by commas", optPrincipals)
		}
	}
	return list, nil
}

// fromPattern is one of the patterns of from (ssh_config(5), PATTERNS): a
// network, or an address as text with wildcards.
type fromPattern struct {
	not    bool
	prefix netip.Prefix
	text   string // if prefix is not valid
}

// parseFrom reads a list of patterns. Names of hosts are refused: the gateway
// does not look up who an address belongs to.
func parseFrom(value string) ([]fromPattern, error) {
	list := strings.Split(value, ",")
	if len(list) > maxFrom {
		return nil, invalid("key", "option %q: more than %d patterns", optFrom, maxFrom)
	}
	var out []fromPattern
	positive := false
	for _, text := range list {
		var p fromPattern
		text, p.not = strings.CutPrefix(text, "!")
		positive = positive || !p.not
		switch {
		case strings.Contains(text, "/"):
			prefix, err := netip.ParsePrefix(text)
			if err != nil || prefix != prefix.Masked() || prefix.Addr().Is4In6() {
				return nil, invalid("key", "option %q: %q is no network", optFrom, clip(text))
			}
			p.prefix = prefix
		case text == "" || strings.Trim(text, "0123456789abcdefABCDEF.:*?") != "" || !strings.ContainsAny(text, ".:*"):
			return nil, invalid("key", "option %q: %q is neither a network nor an address; names of hosts are not looked up", optFrom, clip(text))
		default:
			if addr, err := netip.ParseAddr(text); err == nil {
				p.prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
			} else if !strings.ContainsAny(text, "*?") {
				return nil, invalid("key", "option %q: %q is no address", optFrom, clip(text))
			} else {
				p.text = strings.ToLower(text)
			}
		}
		out = append(out, p)
	}
	if !positive {
		return nil, invalid("key", "option %q: it only says from where not, so the key would be good from nowhere", optFrom)
	}
	return out, nil
}

// comesFrom reports whether one of the patterns matches the address and none
// that begins with "!" does. An address that is not known matches nothing.
func (o options) comesFrom(source netip.Addr) bool {
	if o.from == nil {
		return true
	}
	source = source.Unmap().WithZone("")
	if !source.IsValid() {
		return false
	}
	matched, text := false, source.String()
	for _, p := range o.from {
		hit := p.prefix.Contains(source)
		if !p.prefix.IsValid() {
			hit = like(text, p.text)
		}
		if hit && p.not {
			return false
		}
		matched = matched || hit
	}
	return matched
}

// like reports whether text matches a pattern, in which * stands for any text
// and ? for one character.
func like(text, pattern string) bool {
	star, resume := -1, 0
	i, j := 0, 0
	for i < len(text) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			star, resume = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == text[i]):
			i, j = i+1, j+1
		case star >= 0:
			resume++
			i, j = resume, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[j:], "*") == ""
}

// admit reports whether a key with these options is good for somebody at source
// at that time.
func (o options) admit(source netip.Addr, now time.Time) bool {
	return o.comesFrom(source) && (o.expires.IsZero() || now.Before(o.expires))
}

// accepts reports whether the key, offered by somebody at source, is one of the
// account's own, or a certificate by one of its authorities. trusts is what holds
// for the keys of its groups.
func (r *record) accepts(key session.Key, trusts []*trust, source netip.Addr, now time.Time) session.KeyAnswer {
	if isUserCert(key.Algorithm) {
		if err := checkUserCert(key.Blob, r, trusts, source, now); err != nil {
			return session.KeyAnswer{Why: "certificate refused: " + err.Error()}
		}
		return session.KeyAnswer{Known: true}
	}
	o, known := r.keys[idOf(key)]
	if !known || o.authority {
		return session.KeyAnswer{}
	}
	for _, t := range trusts {
		if why := t.check(key.Blob); why != "" {
			return session.KeyAnswer{Why: why}
		}
	}
	switch {
	case !o.comesFrom(source):
		return session.KeyAnswer{Why: "its option from does not admit this address"}
	case !o.admit(source, now):
		return session.KeyAnswer{Why: "its expiry-time has passed"}
	default:
		return session.KeyAnswer{Known: true, NoTouch: o.noTouch}
	}
}
