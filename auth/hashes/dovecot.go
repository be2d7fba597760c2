package hashes

import "strings"

// maxPlain is the longest password that can be offered.
const maxPlain = 1024

type plainResult struct {
	hash Hash
	err  error
}

// plain hashes a password that is stored in clear, if the label says that it is one.
func plain(name, body string, in textForm) (plainResult, bool) {
	switch name {
	case "PLAIN", "CLEAR", "CLEARTEXT", "PLAIN-TRUNC":
	default:
		return plainResult{}, false
	}
	if in != unsaid {
		raw, err := in.decode(body)
		if err != nil {
			return plainResult{err: err}, true
		}
		body = string(raw)
	}
	if name == "PLAIN-TRUNC" {
		return plainTrunc(body), true
	}
	return newPlain(body, 0), true
}

func newPlain(password string, first int) plainResult {
	switch {
	case password == "":
		return plainResult{err: malformed("the password is empty")}
	case len(password) > maxPlain || strings.ContainsAny(password, "\x00\r\n"):
		return plainResult{err: malformed("the password is over %d bytes, or has a line break or a NUL", maxPlain)}
	}
	h := New(password)
	h.first = first
	return plainResult{hash: h}
}

// plainTrunc reads Dovecot's "N-PASSWORD": if N is the length of the password, it is
// the beginning of one of which the rest is not known.
func plainTrunc(body string) plainResult {
	digits, password, ok := strings.Cut(body, "-")
	if !ok {
		return plainResult{err: malformed("want LENGTH-PASSWORD")}
	}
	n, err := parseNumber("length", digits, 1, maxPlain)
	if err != nil {
		return plainResult{err: err}
	}
	if int(n) != len(password) {
		return newPlain(password, 0)
	}
	return newPlain(password, int(n))
}
