package auth

import (
	"errors"
	"fmt"

	"gateway/session"
)

// The kinds of error that an administrator's change can meet, besides
// session.ErrUnavailable. The text of the error says which and why.
var (
	// ErrExist is something that there is already: an account of that name, a key
	// or an address. It is session.ErrExist.
	ErrExist = session.ErrExist
	// ErrNotExist is something that there is not. It is session.ErrNotExist.
	ErrNotExist = session.ErrNotExist
	// ErrInvalid is something that an account may not have.
	ErrInvalid = errors.New("not valid")
	// ErrName is a name that an account may not have; it is an ErrInvalid.
	ErrName error = &kind{"not a valid account name", ErrInvalid}
)

var (
	errNoAccount   = &kind{"no such account", ErrNotExist}
	errNoToken     = &kind{"no such token; see 'gateway token list NAME'", ErrNotExist}
	errNoKey       = &kind{"no such key", ErrNotExist}
	errNoAddress   = &kind{"no such address", ErrNotExist}
	errNoGroup     = &kind{"no such group: it has no members, and nothing is said of it; see 'gateway group list'", ErrNotExist}
	errNoAuthority = &kind{"no such authority", ErrNotExist}
	errNoKRL       = &kind{"it has no revocation list", ErrNotExist}

	errAuthorityTwice = &kind{"the group has this authority", ErrExist}

	errNotOffered  = &kind{"no client has offered such a key, or the account has it; see 'gateway user key offered NAME'", ErrNotExist}
	errNoTOTP      = &kind{"it has no one-time codes", ErrNotExist}
	errNothingSaid = &kind{"nothing is said of it that could be removed", ErrNotExist}

	errAccount     = &kind{"account exists", ErrExist}
	errKeyTwice    = &kind{"the account has this key", ErrExist}
	errAddressUsed = &kind{"the address belongs to an account", ErrExist}
)

// kind is an error with a text of its own that is also its parent.
type kind struct {
	text   string
	parent error
}

func (k *kind) Error() string { return k.text }
func (k *kind) Unwrap() error { return k.parent }

// invalid returns an ErrInvalid that says what is and why.
func invalid(what, format string, args ...any) error {
	return &kind{what + ": " + fmt.Sprintf(format, args...), ErrInvalid}
}
