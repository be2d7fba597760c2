package foreign

import (
	"strings"

	"gateway/session"
)

// cutLabel takes "{SCHEME}" off, if the text begins with one. The scheme is in capitals.
func cutLabel(text string) (scheme, data string, found bool) {
	inner, ok := strings.CutPrefix(text, "{")
	if !ok {
		return "", text, false
	}
	scheme, data, ok = strings.Cut(inner, "}")
	if !ok {
		return "", text, false
	}
	return strings.ToUpper(scheme), data, true
}

// setPassword keeps what is stored of a password in the form "{SCHEME}DATA": as the
// password itself, if the scheme says that it is one, else as a hash. What is without a
// scheme is taken as the hash that it is. It reports false for a password that is empty.
func (a *Account) setPassword(stored string) bool {
	scheme, data, _ := cutLabel(stored)
	switch scheme {
	case "PLAIN", "CLEAR", "CLEARTEXT":
		a.Plain = session.NewSecret(data)
		return data != ""
	default:
		a.Hash = stored
		return data != ""
	}
}

// emptyPassword is why an account without one is refused.
const emptyPassword = "it has an empty password, so that everybody could come in: give it one"
