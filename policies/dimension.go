package policies

import (
	"slices"

	"gateway/session"
)

// A dimension is a fact of a request that has few values, each with a word. All
// that conditions, tables and proofs know of such a fact stands in this file.
type dimension uint8

const (
	dimProtocol dimension = iota
	dimChannel
	dimMethod

	dimensions // how many there are
)

// word is the name of the attribute.
func (d dimension) word() string {
	return [dimensions]string{"protocol", "channel", "method"}[d]
}

// values are the words of the fact, by number.
func (d dimension) values() []string {
	switch d {
	case dimProtocol:
		return protocols()
	case dimChannel:
		return channels()
	case dimMethod:
		return methods()
	default:
		return nil
	}
}

// short are words that stand for several values.
func (d dimension) short() []shorthand {
	if d == dimChannel {
		return []shorthand{{"encrypted", encrypted}}
	}
	return nil
}

// A shorthand is a word for several values of a dimension.
type shorthand struct {
	word string
	set  set
}

// phase is from when on the fact is known.
func (d dimension) phase() session.Phase {
	if d == dimProtocol {
		return session.PhaseConnect
	}
	return session.PhaseNamed
}

// number is the value that r has, or -1 if it is not known. It must not allocate.
func (d dimension) number(r *session.Request) int {
	switch d {
	case dimProtocol:
		return protocolNumber(r.Protocol)
	case dimChannel:
		return channelNumber(r.Channel)
	case dimMethod:
		return methodNumber(r.Method)
	default:
		return -1
	}
}

// got says the value that r has, in words.
func (d dimension) got(r *session.Request) string {
	n := d.number(r)
	switch {
	case n >= 0:
		return d.values()[n]
	case d == dimProtocol:
		return orUnknown(string(r.Protocol))
	case d == dimMethod:
		return orUnknown(string(r.Method))
	default:
		return orUnknown("")
	}
}

// dimensionNamed finds a dimension by the name of its attribute.
func dimensionNamed(word string) (dimension, bool) {
	for d := range dimensions {
		if d.word() == word {
			return d, true
		}
	}
	return 0, false
}

// phases lists the phases in the order of a login.
func phases() []session.Phase {
	return []session.Phase{session.PhaseConnect, session.PhaseNamed, session.PhaseVerified}
}

// later reports whether a comes after b.
func later(a, b session.Phase) bool {
	return slices.Index(phases(), a) > slices.Index(phases(), b)
}

// A set is a set of values of one dimension, by number. The empty set stands for
// an attribute that is not given.
type set uint64

func (s set) has(i int) bool { return i >= 0 && s&(1<<i) != 0 }

// admits reports whether a condition with this set can match the value.
func (s set) admits(i int) bool { return s == 0 || s.has(i) }

// numbers lists the members of a set below n.
func (s set) numbers(n int) []int {
	var list []int
	for i := range n {
		if s.has(i) {
			list = append(list, i)
		}
	}
	return list
}

// words says the members of a set of d, with a shorthand where one fits.
func (d dimension) words(s set) string {
	for _, short := range d.short() {
		if s == short.set {
			return short.word
		}
	}
	var list []string
	for i, n := range d.values() {
		if s.has(i) {
			list = append(list, n)
		}
	}
	return either(list)
}

// protocols, channels and methods are the words of the language, by number.
func protocols() []string { return []string{"ftp", "sftp", "submission", "relay", "console", "cli"} }
func channels() []string  { return []string{"plain", "tls", "ssh"} }
func methods() []string   { return []string{"password", "publickey", "keyboard-interactive"} }

// encrypted is the set of channels that hide a credential.
const encrypted = set(1<<session.TLS | 1<<session.SSH)

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
	default:
		return -1
	}
}
