package smtp

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of parameters, of RFC 3461, sections 4.2 and 4.4, and RFC 6533.
const (
	maxEnvelopeID  = 100
	maxOriginal    = 500
	maxOfSizeDigit = 20 // RFC 1870, section 4
)

// parameters are what MAIL and RCPT say besides the address. All of them are read
// here; go-smtp gets to see those that it has to act on.
type parameters struct {
	size       int64  // announced; 0 if it was not
	ret        string // FULL, HDRS or ""
	envelopeID string // xtext, as it was sent
	requireTLS bool
	notify     string // NEVER, or some of SUCCESS,FAILURE,DELAY, or ""
	original   string // of the recipient, "rfc822;" with xtext, as it was sent
	passed     []string
}

// parameter reads the value of one; it reports whether that is right.
type parameter func(p *parameters, value string) bool

// mailParameters are those of MAIL, rcptParameters those of RCPT.
func mailParameters() map[string]parameter {
	return map[string]parameter{
		"SIZE": (*parameters).readSize,
		"BODY": func(p *parameters, v string) bool { return p.pass("BODY=" + v) },
		"AUTH": func(p *parameters, v string) bool { return p.pass("AUTH=" + v) },
		"SMTPUTF8": func(p *parameters, v string) bool {
			return v == "" && p.pass("SMTPUTF8")
		},
		"REQUIRETLS": func(p *parameters, v string) bool {
			p.requireTLS = true
			return v == ""
		},
		"RET": func(p *parameters, v string) bool {
			p.ret = strings.ToUpper(v)
			return p.ret == "FULL" || p.ret == "HDRS"
		},
		"ENVID": func(p *parameters, v string) bool {
			p.envelopeID = v
			plain, ok := decodeXtext(v)
			return ok && v != "" && len(v) <= maxEnvelopeID && printable(plain, len(plain)) == plain
		},
	}
}

func rcptParameters() map[string]parameter {
	return map[string]parameter{
		"NOTIFY": (*parameters).readNotify,
		"ORCPT":  (*parameters).readOriginal,
	}
}

// notOffered are parameters that are known and not announced: go-smtp answers.
func notOffered(name string) bool {
	switch name {
	case "BY", "MT-PRIORITY", "RRVS":
		return true
	default:
		return false
	}
}

// readParameters reads the arguments after an address, each once.
func readParameters(text string, known map[string]parameter) (parameters, reply) {
	var p parameters
	seen := make(map[string]bool)
	for _, word := range strings.Fields(text) {
		name, value, _ := strings.Cut(word, "=")
		name = strings.ToUpper(name)
		read, ok := known[name]
		switch {
		case notOffered(name):
			return p, replyParameterValue
		case !ok:
			return p, replyParameter
		case seen[name] || !read(&p, value):
			return p, replyMalformedArg
		}
		seen[name] = true
	}
	return p, reply{}
}

func (p *parameters) pass(word string) bool {
	p.passed = append(p.passed, word)
	return true
}

// readSize takes a size that no number here can hold for one that is too big.
func (p *parameters) readSize(v string) bool {
	if v == "" || len(v) > maxOfSizeDigit || strings.Trim(v, "0123456789") != "" {
		return false
	}
	size, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		size = 1<<63 - 1
	}
	p.size = size
	return true
}

// readNotify reads NOTIFY (RFC 3461, section 4.1).
func (p *parameters) readNotify(v string) bool {
	p.notify = strings.ToUpper(v)
	if p.notify == "NEVER" {
		return true
	}
	seen := make(map[string]bool)
	for word := range strings.SplitSeq(p.notify, ",") {
		if word != "SUCCESS" && word != "FAILURE" && word != "DELAY" || seen[word] {
			return false
		}
		seen[word] = true
	}
	return true
}

// readOriginal reads ORCPT (RFC 3461, section 4.2; RFC 6533, section 3): a kind of
// address, and an address of it in its encoding.
func (p *parameters) readOriginal(v string) bool {
	p.original = v
	kind, address, ok := strings.Cut(v, ";")
	if !ok || address == "" || len(v) > maxOriginal {
		return false
	}
	switch strings.ToLower(kind) {
	case "rfc822":
		plain, ok := decodeXtext(address)
		return ok && printable(plain, len(plain)) == plain
	case "utf-8":
		return unitext(address)
	default:
		return false
	}
}

// decodeXtext reads xtext (RFC 3461, section 4).
func decodeXtext(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			if i+2 >= len(s) || !upperHex(s[i+1]) || !upperHex(s[i+2]) {
				return "", false
			}
			n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
			b.WriteByte(byte(n))
			i += 2
		case c < '!' || c > '~' || c == '=':
			return "", false
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}

func upperHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

// unitext reports whether s is what RFC 6533, section 3, calls utf-8-addr-xtext or
// -unitext: characters that can be seen, and others as \x{HEX}.
func unitext(s string) bool {
	for s != "" {
		if rest, escaped := strings.CutPrefix(s, `\x{`); escaped {
			digits, after, closed := strings.Cut(rest, "}")
			n, err := strconv.ParseUint(digits, 16, 32)
			if !closed || err != nil || digits != strings.ToUpper(digits) || len(digits) < 2 || len(digits) > 6 ||
				n == 0 || n > 0x10FFFF || n >= 0xD800 && n < 0xE000 || n == '\r' || n == '\n' {
				return false
			}
			s = after
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		if r == '\\' || r == '+' || r == '=' || r <= ' ' || r == 0x7f || r == utf8.RuneError {
			return false
		}
		s = s[n:]
	}
	return true
}

// cutPath divides the argument of MAIL or RCPT after its keyword into the path and
// what follows; a quoted local part may hold blanks and brackets.
func cutPath(s string) (path, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == '>':
			return s[:i+1], s[i+1:]
		case !quoted && c == ' ' && !strings.HasPrefix(s, "<"):
			return s[:i], s[i:]
		}
	}
	return s, ""
}
