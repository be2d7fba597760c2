package policies

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2"
)

// The kinds of statement.
const (
	kindNetwork = "network"
	kindAllow   = "allow"
	kindRequire = "require"
	kindExempt  = "exempt"
	kindExpect  = "expect"
)

// A statement is an allow, a require or an exempt as it stands in the file.
type statement struct {
	kind string
	name string // of the requirement, for an exempt
	own  string // an exempt's own name
	line int
	at   hcl.Range // its first line, for faults

	cond  condition  // an allow's or exempt's condition; what a require wants
	when  *condition // to whom a require applies; nil means everybody
	reply string     // of a require

	// data is what an allow grants and a require demands for the connections after
	// the login.
	data session.DataRules
	// ssh is what a require demands and an exempt grants for the key exchange of SSH.
	ssh session.SSHRules

	// ways are the sets of proofs of which a require wants one, lacking the same as
	// it is decided by.
	ways    []session.Factors
	lacking session.Lacking

	// of an exempt
	until          time.Time // the first moment at which it no longer holds
	untilText      string
	owner, because string
	requirement    *statement

	// of a require
	exempts []*statement

	rule     string // for Verdict.Rule
	reason   string // for Verdict.Reason when it decides
	unproven string // the same when what was proven is not enough
}

// expired reports whether an exemption no longer holds at t. Of a time that is
// not known, nothing is held.
func (s *statement) expired(t time.Time) bool { return t.IsZero() || !t.Before(s.until) }

// peerOnly reports whether a requirement can be judged when only the peer is known.
func (s *statement) peerOnly() bool {
	return s.cond.peerOnly() && (s.when == nil || s.when.peerOnly())
}

// setTexts fills rule and reason, so that deciding needs to build no text. file
// is the base name of the policy file.
func (s *statement) setTexts(file string) {
	s.rule = fmt.Sprintf("%s %q (%s:%d)", s.kind, s.name, file, s.line)
	switch s.kind {
	case kindAllow:
		s.reason = "allowed"
	case kindRequire:
		s.reason = "required and not met: " + s.cond.String()
		s.unproven = "required and not proven: " + s.waysText()
	case kindExempt:
		s.rule = fmt.Sprintf("%s %q %q (%s:%d)", s.kind, s.name, s.own, file, s.line)
		s.reason = fmt.Sprintf("exempted from require %q until %s by %s", s.name, s.untilText, s.owner)
	}
}

// A set is a set of small numbers: protocols, channel kinds or methods. The
// empty set stands for an attribute that is not given.
type set uint8

func (s set) has(i int) bool { return i >= 0 && s&(1<<i) != 0 }

// A condition is what allow, require, when and exempt say of a request. An
// attribute that is not given does not restrict.
type condition struct {
	id int // its bit in the tables

	protocol, channel, method set
	listener, user, group     []string
	from                      []netip.Prefix
	fromText                  []string // as written
	inside                    bool     // our own address must be one that cannot be reached from outside
}

// protocols, channels and methods are the words of the language, by number.
func protocols() []string { return []string{"ftp", "sftp", "submission", "relay", "console", "cli"} }
func channels() []string  { return []string{"plain", "tls", "ssh"} }
func methods() []string {
	return []string{"password", "publickey", "keyboard-interactive", "scram", "token"}
}

// encrypted is the set of channels that hide a credential.
const encrypted = set(1<<session.TLS | 1<<session.SSH)

// The numbers of what a request says, or -1. They must not allocate.
func protocolNumber(p session.Protocol) int {
	switch p {
	case session.FTP:
		return 0
	case session.SFTP:
		return 1
	case session.Submission:
		return 2
	case session.Relay:
		return 3
	case session.Console:
		return 4
	case session.CLI:
		return 5
	default:
		return -1
	}
}

func channelNumber(k session.ChannelKind) int {
	if k > session.SSH {
		return int(session.Plain) // nobody vouched for it
	}
	return int(k)
}

func methodNumber(m session.Method) int {
	switch m {
	case session.MethodPassword:
		return 0
	case session.MethodPublicKey:
		return 1
	case session.MethodKeyboardInteractive:
		return 2
	case session.MethodSCRAM:
		return 3
	case session.MethodToken:
		return 4
	default:
		return -1
	}
}

func (c *condition) empty() bool {
	return c.peerOnly() && c.protocol == 0 && c.listener == nil && c.from == nil
}

// peerOnly reports whether the condition looks at nothing but the peer.
func (c *condition) peerOnly() bool {
	return c.channel == 0 && c.method == 0 && c.user == nil && c.group == nil
}

// aboutUser reports whether the condition tells users apart.
func (c *condition) aboutUser() bool { return c.user != nil || c.group != nil }

// aboutPlace reports whether the condition is narrowed to where the peer is.
func (c *condition) aboutPlace() bool { return c.from != nil || c.listener != nil }

// unmet says which attributes of the condition r does not match, in words. It is
// the plain reading of the language, used to explain decisions; the tables
// decide. A fact that is not known is not matched.
func (c *condition) unmet(r session.Request) []string {
	var out []string
	number := func(name string, s set, n int, got string, words []string) {
		if s != 0 && !s.has(n) {
			out = append(out, fmt.Sprintf("%s is %s, not %s", name, orUnknown(got), s.words(words)))
		}
	}
	text := func(name string, list []string, got string) {
		if list != nil && (got == "" || !slices.Contains(list, got)) {
			out = append(out, fmt.Sprintf("%s is %s, not %s", name, orUnknown(got), either(list)))
		}
	}
	number("protocol", c.protocol, protocolNumber(r.Protocol), string(r.Protocol), protocols())
	number("channel", c.channel, channelNumber(r.Channel), r.Channel.String(), channels())
	text("listener", c.listener, r.Listener)
	text("user", c.user, r.User)
	if c.group != nil && !slices.ContainsFunc(r.Groups, func(g string) bool { return slices.Contains(c.group, g) }) {
		has := "in no group"
		if len(r.Groups) > 0 {
			has = "in " + strings.Join(r.Groups, ", ")
		}
		out = append(out, fmt.Sprintf("user is %s, not in %s", has, either(c.group)))
	}
	if c.from != nil && !slices.ContainsFunc(c.from, func(p netip.Prefix) bool { return p.Contains(r.Remote.Unmap().WithZone("")) }) {
		got := ""
		if r.Remote.IsValid() {
			got = r.Remote.Unmap().String()
		}
		out = append(out, fmt.Sprintf("address %s is not in %s", orUnknown(got), either(c.fromText)))
	}
	number("method", c.method, methodNumber(r.Method), string(r.Method), methods())
	if c.inside && !insideAddress(r.Local) {
		out = append(out, "our own address is not a private one")
	}
	return out
}

// String says what the condition asks for, in words.
func (c *condition) String() string {
	var out []string
	add := func(name, value string) {
		if value != "" {
			out = append(out, name+" "+value)
		}
	}
	add("protocol", c.protocol.words(protocols()))
	add("channel", c.channel.words(channels()))
	add("listener", either(c.listener))
	add("user", either(c.user))
	add("group", either(c.group))
	add("from", either(c.fromText))
	add("method", c.method.words(methods()))
	return strings.Join(out, ", ")
}

// words lists the members of the set; the encrypted channels have one word.
func (s set) words(names []string) string {
	if s == encrypted && names[0] == "plain" {
		return "encrypted"
	}
	var list []string
	for i, n := range names {
		if s.has(i) {
			list = append(list, n)
		}
	}
	return either(list)
}

// maxListed is how many values of a list an explanation spells out.
const maxListed = 8

func either(list []string) string {
	if len(list) > maxListed {
		return fmt.Sprintf("%s or one of %d more", strings.Join(list[:maxListed], ", "), len(list)-maxListed)
	}
	return strings.Join(list, " or ")
}

func orUnknown(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}
