package auth

import "strings"

const (
	maxAddresses     = 256 // of one account
	maxAddressBytes  = 254 // RFC 5321, section 4.5.3.1.3, without the angle brackets
	maxLocalBytes    = 64  // RFC 5321, section 4.5.3.1.1
	maxDomainBytes   = 253
	maxLabelBytes    = 63
	maxStars         = 4                     // of a pattern
	localPunctuation = "!#$%&'*+-/=?^_`{|}~" // atext, RFC 5322, section 3.2.3
)

// ParseAddress reads a mail sender as an account owns it: "joe@example.com",
// "@example.com" or "*@example.com" for every address of the domain, or
// "scan-*@example.com" for every one that fits, * standing for any text. It returns
// the address in lower case. Quoted local parts, address literals and non-ASCII are
// refused; the error is an ErrInvalid.
func ParseAddress(text string) (string, error) {
	refuse := func(reason string) (string, error) { return "", invalid("address", "%q: %s", clip(text), reason) }
	if len(text) > maxAddressBytes {
		return refuse("it is too long")
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' { // also keeps lower case as long as it was
			return refuse("it has a space, a control or a non-ASCII character in it")
		}
	}
	lower := strings.ToLower(text)
	at := strings.LastIndexByte(lower, '@')
	if at < 0 {
		return refuse("there is no @")
	}
	if lower[:at] == "*" {
		lower, at = lower[1:], 0
	}
	if stars := strings.Count(lower[:at], "*"); stars > maxStars {
		return refuse("there are too many * in it")
	}
	if reason := badLocal(lower[:at]); at > 0 && reason != "" {
		return refuse(reason)
	}
	if reason := badDomain(lower[at+1:]); reason != "" {
		return refuse(reason)
	}
	return lower, nil
}

// badLocal says what keeps local from being a dot-string (RFC 5321, section
// 4.1.2).
func badLocal(local string) string {
	if len(local) > maxLocalBytes {
		return "the part before the @ is too long"
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" {
			return "a dot stands first, last or beside another"
		}
		for _, c := range []byte(atom) {
			if !isLower(c) && !isDigit(c) && strings.IndexByte(localPunctuation, c) < 0 {
				return "the part before the @ may hold letters, digits, dots and " + localPunctuation + " only"
			}
		}
	}
	return ""
}

// badDomain says what keeps domain from being a domain name (RFC 5321, section
// 4.1.2, and RFC 1035, section 2.3.1).
func badDomain(domain string) string {
	if domain == "" || len(domain) > maxDomainBytes {
		return "the domain is empty or too long"
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > maxLabelBytes || label[0] == '-' || label[len(label)-1] == '-' {
			return "the domain has a part that is empty, too long, or begins or ends with a hyphen"
		}
		for _, c := range []byte(label) {
			if !isLower(c) && !isDigit(c) && c != '-' {
				return "the domain may hold letters, digits, hyphens and dots only"
			}
		}
	}
	return ""
}
