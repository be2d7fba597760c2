package policies

import (
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

// A dimension is a fact of a request that has few values, each with a word. All
// that conditions, tables and proofs know of such a fact stands in this file.
type dimension uint8

const (
	dimProtocol dimension = iota
	dimChannel
	dimMethod
	dimWeekday
	dimClient
	dimVersion
	dimCipher
	dimGroup
	dimResumed
	dimCertificate
	dimKey
	dimPlace
	dimOperation
	dimDataChannel

	dimensions // how many there are
)

// word is the name of the attribute.
func (d dimension) word() string {
	return [dimensions]string{
		"protocol", "channel", "method", "weekday", "client", "tls_version", "tls_cipher", "tls_group", "resumed",
		"client_certificate", "key", "known_place", "operation", "data_channel",
	}[d]
}

// The words of the facts that are looked up in lists, by number. They are never
// changed.
var (
	versionWords = []string{"1.0", "1.1", "1.2", "1.3"}
	cipherWords  = cipherNames()
	groupWords   = []string{"x25519mlkem768", "secp256r1mlkem768", "secp384r1mlkem1024", "x25519", "curvep256", "curvep384", "curvep521"}
	keyWords     = session.KeyKinds()
	verbs        = session.Verbs()
)

// cipherNames lists the TLS suites that there are, by their IANA names.
func cipherNames() []string {
	var out []string
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		out = append(out, suite.Name)
	}
	return out
}

// values are the words of the fact, by number.
func (d dimension) values() []string {
	switch d {
	case dimProtocol:
		return protocols()
	case dimChannel, dimDataChannel:
		return channels()
	case dimOperation:
		return verbWords()
	case dimMethod:
		return methods()
	case dimWeekday:
		return []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
	case dimClient:
		return session.ClientWords()
	case dimVersion:
		return versionWords
	case dimCipher:
		return cipherWords
	case dimGroup:
		return groupWords
	case dimKey:
		return keyWords
	default:
		return []string{"no", "yes"}
	}
}

// short are words that stand for several values.
func (d dimension) short() []shorthand {
	switch d {
	case dimChannel, dimDataChannel:
		return []shorthand{{"encrypted", encrypted}}
	case dimOperation:
		return []shorthand{{"change", verbSet(session.Write, session.Append, session.Remove, session.Rename, session.Mkdir, session.Rmdir, session.SetAttr, session.Link)}}
	case dimWeekday:
		return []shorthand{{"workday", 0b0111110}, {"weekend", 0b1000001}}
	case dimKey:
		return []shorthand{{"ecdsa", keySet("ecdsa-")}, {"rsa", keySet("rsa-")}}
	default:
		return nil
	}
}

// keySet is the set of the kinds of key whose word begins so.
func keySet(prefix string) set {
	var out set
	for i, word := range keyWords {
		if strings.HasPrefix(word, prefix) {
			out |= 1 << i
		}
	}
	return out
}

func verbWords() []string {
	out := make([]string, len(verbs))
	for i, v := range verbs {
		out[i] = string(v)
	}
	return out
}

func verbSet(some ...session.Verb) set {
	var out set
	for _, v := range some {
		out |= 1 << slices.Index(verbs, v)
	}
	return out
}

// A shorthand is a word for several values of a dimension.
type shorthand struct {
	word string
	set  set
}

// phase is from when on the fact is known.
func (d dimension) phase() session.Phase {
	switch d {
	case dimProtocol, dimWeekday:
		return session.PhaseConnect
	case dimKey:
		return session.PhaseVerified
	case dimOperation, dimDataChannel:
		return session.PhaseSession
	default:
		return session.PhaseNamed
	}
}

// aboutUser reports whether the fact is one of the account.
func (d dimension) aboutUser() bool { return d == dimPlace }

// aboutChannel reports whether the fact is one of the channel, so that a client may
// come over a better one.
func (d dimension) aboutChannel() bool {
	return d == dimChannel || d == dimVersion || d == dimCipher || d == dimGroup
}

// own reports whether the fact has an attribute of its own in conditions. The others
// are those of a profile.
func (d dimension) own() bool { return d != dimCipher && d != dimGroup }

// number is the value that r has in a time zone, or -1 if it is not known. It must not
// allocate.
func (d dimension) number(r *session.Request, zone *time.Location) int {
	switch d {
	case dimProtocol:
		return protocolNumber(r.Protocol)
	case dimChannel:
		return channelNumber(r.Channel)
	case dimMethod:
		return methodNumber(r.Method)
	case dimWeekday:
		if r.Time.IsZero() {
			return -1
		}
		return int(in(r.Time, zone).Weekday())
	case dimClient:
		return int(min(r.Client, session.Clients-1))
	case dimVersion:
		version, _ := strings.CutPrefix(r.TLS.Version, "TLS ")
		return slices.Index(versionWords, version)
	case dimCipher:
		return slices.Index(cipherWords, r.TLS.Cipher)
	case dimGroup:
		return foldedIndex(groupWords, r.TLS.Group)
	case dimKey:
		return slices.Index(keyWords, r.Key)
	case dimResumed:
		return ofTLS(r, r.TLS.Resumed)
	case dimCertificate:
		return ofTLS(r, r.TLS.Certificate)
	case dimOperation:
		return slices.Index(verbs, r.Act.Verb)
	case dimDataChannel:
		if r.Act.Verb == session.Accept || r.Act.Verb == "" && r.Act.Path == "" {
			return -1
		}
		return channelNumber(r.Act.Over)
	default:
		return yesNo(r.Place)
	}
}

// in is t in a time zone; nil is UTC.
func in(t time.Time, zone *time.Location) time.Time {
	if zone == nil {
		return t.UTC()
	}
	return t.In(zone)
}

// ofTLS is the number of a fact that there is on a TLS channel only.
func ofTLS(r *session.Request, yes bool) int {
	if r.Channel != session.TLS {
		return -1
	}
	return yesNo(yes)
}

func yesNo(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func foldedIndex(words []string, got string) int {
	for i, word := range words {
		if strings.EqualFold(word, got) {
			return i
		}
	}
	return -1
}

// assign gives r the value of that number, as far as it is one that can be given.
func (d dimension) assign(r *session.Request, n int) {
	switch d {
	case dimClient:
		r.Client = session.Client(n)
	case dimVersion:
		r.TLS.Version = "TLS " + versionWords[n]
	case dimResumed:
		r.TLS.Resumed = n == 1
	case dimCertificate:
		r.TLS.Certificate = n == 1
	case dimKey:
		r.Key = keyWords[n]
	case dimPlace:
		r.Place = n == 1
	case dimOperation:
		r.Act.Verb = verbs[n]
	case dimDataChannel:
		r.Act.Over = session.ChannelKind(n)
	}
}

// got says the value that r has, in words.
func (d dimension) got(r *session.Request, zone *time.Location) string {
	n := d.number(r, zone)
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
		if d.own() && d.word() == word {
			return d, true
		}
	}
	return 0, false
}

// phases lists the phases in their order.
func phases() []session.Phase {
	return []session.Phase{session.PhaseConnect, session.PhaseNamed, session.PhaseVerified, session.PhaseSession}
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
func methods() []string {
	return []string{"password", "publickey", "keyboard-interactive", "scram", "token"}
}

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
	case session.MethodSCRAM:
		return 3
	case session.MethodToken:
		return 4
	default:
		return -1
	}
}
