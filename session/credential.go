package session

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"time"
)

// Method is a way to prove who one is.
type Method string

const (
	MethodPassword            Method = "password"
	MethodPublicKey           Method = "publickey"
	MethodKeyboardInteractive Method = "keyboard-interactive"
	// MethodCode is a one-time code. It only ever follows another proof.
	MethodCode Method = "code"
	// MethodDevice is no proof: the rules know the device by where it is
	// (Attempt.Device).
	MethodDevice Method = "device"
)

// Methods lists every Method by which a login may begin, in the order in which
// they are offered.
func Methods() []Method {
	return []Method{MethodPublicKey, MethodPassword, MethodKeyboardInteractive}
}

// Key is a public key: as SSH writes it on the wire (RFC 4253, section 6.6), or
// that of a certificate (CertificateKey). A key of one kind is none of the other,
// whatever its bytes.
type Key struct {
	Algorithm string // "ssh-ed25519", or KeyX509
	Blob      string // encoding; a string so that Key can be compared
	// Fingerprint is "SHA256:..." as OpenSSH prints it.
	Fingerprint string
}

// KeyAnswer is what is said of a key before its proof. The zero value is no.
type KeyAnswer struct {
	Known bool
	// NoTouch says that a security key need not have been touched to sign.
	NoTouch bool
	// Why says, for the record alone, what is wrong with a key of the account.
	Why string
}

// KeyX509 is the Algorithm of a certificate's key.
const KeyX509 = "x509"

// CertificateKey is the public key of a certificate, as its subjectPublicKeyInfo
// (RFC 5280, section 4.1) has it: a certificate that was renewed for the same key
// is the same key. The caller must have seen the certificate in a TLS handshake
// that is complete, which verified the signature, to offer it with PublicKey.
func CertificateKey(cert *x509.Certificate) Key {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return Key{
		Algorithm: KeyX509, Blob: string(cert.RawSubjectPublicKeyInfo),
		Fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]),
	}
}

// Credential is a claimed name with one proof of it. Make one with Password,
// KeyboardInteractive, Code or PublicKey; the zero value proves nothing.
type Credential struct {
	User   string
	Method Method
	// Secret is what the peer typed, for all methods but MethodPublicKey.
	Secret Secret
	// Key is a key whose signature the front-end has verified, for
	// MethodPublicKey.
	Key Key
}

// Password is a name with a password.
func Password(user, password string) Credential {
	return Credential{User: user, Method: MethodPassword, Secret: NewSecret(password)}
}

// KeyboardInteractive is a name with the answer to the password prompt of SSH
// keyboard-interactive (RFC 4256).
func KeyboardInteractive(user, answer string) Credential {
	return Credential{User: user, Method: MethodKeyboardInteractive, Secret: NewSecret(answer)}
}

// Code is a name with a one-time code.
func Code(user, code string) Credential {
	return Credential{User: user, Method: MethodCode, Secret: NewSecret(code)}
}

// PublicKey is a name with a key. The caller must have verified the signature
// that was made with it over this connection's session identifier, or over the
// TLS handshake.
func PublicKey(user string, key Key) Credential {
	return Credential{User: user, Method: MethodPublicKey, Key: key}
}

// carriesSecret reports whether the proof itself crossed the wire, so that
// whoever listened has it.
func (c Credential) carriesSecret() bool { return c.Method != MethodPublicKey }

// Identity is who logged in, as the rest of the gateway knows them.
type Identity struct {
	User   string
	Groups []string
	// Addresses are the mail senders that the account owns, in lower case:
	// "joe@example.com", or "@example.com" for every address of a domain.
	Addresses []string
	// Route is where the account's mail goes; empty means the default route.
	Route string
	// Access is what the account may do with files.
	Access Access
}

// Account is what is known of a name before any proof. The zero value is the
// answer for a name that does not exist.
type Account struct {
	Known    bool
	Disabled bool
	// As is, for a name that does not exist, the account whose facts stand for its own:
	// Identity has its groups. Empty if there is none.
	As       string
	Identity Identity
	// PasswordSet is when its password was set; zero if it has none.
	PasswordSet time.Time
	// Generation changes with every change of the account or its credentials. A
	// login during which it changed is refused: what was proven may no longer count.
	Generation int64
}

// groups are those of the account; nil for a name that does not exist.
func (a Account) groups() []string {
	if !a.Known {
		return nil
	}
	return a.Identity.Groups
}

// NewID returns 16 random hexadecimal digits, for a connection or a session.
func NewID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
