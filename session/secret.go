package session

import (
	"fmt"
	"log/slog"
)

// Secret is a password or another value that must never be written. However it
// is printed, logged or encoded it reads "[secret]". The zero value is the
// empty secret.
//
// Reveal is for package auth, where the secret is compared, and for the login at
// a smart host (queue/relay), where it is sent; a test over the source tree holds
// that.
type Secret struct{ value string }

// NewSecret hides value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the hidden value.
func (s Secret) Reveal() string { return s.value }

// Empty reports whether nothing is hidden.
func (s Secret) Empty() bool { return s.value == "" }

// Len is the length of the hidden value in bytes.
func (s Secret) Len() int { return len(s.value) }

const redacted = "[secret]"

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
