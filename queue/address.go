package queue

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of RFC 5321, section 4.5.3.1, in octets.
const (
	maxLocalBytes  = 64
	maxDomainBytes = 255
	maxLabelBytes  = 63 // RFC 1035, section 2.3.4
	// maxMailboxBytes is a path of 256 without its angle brackets.
	maxMailboxBytes = 254
)

// ErrAddress is a mail address that is not accepted. The text of the error says
// why and never repeats the address.
var ErrAddress = errors.New("mail address not accepted")

// Address is one mailbox, or the null reverse-path, which is the zero value.
// Addresses are comparable; case is kept.
//
// It is stricter than RFC 5321, section 4.1.2, on purpose: a quoted local part
// may hold only letters, digits, the other characters of an atom, dots and
// spaces. Whatever else quotes can hide (angle brackets, a second "@", the
// parameters of a command) has been used to make a relay deliver to somebody
// whom its rules forbid, and no mailbox in use needs it.
type Address struct {
	local  string // without quotes
	domain string // a domain or an address literal with its brackets
}

// ParseMailbox reads a Mailbox of RFC 5321, section 4.1.2, without angle
// brackets. Source routes, comments and missing domains are refused; characters
// beyond ASCII are accepted only if utf8 is set (RFC 6531). Errors are ErrAddress.
func ParseMailbox(s string, utf8 bool) (Address, error) {
	if len(s) > maxMailboxBytes {
		return Address{}, refuseAddress("longer than %d octets", maxMailboxBytes)
	}
	if !strings.HasPrefix(s, `"`) {
		at := strings.IndexByte(s, '@')
		if at < 0 {
			return Address{}, refuseAddress("no domain")
		}
		if !dotString(s[:at]) {
			return Address{}, refuseAddress("local part is not a dot-string")
		}
		return newAddress(s[:at], s[at+1:], utf8)
	}
	end := strings.IndexByte(s[1:], '"') + 1
	if end == 0 || !strings.HasPrefix(s[end+1:], "@") {
		return Address{}, refuseAddress("bad quoting in the local part")
	}
	return newAddress(s[1:end], s[end+2:], utf8)
}

// ParseReversePath is ParseMailbox for the sender of an envelope: an empty s is
// the null reverse-path.
func ParseReversePath(s string, utf8 bool) (Address, error) {
	if s == "" {
		return Address{}, nil
	}
	return ParseMailbox(s, utf8)
}

// FromUnquoted makes an Address of a mailbox whose local part has lost its
// quotes on the way, as libraries hand it over. It splits at the last "@" and is
// as strict as ParseMailbox.
func FromUnquoted(s string, utf8 bool) (Address, error) {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return Address{}, refuseAddress("no domain")
	}
	return newAddress(s[:at], s[at+1:], utf8)
}

func newAddress(local, domain string, utf8 bool) (Address, error) {
	if err := checkLocal(local, utf8); err != nil {
		return Address{}, err
	}
	domain, err := checkDomain(domain, utf8)
	if err != nil {
		return Address{}, err
	}
	a := Address{local: local, domain: domain}
	if len(a.String()) > maxMailboxBytes {
		return Address{}, refuseAddress("longer than %d octets", maxMailboxBytes)
	}
	return a, nil
}

// String is the form that goes over the wire, quoted again where needed; "" for
// the null reverse-path. Parsing it gives the same Address.
func (a Address) String() string {
	switch {
	case a.IsNull():
		return ""
	case dotString(a.local):
		return a.local + "@" + a.domain
	default:
		return `"` + a.local + `"@` + a.domain
	}
}

// Local is the local part without quotes.
func (a Address) Local() string { return a.local }

// Domain is the domain as written, or an address literal in its brackets.
func (a Address) Domain() string { return a.domain }

// IsNull reports whether a is the null reverse-path.
func (a Address) IsNull() bool { return a == Address{} }

// ASCII reports whether a can be sent to a peer without SMTPUTF8.
func (a Address) ASCII() bool { return ascii(a.local) && ascii(a.domain) }

func checkLocal(local string, utf8 bool) error {
	switch {
	case local == "":
		return refuseAddress("empty local part")
	case len(local) > maxLocalBytes:
		return refuseAddress("local part longer than %d octets", maxLocalBytes)
	}
	for _, r := range local {
		if r != '.' && r != ' ' && !atomRune(r, utf8) {
			return refuseAddress("character %s in the local part", describe(r))
		}
	}
	return nil
}

// checkDomain returns the domain in the form that is kept.
func checkDomain(domain string, utf8 bool) (string, error) {
	switch {
	case domain == "":
		return "", refuseAddress("empty domain")
	case len(domain) > maxDomainBytes:
		return "", refuseAddress("domain longer than %d octets", maxDomainBytes)
	case domain[0] == '[':
		return addressLiteral(domain)
	}
	if _, err := netip.ParseAddr(domain); err == nil {
		return "", refuseAddress("network address without brackets")
	}
	for label := range strings.SplitSeq(domain, ".") {
		if err := checkLabel(label, utf8); err != nil {
			return "", err
		}
	}
	return domain, nil
}

func checkLabel(label string, utf8 bool) error {
	switch {
	case label == "":
		return refuseAddress("empty label in the domain")
	case len(label) > maxLabelBytes:
		return refuseAddress("label of the domain longer than %d octets", maxLabelBytes)
	case label[0] == '-' || label[len(label)-1] == '-':
		return refuseAddress("label of the domain begins or ends with a hyphen")
	}
	for _, r := range label {
		if r != '-' && !domainRune(r, utf8) {
			return refuseAddress("character %s in the domain", describe(r))
		}
	}
	return nil
}

// addressLiteral reads RFC 5321, section 4.1.3; general literals are of no
// known kind and refused.
func addressLiteral(s string) (string, error) {
	inner, closed := strings.CutSuffix(s[1:], "]")
	if !closed {
		return "", refuseAddress("address literal without end")
	}
	const tag = "IPv6:"
	six := len(inner) > len(tag) && strings.EqualFold(inner[:len(tag)], tag)
	if six {
		inner = inner[len(tag):]
	}
	ip, err := netip.ParseAddr(inner)
	if err != nil || ip.Zone() != "" || ip.Is6() != six {
		return "", refuseAddress("bad address literal")
	}
	if six {
		return "[" + tag + ip.String() + "]", nil
	}
	return "[" + ip.String() + "]", nil
}

// dotString reports whether s needs no quotes: atoms joined by single dots.
func dotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for _, r := range s {
		if r != '.' && !atomRune(r, true) {
			return false
		}
	}
	return true
}

// atomRune is atext of RFC 5322, section 3.2.3, extended by RFC 6531, section
// 3.3, to what can be seen and is no space.
func atomRune(r rune, utf8 bool) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return true
	case r < unicode.MaxASCII:
		return r > ' ' && strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	default:
		return utf8 && visible(r)
	}
}

func domainRune(r rune, utf8 bool) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return true
	case r <= unicode.MaxASCII:
		return false
	default:
		return utf8 && r != '\uFFFD' && (unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r))
	}
}

// visible excludes what a broken encoding decodes to, controls, invisible
// formatting (a right-to-left override among them) and exotic spaces.
func visible(r rune) bool {
	return r > unicode.MaxASCII && r != utf8.RuneError && unicode.IsPrint(r)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func describe(r rune) string { return fmt.Sprintf("%U", r) }

func refuseAddress(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrAddress}, args...)...)
}
