package auth

import (
	"strings"

	"gateway/session"
)

// maxPasswordBytes bounds a password. A longer one is wrong without being
// hashed.
const maxPasswordBytes = 1024

// checkPassword accepts what an account may have as its password: what any of
// the protocols can carry.
func checkPassword(s session.Secret) error {
	switch {
	case s.Empty():
		return invalid("password", "it is empty")
	case s.Len() > maxPasswordBytes:
		return invalid("password", "it is longer than %d bytes", maxPasswordBytes)
	case session.IsToken(s.Reveal()):
		return invalid("password", "it has the form of a token; make one by 'gateway token add'")
	case strings.ContainsAny(s.Reveal(), "\x00\r\n"):
		return invalid("password", "it has a line break or a NUL in it, which no client can send")
	}
	return nil
}
